"""Batches that are made on a stream of their own, for which objects that write down what they are told stand in."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from lpdseg.training.loading import made_ahead

CUDA = torch.device("cuda", 0)
Log = list[tuple[str, ...]]


class Stream:
    """Of work on a device; `at` is that of each thread."""

    at = threading.local()

    def __init__(self, name: str, log: Log) -> None:
        self.name, self.log, self.events = name, log, 0

    def wait_stream(self, other: "Stream") -> None:
        self.log.append((self.name, "waits for", other.name))

    def wait_event(self, event: str) -> None:
        self.log.append((self.name, "waits for", event))

    def record_event(self) -> str:
        self.events += 1
        return f"{self.name} {self.events}"


class Pixels:
    """A tensor that only tells whose stream its memory is kept for."""

    def __init__(self, name: str, log: Log) -> None:
        self.name, self.log = name, log

    def record_stream(self, stream: Stream) -> None:
        self.log.append((self.name, "is kept for", stream.name))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log: Log = []
    model = Stream("model", log)

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        Stream.at.stream = stream
        yield

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("maker", log))
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: getattr(Stream.at, "stream", model))
    return log


def test_the_model_waits_for_each_batch_of_the_other_stream_and_keeps_its_memory(log: Log) -> None:
    def batches() -> Iterator[dict[str, Any]]:
        for number in ("1", "2"):
            log.append(("batch", number, "is made on", torch.cuda.current_stream(CUDA).name))
            yield {"image": Pixels(f"image {number}", log), "labels": Pixels(f"labels {number}", log)}

    log_of_model = []
    for batch in made_ahead(batches(), CUDA):
        log_of_model.append([entry for entry in log if entry[0] != "batch"])
        assert torch.cuda.current_stream(CUDA).name == "model" and len(batch) == 2
    assert log[0] == ("maker", "waits for", "model")  # before anything is made of what lies there
    assert [entry for entry in log if entry[0] == "batch"] == [
        ("batch", number, "is made on", "maker") for number in ("1", "2")
    ]
    expected = [
        entry
        for number in ("1", "2")
        for entry in (
            ("model", "waits for", f"maker {number}"),
            (f"image {number}", "is kept for", "model"),
            (f"labels {number}", "is kept for", "model"),
        )
    ]
    assert [seen[1:] for seen in log_of_model] == [expected[:3], expected]


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("device", [CUDA, torch.device("cpu")])
def test_who_leaves_early_ends_what_makes_them(device: torch.device) -> None:
    ended = threading.Event()

    def batches() -> Iterator[dict[str, Any]]:
        try:
            while True:
                yield {}
        finally:
            ended.set()

    ready = made_ahead(batches(), device)
    next(ready)
    ready.close()
    assert ended.wait(5)
    assert not [one for one in threading.enumerate() if one.name == "lpdseg-ahead"]


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("device", [CUDA, torch.device("cpu")])
def test_faults_are_raised_in_their_place(device: torch.device) -> None:
    def batches() -> Iterator[dict[str, Any]]:
        yield {}
        raise ValueError("a broken patch")

    ready = made_ahead(batches(), device)
    next(ready)
    with pytest.raises(ValueError, match="a broken patch"):
        next(ready)
