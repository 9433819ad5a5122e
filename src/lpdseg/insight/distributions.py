"""The Python distributions that the package needs here, each with the licence that it declares."""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, metadata, requires
from pathlib import Path
from typing import Any

from lpdseg.version import told_version

NOT_DECLARED = "not declared"

_TOOLS = {"dev", "clients"}
"""Extras of those who work on the package; no run needs them."""
_LONG = 60
_OWN = "lpdseg"


def needed(extras: bool = True) -> list[str]:
    """Names of what is installed here of the package's requirements and of theirs, the package first.

    `extras`: also of its optional parts, but for the tools of those who work on it.
    """
    found = {_OWN: None}
    open_ends = [name for name, extra in _requirements(_OWN) if extra is None or (extras and extra not in _TOOLS)]
    while open_ends:
        name = open_ends.pop()
        if name not in found and _installed(name):
            found[name] = None
            open_ends += [other for other, extra in _requirements(name) if extra is None]
    return [_OWN, *sorted(found.keys() - {_OWN})]


def declared() -> tuple[list[str], list[str]]:
    """The requirements of the package, those of extras with a marker, and its extras.

    From its metadata or, where it runs from its sources, from the project's file; none where neither is there.
    """
    if _installed(_OWN):
        return requires(_OWN) or [], metadata(_OWN).get_all("Provides-Extra") or []
    told = _project()
    extras: dict[str, list[str]] = told.get("optional-dependencies", {})
    of_extras = [f"{line}; extra == '{name}'" for name, lines in extras.items() for line in lines]
    return told.get("dependencies", []) + of_extras, [*extras]


def _project() -> dict[str, Any]:
    """What the project's file beside the sources says; nothing where it is not there, or of another project."""
    path = Path(__file__).parents[3] / "pyproject.toml"
    told: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"] if path.is_file() else {}
    return told if told.get("name") == _OWN else {}


def licence_of(name: str) -> str:
    """The licence as the package declares it: as an expression, in classifiers, or in words.

    That of this one, where it runs from its sources, the project's file declares.
    """
    try:
        facts: Any = distribution(name).metadata
    except PackageNotFoundError:
        return str(_project().get("license", NOT_DECLARED)) if name == _OWN else "not installed"
    if expression := facts.get("License-Expression"):
        return str(expression)
    classifiers = [str(one) for one in facts.get_all("Classifier") or [] if one.startswith("License ::")]
    told = [one.rsplit(" :: ", 1)[1] for one in classifiers if one != "License :: OSI Approved"]
    if told:
        return " and ".join(told)
    words = str(facts.get("License") or "").strip().splitlines() or [NOT_DECLARED]
    return words[0] if len(words[0]) <= _LONG and words[0] != "UNKNOWN" else NOT_DECLARED


def version_of(name: str) -> str:
    """The installed version; empty where it is not installed."""
    return told_version() if name == _OWN else distribution(name).version if _installed(name) else ""


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _requirements(name: str) -> Iterable[tuple[str, str | None]]:
    """Names that a distribution requires, and the extra that each belongs to; what is installed is what counts, so
    other markers need no answer.
    """
    for text in declared()[0] if name == _OWN else requires(name) or () if _installed(name) else ():
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", text)
        start = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", text)
        if start is not None:
            yield re.sub(r"[-_.]+", "-", start[0]).lower(), extra[1] if extra else None
