"""Progress below a notebook's cell: a line of HTML that is replaced as work goes on, with nothing to install."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from lpdseg.durations import Pacer
from lpdseg.pictures.html import text_html
from lpdseg.training.progress import Reporter, Silent, pace_text, shown_losses

Told = Callable[[str, int, int], None]
"""Called with what is being done, and how much of it is done, of how much."""


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def default_reporter() -> Reporter:
    """Who is told of a training where nobody was named: the cell of a notebook, else nobody."""
    return Cell() if in_notebook() else Silent()


def cell_told() -> Told | None:
    """Shows progress below the cell; None outside of notebooks."""
    if not in_notebook():
        return None
    lines: dict[str, _Line] = {}

    def tell(what: str, done: int, total: int) -> None:
        lines.setdefault(what, _Line(what)).show(done, total)

    return tell


def by_stage(told: Told | None) -> Callable[[str], Callable[[int, int], None] | None]:
    """Gives for each kind of work who is told of it: `told`, else a notebook's cell, else None."""
    told = told or cell_told()
    return lambda what: None if told is None else partial(told, what)


class Cell(Silent):
    """A bar with the time left, the pace and the losses, and a line for each note."""

    def __init__(self) -> None:
        self._line = _Line("training")
        self._done, self._total, self._pace, self._losses = 0, 0, "", ""

    def start(self, done: int, total: int) -> None:
        """Shows the bar."""
        self._done, self._total = done, total
        self._line.show(done, total)

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        """Moves the bar."""
        self._done = done
        self._losses = self._losses if losses is None else shown_losses(losses)
        self._line.show(done, self._total, "  ".join(filter(None, (self._pace, self._losses))))

    def pace(self, patches: float, waiting: float) -> None:
        """Is shown with the next losses."""
        self._pace = pace_text(patches, waiting)

    def note(self, text: str) -> None:
        """A line below the bar."""
        self._line.notes.append(text)
        self._line.show(self._done, self._total, last=True)


class _Line:
    """What is shown of one kind of work; replaced twice a second at most, and at the end."""

    def __init__(self, what: str) -> None:
        self.what, self.notes = what, list[str]()
        self._pacer, self._left, self._handle = Pacer(first=0.0, every=0.5), "", None

    def show(self, done: int, total: int, more: str = "", last: bool = False) -> None:
        told = self._pacer.tell(done, total)
        if told is None and not last and done < total:
            return
        self._left = told or f"{done}/{total}"
        bar = f'<progress value="{done}" max="{max(total, 1)}"></progress>' if total else ""
        notes = "".join(f"<div>{text_html(note)}</div>" for note in self.notes)
        line = f"{text_html(self.what)} {bar} {text_html(self._left)} <small>{text_html(more)}</small>"
        self._handle = _displayed(f"<div>{line}</div>{notes}", self._handle)


def _displayed(html: str, handle: Any) -> Any:
    """Shows HTML, in place of what the handle shows where there is one."""
    from IPython.display import HTML, display

    if handle is None:
        return display(HTML(html), display_id=True)
    handle.update(HTML(html))
    return handle
