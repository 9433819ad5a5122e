"""Reading windows here and in other processes: the same pixels, in order, and no process left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn_slide import DrawnSource, DrawnView, FatalView
from lpdseg.segmenting.slides.plan import Segment, plan_segments
from lpdseg.segmenting.slides.reading import OpenView, Readers
from lpdseg.slides.grid import Grid
from lpdseg.slides.slide import SlideError
from processes import program

WINDOW = 16


def all_segments(size: tuple[int, int]) -> Any:
    return plan_segments(Grid(size, WINDOW, 4), lambda *_: True, 3)


def test_processes_read_what_one_reads(drawn: Callable[..., Any]) -> None:
    source, other = drawn(50, 40), drawn(30, 40, seed=1)
    with Readers(0) as here, Readers(2) as there:
        for wanted in (source, other):  # one after another, by the same processes
            segments = all_segments(wanted.view.size)
            plain = list(here.read(wanted, segments, WINDOW))
            for segment, found, same in zip(segments, there.read(wanted, segments, WINDOW), plain, strict=True):
                np.testing.assert_array_equal(found, same)
                for x, place in zip(segment.lefts, segment.places(WINDOW), strict=True):
                    window = wanted.view.read(x, segment.y, WINDOW, WINDOW)
                    np.testing.assert_array_equal(same[:, place : place + WINDOW], window)
    assert multiprocessing.active_children() == []


def test_windows_that_touch_are_read_as_one_strip_and_gaps_are_not_read(drawn: Callable[..., Any]) -> None:
    source, asked = drawn(200, 40), []

    class Watched:
        size, scale = source.view.size, source.view.scale

        def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
            asked.append((x, y, width, height))
            return source.view.read(x, y, width, height)

    class WatchedSource:
        path = source.path

        @contextmanager
        def open(self) -> Iterator[Watched]:
            yield Watched()

    segment = Segment(0, 20, (0, 12, 28, 60, 72, 184))  # overlapping, touching, apart; the last one reaches outside
    found = OpenView().pixels(WatchedSource(), segment, WINDOW)
    assert asked == [(0, 20, 44, 16), (60, 20, 28, 16), (184, 20, 16, 16)]
    assert found.shape == (WINDOW, 88, 3)
    for x, place in zip(segment.lefts, segment.places(WINDOW), strict=True):
        np.testing.assert_array_equal(found[:, place : place + WINDOW], source.view.read(x, 20, WINDOW, WINDOW))


@pytest.mark.parametrize("processes", [0, 1])
def test_damage_is_met_in_its_place_and_the_readers_go_on(drawn: Callable[..., Any], processes: int) -> None:
    source = drawn(50, 40, damaged=30)
    segments = all_segments((50, 40))
    with Readers(processes) as readers:
        pixels = readers.read(source, segments, WINDOW)
        for segment in segments:
            if segment.y + WINDOW > 30:
                break
            next(pixels)
        with pytest.raises(SlideError, match=r"drawn\.svs cannot be read at x 0, y 24"):
            next(pixels)
        assert len(list(readers.read(drawn(50, 40), segments, WINDOW))) == len(segments)


def kill_the_readers() -> None:
    for child in multiprocessing.active_children():
        os.kill(child.pid or 0, signal.SIGKILL)


def test_a_process_that_is_killed_is_replaced_once_and_then_told(drawn: Callable[..., Any]) -> None:
    source, segments = drawn(200, 200), all_segments((200, 200))
    with Readers(0) as here:
        plain = list(here.read(source, segments, WINDOW))
    with Readers(1) as readers:
        pixels = readers.read(source, segments, WINDOW)
        found = [next(pixels)]
        kill_the_readers()
        found += [next(pixels) for _ in segments[:5]]
        for one, same in zip(found, plain, strict=False):
            np.testing.assert_array_equal(one, same)
        kill_the_readers()
        with pytest.raises(SlideError, match=r"a process that read drawn\.svs has ended: .*from outside"):
            list(pixels)
        pixels.close()
        assert len(list(readers.read(source, segments, WINDOW))) == len(segments)
    assert multiprocessing.active_children() == []


def test_of_slides_that_are_read_at_once_only_the_one_that_ends_its_readers_fails() -> None:
    fatal, whole = (DrawnSource(FatalView((50, 40), seed, 30 if seed == 0 else None)) for seed in range(2))
    segments = all_segments((50, 40))
    with Readers(0) as here:
        plain = list(here.read(whole, segments, WINDOW))
    with Readers(1) as readers, closing(readers.read(fatal, segments, WINDOW)) as one:
        next(one)
        with closing(readers.read(whole, segments, WINDOW)) as other:
            with pytest.raises(SlideError, match="has ended"):
                list(one)
            for found, same in zip(other, plain, strict=True):
                np.testing.assert_array_equal(found, same)
        assert len(list(readers.read(whole, segments, WINDOW))) == len(segments)
    assert multiprocessing.active_children() == []


def test_a_reader_keeps_the_views_of_the_two_slides_that_are_read() -> None:
    log: list[str] = []

    class Told(DrawnSource):
        @contextmanager
        def open(self) -> Iterator[DrawnView]:
            log.append(f"open {self.path}")
            yield self.view
            log.append(f"close {self.path}")

    views, segment = OpenView(), all_segments((50, 40))[0]
    first, second, third = (Told(DrawnView((50, 40), 0), Path(name)) for name in "abc")
    for source in (first, second, first, second, third, second):
        views.pixels(source, segment, WINDOW)
    assert log == ["open a", "open b", "close a", "open c"]
    views.close()
    assert sorted(log[4:]) == ["close b", "close c"]


_PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from drawn_slide import DrawnSource, DrawnView
from lpdseg.segmenting.slides.plan import Segment
from lpdseg.segmenting.slides.reading import OpenView, Readers
if __name__ == "__main__":
    source = DrawnSource(DrawnView((64, 64), 0))
    with Readers(1) as readers:
        pixels = readers.read(source, [Segment(n, 0, (0,)) for n in range(9)], 16)
        next(pixels)
        print([p.pid for p in readers._pool._processes.values()][0], flush=True)
        time.sleep(60)
"""


def test_readers_end_with_whoever_started_them(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(_PROGRAM)
    words = [sys.executable, str(script), str(Path(__file__).parents[2])]
    with program(words, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        reader = int(killed.stdout.readline())
    deadline = time.monotonic() + 10
    while alive(reader) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(reader)


def alive(process: int) -> bool:
    """Whether it runs; one that has ended may still be listed where nobody has asked how."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_reader_starts_without_pytorch() -> None:
    code = "import sys, lpdseg.segmenting.slides.reading; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
