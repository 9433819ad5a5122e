"""What a notebook shows below a cell while something is at work."""

import sys
from types import SimpleNamespace

import pytest

from lpdseg.training import cell
from lpdseg.training.cell import Cell, by_stage, cell_told, default_reporter, in_notebook
from lpdseg.training.progress import Silent


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What is displayed, each with the number of the place that it is displayed in."""
    log: list[tuple[int, str]] = []

    def displayed(html: str, handle: int | None) -> int:
        place = len({number for number, _ in log}) + 1 if handle is None else handle
        log.append((place, html))
        return place

    monkeypatch.setattr(cell, "_displayed", displayed)
    return log


def in_kernel(monkeypatch: pytest.MonkeyPatch, shell: object) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_only_the_kernel_of_a_notebook_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook() and cell_told() is None and type(default_reporter()) is Silent
    in_kernel(monkeypatch, SimpleNamespace())  # IPython in a terminal
    assert not in_notebook()
    in_kernel(monkeypatch, SimpleNamespace(kernel=object()))
    assert in_notebook() and isinstance(default_reporter(), Cell)


def test_a_training_has_one_bar_that_is_replaced(shown: list[tuple[int, str]]) -> None:
    told = Cell()
    told.start(0, 4)
    told.pace(12.0, 0.25)
    told.step(1, {"loss": 0.5})
    told.note("<b>patch</b> is odd")
    told.step(4, None)
    told.stop()
    assert {place for place, _ in shown} == {1}
    first, last = shown[0][1], shown[-1][1]
    assert '<progress value="0" max="4">' in first and '<progress value="4" max="4">' in last
    assert "4/4" in last and "12 patches/s, waiting 25%  loss 0.500" in last
    assert "&lt;b&gt;patch&lt;/b&gt; is odd" in last and "<b>" not in last


def test_each_kind_of_work_has_a_line(monkeypatch: pytest.MonkeyPatch, shown: list[tuple[int, str]]) -> None:
    in_kernel(monkeypatch, SimpleNamespace(kernel=object()))
    tell = cell_told()
    assert tell is not None
    for done in range(1, 101):
        tell("predicting", done, 100)
    tell("scoring", 1, 1)
    assert [place for place, _ in shown] == [1, 1, 2]  # not a hundred times
    assert "100/100" in shown[1][1]


def test_who_asked_is_told_instead(monkeypatch: pytest.MonkeyPatch, shown: list[tuple[int, str]]) -> None:
    heard: list[tuple[str, int, int]] = []
    assert by_stage(None)("scoring") is None
    in_kernel(monkeypatch, SimpleNamespace(kernel=object()))
    for told in (lambda *said: heard.append(said), None):
        tell = by_stage(told)("scoring")
        assert tell is not None
        tell(1, 2)
    assert heard == [("scoring", 1, 2)] and len(shown) == 1
