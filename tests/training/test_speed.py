"""Speed and waiting between two reports."""

from dataclasses import dataclass

import pytest
import torch

from lpdseg.training import meter
from lpdseg.training.meter import Speed


@dataclass
class Clock:
    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Queue:
    """A device that is asked for `busy` seconds of work in a step and starts them when all before is done."""

    clock: Clock
    free: float = 0.0

    def work(self, seconds: float) -> None:
        self.free = max(self.free, self.clock.now) + seconds

    class Event:
        queue: "Queue"

        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = max(self.queue.free, self.queue.clock.now)

        def elapsed_time(self, later: "Queue.Event") -> float:
            return 1000 * (later.at - self.at)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(meter, "time", found)
    return found


def test_waiting_on_a_cpu_is_the_time_until_patches_are_here(clock: Clock) -> None:
    speed = Speed(torch.device("cpu"), waited=5.0)
    for _ in range(2):
        speed.rest()
        clock.now += 1
        speed.work()
        clock.now += 3
    assert speed.told() == (0.25, 0.25) and speed.waited == 7
    clock.now += 1000  # a validation
    speed.rest()
    speed.work()
    clock.now += 2
    assert speed.told() == (0.5, 0.0) and speed.waited == 7


def test_a_device_waits_only_while_its_queue_is_empty(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(clock)
    monkeypatch.setattr(Queue.Event, "queue", queue, raising=False)
    monkeypatch.setattr(torch.cuda, "Event", Queue.Event)
    speed = Speed(torch.device("cuda"))
    for loading in (1, 1, 10):  # seconds until patches are here; Python queues a step at once
        speed.rest()
        clock.now += loading
        speed.work()
        queue.work(4)
    clock.now = queue.free  # the report waits for the device
    # 1 s before the first step; the second is queued while the first runs; the third 3 s after the second ended.
    assert speed.told() == (pytest.approx(3 / 16), pytest.approx(4 / 16)) and speed.waited == 4
