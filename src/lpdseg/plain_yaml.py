"""YAML in which a word is a word: `NO`, `on`, `010`, `1:30` and dates are what stands there.

PyYAML reads YAML 1.1, where `NO` is false, `010` is eight, `1:30` is ninety, and `1e-4` is text.
"""

import re
from collections import Counter
from typing import Any

import yaml

_LONGEST = 1 << 18
"""Letters of a text: the loader takes a second for some 100,000, and no settings or names have as many."""

_MOST = 100_000
"""Values of a text, those that an alias stands for counted as often as it stands there."""


class _Once:
    """A mixin: a key that is there twice is an error, and the last value does not win in silence."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = next((key for key, count in keys.items() if count > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)  # type: ignore[misc]


class _Plain(_Once, yaml.SafeLoader):
    """The scalars of YAML 1.2: true and false, null, decimal numbers; everything else is text."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML's own name and form


class _Words(_Once, yaml.BaseLoader):
    """Every scalar is text."""


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?((0|[1-9][0-9]*)?\.[0-9]+|(0|[1-9][0-9]*)\.?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("merge", r"<<", "<"),
):
    _Plain.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def read_yaml(text: str) -> Any:
    """Reads settings. **Raises:** `yaml.YAMLError`, whatever is the matter."""
    return _read(text, _Plain)


def read_yaml_words(text: str) -> Any:
    """Reads names: every scalar is the text that stands there. **Raises:** `yaml.YAMLError`, as `read_yaml`."""
    return _read(text, _Words)


def _read(text: str, kind: type[_Plain | _Words]) -> Any:
    if len(text) > _LONGEST:
        raise yaml.YAMLError(f"it has more than {_LONGEST:,} letters")
    try:
        loader = kind(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > _MOST:
            raise yaml.YAMLError(f"it stands for more than {_MOST:,} values")
        return loader.construct_document(node)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:  # a tag that does not fit its value
        raise yaml.YAMLError(f"a value cannot be read ({error})") from error


def _values(node: Any, known: dict[int, int]) -> int:
    """How many values a node stands for; aliases make few letters many.

    **Raises:** `yaml.YAMLError` for one that holds itself.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.YAMLError("a value holds itself")
        return known[id(node)]
    known[id(node)] = 0
    inner = node.value if isinstance(node, yaml.CollectionNode) else ()
    parts = (part for one in inner for part in (one if isinstance(one, tuple) else (one,)))
    known[id(node)] = 1 + sum(_values(part, known) for part in parts)
    return known[id(node)]


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Plain` would read as a number and YAML 1.1 as text."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+.]?[0-9.]+[eE][-+]?[0-9]+$"), [*"-+.0123456789"]
)


def write_yaml(value: Any) -> str:
    """Plain values as YAML that `read_yaml`, `read_yaml_words` and readers of YAML 1.1 understand alike."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    if any(mark in text for mark in "\x85\u2028\u2029"):  # line breaks of Unicode, which YAML would fold away
        return yaml.dump(value, Dumper=_Dumper, sort_keys=False)
    return text
