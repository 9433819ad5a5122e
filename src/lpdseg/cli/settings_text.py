"""The settings in words: as YAML with a comment on each, and as a page for the documentation."""

import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lpdseg.plain_yaml import write_yaml
from lpdseg.settings import Settings, load_settings, preset_names

_PLAIN = 60
"""Letters of text that fit on a line without quotes."""


@dataclass(frozen=True)
class Entry:
    """One setting, or the head of a section.

    - `path`: its words, such as `train`, `lr`.
    - `about`: what it is; of a section, what it is of.
    - `choices`: the words that it takes, where they are fixed.
    - `default`: a plain value; None for a section too.
    """

    path: tuple[str, ...]
    about: str
    choices: tuple[str, ...]
    default: Any
    is_section: bool

    @property
    def name(self) -> str:
        """As in `--set`: `train.lr`."""
        return ".".join(self.path)


def entries(section: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Every setting in the order of a settings file, each section before its own."""
    defaults = section().model_dump(mode="json")
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield Entry((*path, name), _about_section(kind), (), None, True)
            yield from entries(kind, (*path, name))
        else:
            yield Entry((*path, name), field.description or "", _choices(field), defaults[name], False)


def as_commented_yaml(settings: Settings, changed_only: bool = False) -> str:
    """YAML that `load_settings` reads back, each setting with what it is, its choices, and what the default was.

    `changed_only` leaves out what is as by default, and the sections that nothing is left of.
    """
    values = settings.model_dump(mode="json")
    lines: list[str] = []
    heads: list[str] = []
    for entry in entries():
        indent = "  " * (len(entry.path) - 1)
        if entry.is_section:
            heads = [*heads[: len(entry.path) - 1], f"{indent}{entry.path[-1]}:  # {entry.about}"]
            if not changed_only:
                lines.append(heads[-1])
            continue
        value = _at(values, entry.path)
        if changed_only:
            if value == entry.default:
                continue
            lines += [head for head in heads[: len(entry.path) - 1] if head not in lines]
        told = [entry.about, f"one of {', '.join(entry.choices)}" if entry.choices else ""]
        told += [f"default: {_flow(entry.default)}"] if value != entry.default else []
        comment = "; ".join(part for part in told if part)
        lines.append(f"{indent}{entry.path[-1]}: {_flow(value)}" + (f"  # {comment}" if comment else ""))
    return "\n".join(lines) + "\n" if lines else "{}  # nothing differs from the defaults\n"


def as_page() -> str:
    """The documentation page of all settings, in Markdown."""
    parts = [
        "# Settings",
        "Written by `make docs` from the package itself; `lpdseg settings` prints the same for a preset. Change "
        "one with `--set section.name=value`, or in a YAML file that `--preset` reads.",
    ]
    table: list[str] = []
    for entry in entries():
        if entry.is_section:
            parts += _table(table)
            table = []
            parts.append(f"## {entry.name}\n\n{entry.about}")
            continue
        about = [entry.about, f"one of {', '.join(f'`{word}`' for word in entry.choices)}" if entry.choices else ""]
        shown = "; ".join(part for part in about if part).replace("|", "\\|")
        table.append(f"| `{entry.name}` | `{_flow(entry.default)}` | {shown} |")
    parts += _table(table)
    parts.append("## Presets\n\nWhat each changes; everything else is as above.")
    for preset in preset_names():
        settings = load_settings(preset)
        found = settings.model_dump(mode="json")
        changed = [
            f"{entry.name}={_flow(_at(found, entry.path))}"
            for entry in entries()
            if not entry.is_section
            and entry.name not in {"name", "description"}
            and _at(found, entry.path) != entry.default
        ]
        purpose = " ".join(settings.description.split())
        listed = ", ".join(f"`{change}`" for change in changed) or "Nothing."
        parts.append(f"### {preset}\n\n{purpose}\n\n{listed}")
    return "\n\n".join(parts) + "\n"


def _table(rows: list[str]) -> list[str]:
    return ["\n".join(["| setting | default | what it is |", "|---|---|---|", *rows])] if rows else []


def _at(values: dict[str, Any], path: tuple[str, ...]) -> Any:
    for word in path:
        values = values[word]
    return values


def _flow(value: Any) -> str:
    """A plain value as YAML on one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str) and (len(value) > _PLAIN or "\n" in value):  # YAML would fold it over lines
        return json.dumps(value, ensure_ascii=False)
    return write_yaml([value]).removeprefix("- ").rstrip("\n")


def _about_section(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def _choices(field: FieldInfo) -> tuple[str, ...]:
    """The words of a `Literal`, wherever it stands in the type but beside others, such as numbers."""
    found: list[str] = []

    def look(kind: Any) -> None:
        origin = typing.get_origin(kind)
        if origin is Literal:
            found.extend(str(word) for word in typing.get_args(kind))
        elif origin in (Union, UnionType, tuple, typing.Annotated):
            parts = [part for part in typing.get_args(kind) if part is not type(None)]
            for part in parts if origin in (tuple, typing.Annotated) or len(parts) == 1 else ():
                look(part)

    look(field.annotation)
    return tuple(dict.fromkeys(found))
