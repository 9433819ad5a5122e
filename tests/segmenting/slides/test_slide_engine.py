"""The engine of one machine: reading, computing, fetching and what becomes of strips go on side by side."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lpdseg.errors import DataError
from lpdseg.model.lpd import LPD
from lpdseg.segmenting.edited import EditedSegmenter
from lpdseg.segmenting.edits import Edit, Edits
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.engine import Job, LocalEngine
from lpdseg.segmenting.slides.plan import Segment
from lpdseg.segmenting.slides.transfers import Transfers
from lpdseg.segmenting.slides.window_model import Blended, WindowModel

SIDE = 32
SEGMENTS = [Segment(n, n * SIDE, (0, 16)) for n in range(4)]
WEIGHTS = np.ones((SIDE, SIDE), np.float32)
SOON = 30.0


class Watched:
    """A view, and its source, that tells when rows are read; with `damaged` the row is not."""

    size, scale, path = (48, 400), (1.0, 1.0), Path("watched.svs")

    def __init__(self, told: Callable[[int], None] = lambda _: None, damaged: int | None = None) -> None:
        self.told, self.damaged = told, damaged

    @contextmanager
    def open(self) -> Iterator["Watched"]:
        yield self

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        self.told(y // SIDE)
        if y // SIDE == self.damaged:
            raise DataError("watched.svs cannot be read")
        return np.full((height, width, 3), y % 256, np.uint8)


class FakeModel:
    """Tells what is begun and fetched."""

    def __init__(self, told: Callable[[str, int], None]) -> None:
        self.told = told

    def begin(self, pixels: np.ndarray, segment: Segment, *_: Any) -> Callable[[], Blended]:
        self.told("begin", segment.number)

        def fetch() -> Blended:
            self.told("fetch", segment.number)
            return Blended(np.zeros((3, SIDE, segment.width(SIDE)), np.float32))

        return fetch


class Scripted(Iterator[np.ndarray]):
    """Pixels that are there at once, but for those that are late."""

    def __init__(self, late: tuple[int, ...], log: list[str]) -> None:
        self.late, self.log, self.number = late, log, 0

    def read(self, *_: Any) -> "Scripted":
        return self

    @property
    def ready(self) -> bool:
        return self.number not in self.late

    def __next__(self) -> np.ndarray:
        self.log += [f"wait {self.number}"] if self.number in self.late else []
        self.number += 1
        return np.zeros((SIDE, 48, 3), np.uint8)

    def close(self) -> None:
        self.log.append("close")


def job(source: Any) -> Job:
    return Job(source, SEGMENTS, SIDE, WEIGHTS)


@pytest.fixture
def engine(segmenter: Segmenter) -> Iterator[LocalEngine]:
    with LocalEngine(segmenter, 0) as made:
        yield made


def test_a_result_is_fetched_once_the_next_batch_has_begun(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    monkeypatch.setattr(engine, "_model", FakeModel(lambda what, n: log.append(f"{what} {n}")))
    monkeypatch.setattr(engine, "_readers", Scripted((), log))
    found = list(engine._strips(job(Watched())))
    assert [strip.segment for strip in found] == SEGMENTS
    assert log == ["begin 0", "begin 1", "fetch 0", "begin 2", "fetch 1", "begin 3", "fetch 2", "close", "fetch 3"]


def test_nothing_that_has_begun_waits_for_pixels_that_are_late(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    monkeypatch.setattr(engine, "_model", FakeModel(lambda what, n: log.append(f"{what} {n}")))
    monkeypatch.setattr(engine, "_readers", Scripted((0, 2), log))
    found = list(engine._strips(job(Watched())))
    assert [strip.segment for strip in found] == SEGMENTS
    assert log[:6] == ["wait 0", "begin 0", "begin 1", "fetch 0", "fetch 1", "wait 2"]
    assert log[6:] == ["begin 2", "begin 3", "fetch 2", "close", "fetch 3"]


def test_the_next_is_read_while_the_model_computes_and_the_model_goes_on_while_a_strip_is_written(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, begun = ([threading.Event() for _ in SEGMENTS] for _ in range(2))

    def told(what: str, number: int) -> None:
        if what == "begin":
            begun[number].set()
            following = read[min(number + 1, len(SEGMENTS) - 1)]
            assert following.wait(SOON), "the next segment is not read meanwhile"

    monkeypatch.setattr(engine, "_model", FakeModel(told))
    for strip in engine.strips(job(Watched(lambda number: read[number].set()))):
        following = begun[min(strip.segment.number + 1, len(SEGMENTS) - 1)]
        assert following.wait(SOON), "the model waits for whoever takes the strip"


@pytest.mark.parametrize("where", ["reading", "computing", "fetching"])
def test_a_fault_of_any_part_comes_once_and_nothing_goes_on(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def told(what: str, number: int) -> None:
        if number == 2 and (what, where) in (("begin", "computing"), ("fetch", "fetching")):
            raise DataError("a fault on the way")

    before = threading.enumerate()  # other tests may keep what they caught, and with it a thread
    monkeypatch.setattr(engine, "_model", FakeModel(told))
    with pytest.raises(DataError, match=r"a fault on the way|watched\.svs cannot be read"):
        list(engine.strips(job(Watched(damaged=2 if where == "reading" else None))))
    assert not [
        thread for thread in threading.enumerate() if thread.name == "lpdseg-ahead" and thread not in before
    ]
    monkeypatch.undo()
    assert len(list(engine.strips(job(Watched())))) == len(SEGMENTS)


def test_of_slides_at_once_one_is_computed_and_one_more_is_read(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, lock = list[str](), threading.Lock()
    read, go_on = [threading.Event() for _ in range(3)], threading.Event()

    def told(what: str, number: int) -> None:
        with lock:
            log.append(f"{what} {number}")
        assert go_on.wait(SOON)

    monkeypatch.setattr(engine, "_model", FakeModel(told))
    threads = []
    for slide in range(3):
        source = Watched(lambda _, slide=slide: read[slide].set())  # type: ignore[misc]
        threads.append(threading.Thread(target=lambda source=source: list(engine.strips(job(source)))))
        threads[-1].start()
        assert slide == 2 or read[slide].wait(SOON)
    assert not read[2].wait(0.3) and log == ["begin 0"]  # nor is the second slide begun
    go_on.set()
    for thread in threads:
        thread.join(SOON)
    assert read[2].is_set() and [one for one in log if one.startswith("begin")] == [
        f"begin {n}" for _ in range(3) for n in range(4)
    ]


def test_the_next_slide_begins_before_the_last_strip_of_one_is_taken(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    monkeypatch.setattr(engine, "_model", FakeModel(lambda what, n: log.append(f"{what} {n}")))
    first, second = (engine._strips(job(Watched())) for _ in range(2))
    for _ in SEGMENTS:
        next(first)  # whoever takes the last one has not come back
    log.clear()
    assert next(second).segment == SEGMENTS[0] and log == ["begin 0", "begin 1", "fetch 0"]
    first.close(), second.close()


class Uploads(TorchDispatchMode):
    """Lists the shapes of what is copied from the CPU to elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        from_cpu = any(isinstance(arg, torch.Tensor) and arg.device.type == "cpu" and arg.ndim for arg in args)
        if from_cpu and isinstance(made, torch.Tensor) and made.device.type != "cpu":
            self.shapes.append(tuple(made.shape))
        return made


