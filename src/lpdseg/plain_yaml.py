"""YAML in which a word is a word: `NO`, `on`, `010`, `1:30` and dates are what stands there.

PyYAML reads YAML 1.1, where `NO` is false, `010` is eight, `1:30` is ninety, and `1e-4` is text.
"""

import re
from typing import Any

import yaml


class _Once:
    """A mixin: a key that is there twice is an error, and the last value does not win in silence."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
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
    """Reads settings. **Raises:** `yaml.YAMLError`."""
    return yaml.load(text, Loader=_Plain)


def read_yaml_words(text: str) -> Any:
    """Reads names: every scalar is the text that stands there. **Raises:** `yaml.YAMLError`."""
    return yaml.load(text, Loader=_Words)


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
