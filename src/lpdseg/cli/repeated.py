"""Choices that may be given several times, which typer knows only one at a time."""

from collections.abc import Callable
from typing import Any, get_args

import typer


def one_of(choice: Any) -> Callable[[str], str]:
    """A parser of an option that takes words of a `Literal`."""
    words = get_args(choice)

    def parse(text: str) -> str:
        if text not in words:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, words))}.")
        return text

    return parse


def shown(choice: Any) -> str:
    """How help shows the words of a `Literal`."""
    return f"<{'|'.join(get_args(choice))}>"
