r"""What people read at a terminal: lines and tables that no name of a file, class or patient can steer.

A name may hold escape sequences, bells and breaks of lines. They would clear the screen, or forge a line of their
own; each is shown as `�` instead, by `one_line`.
"""

from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from lpdseg.plain import one_line


def say(*lines: object, err: bool = False) -> None:
    """Prints each as one line, to standard error with `err`."""
    for line in lines:
        typer.echo(one_line(str(line)), err=err)


def hand_over(document: str) -> None:
    """Prints JSON, YAML or Markdown as it is, for programs that read it: their writers escape what names hold."""
    typer.echo(document, nl=not document.endswith("\n"))


class Terminal(Console):
    """A console of rich without markup, whose texts each stay on a line of their own but for wrapping."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False, soft_wrap: bool = False) -> None:
        super().__init__(stderr=stderr, quiet=quiet, soft_wrap=soft_wrap, markup=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """A text of a cell, a title or a line, before its width is measured."""
        return super().render_str(one_line(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Also of a `Text`, and of what a renderable makes by itself; ends of lines are then rich's own."""
        if isinstance(renderable, Text) and not _is_clean(renderable.plain):
            renderable = renderable.copy()
            renderable.plain = one_line(renderable.plain)
        for segment in super().render(renderable, options):
            if segment.control or _is_clean(segment.text.replace("\n", "")):
                yield segment
            else:
                yield Segment("\n".join(map(one_line, segment.text.split("\n"))), segment.style)


def _is_clean(text: str) -> bool:
    return one_line(text) == text
