"""Clocks for a device that works while Python goes on: steps with an end, kernels, a training that is watched."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from lpdseg.model.device import finish
from lpdseg.training.progress import Silent


def seconds_each(call: Callable[[], object], device: torch.device, settled: int, count: int) -> float:
    """Seconds of a call, the mean of `count` in a row after so many that do not count."""
    for _ in range(settled):
        call()
    finish(device)
    began = perf_counter()
    for _ in range(count):
        call()
    finish(device)
    return (perf_counter() - began) / count


@dataclass(frozen=True)
class Kernels:
    """What a device did: `seconds` in which a kernel ran, copies left out, and how many there were."""

    seconds: float
    count: int


class KernelCount:
    """Counts kernels between `start` and `stop`; None where the device is no CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._profiler = profile(activities=[ProfilerActivity.CUDA]) if device.type == "cuda" else None

    def start(self) -> None:
        finish(self._device)
        if self._profiler is not None:
            self._profiler.start()

    def stop(self) -> Kernels | None:
        finish(self._device)
        if self._profiler is None:
            return None
        self._profiler.stop()
        assert self._profiler.profiler is not None and self._profiler.profiler.kineto_results is not None
        spans = [  # not by `events()`, which takes minutes for half a million
            (event.start_ns(), event.start_ns() + event.duration_ns())
            for event in self._profiler.profiler.kineto_results.events()
            if event.device_type() == DeviceType.CUDA and not event.name().startswith(("Memcpy", "Memset"))
        ]
        return Kernels(covered(spans) / 1e9, len(spans))


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How much of a line spans cover that may lie over each other, as kernels of several streams do."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total


def kernels_of(call: Callable[[], object], device: torch.device, count: int) -> Kernels | None:
    """Of one call, the mean of some."""
    counter = KernelCount(device)
    counter.start()
    for _ in range(count):
        call()
    found = counter.stop()
    return None if found is None else Kernels(found.seconds / count, round(found.count / count))


@dataclass(frozen=True)
class Watched:
    """A training after it has settled, per step: seconds, the share of waiting, and what the device did."""

    seconds: float
    waiting: float
    kernels: Kernels | None


class Watch(Silent):
    """Times `count` steps of a training after `settled` ones, then counts the kernels of as many again.

    The loop must report every `settled` steps, of which `count` is a multiple: waiting is what it tells.
    """

    def __init__(self, device: torch.device, settled: int, count: int) -> None:
        self._device, self._settled, self._count = device, settled, count
        self._kernels = KernelCount(device)
        self._began, self._seconds = 0.0, 0.0
        self._waits: list[float] = []
        self.found: Watched | None = None

    @property
    def steps(self) -> int:
        """How many the training must have."""
        return self._settled + self._count * (2 if self._device.type == "cuda" else 1)

    def pace(self, patches: float, waiting: float) -> None:
        self._waits.append(waiting)

    def step(self, done: int, losses: dict[str, float] | None) -> None:
        if done == self._settled:
            finish(self._device)
            self._began = perf_counter()
            self._waits.clear()
        elif done == self._settled + self._count:
            finish(self._device)
            self._seconds = (perf_counter() - self._began) / self._count
            waiting = sum(self._waits) / len(self._waits)
            self.found = Watched(self._seconds, waiting, None)
            if done < self.steps:
                self._kernels.start()
        elif done == self.steps and self.found is not None:
            seen = self._kernels.stop()
            assert seen is not None
            each = Kernels(seen.seconds / self._count, seen.count // self._count)
            self.found = Watched(self.found.seconds, self.found.waiting, each)