@pytest.mark.parametrize("gate", ["predicted", "none"])
@pytest.mark.parametrize("background", ["glass", "power"])
@pytest.mark.parametrize("kind", ["maps", "head", "prototypes", "edited"])
def test_a_batch_waits_for_nothing_and_uploads_its_pixels_alone(
    segmenter: Segmenter,
    tiny_lpd: Callable[..., LPD],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    gate: str,
    background: str,
) -> None:
    # A device without values stands for a GPU: there whatever waits for a value would hold up the queue.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which it does not know
    network = tiny_lpd(head=0 if kind == "maps" else 8).eval()
    there = segmenter.computed_by(network).with_settings(gate=gate, background=background)
    if kind == "edited":
        there = EditedSegmenter(there, Edits("edits.yaml", "", {"a 1": Edit(hide=True), "b 2": Edit(move="a")}))
    model, pixels, segment = WindowModel(there), np.zeros((SIDE, 64, 3), np.uint8), Segment(0, 0, (0, 16, 32))
    network.to("meta")
    model._transfers = Transfers(torch.device("meta"))
    fetched: list[list[torch.Tensor]] = []
    monkeypatch.setattr(model._transfers, "download", lambda tensors: fetched.append(tensors))
    model.begin(pixels, segment, WEIGHTS, kind in ("prototypes", "edited"))
    with Uploads() as uploads:
        model.begin(pixels, segment, WEIGHTS, kind in ("prototypes", "edited"))
    assert uploads.shapes == [(SIDE, 64, 3)]
    assert fetched[-1][0].shape == (3, SIDE, 64)
