"""What benchmarks/gpu.py times of training: runs, a batch that lies on the device, validation, equal results."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from gpu_clock import Watch, Watched, seconds_each
from lpdseg import api
from lpdseg.checkpoint import read_state
from lpdseg.data.dataset import steps_per_epoch
from lpdseg.data.records import Manifest
from lpdseg.evaluation.split import read_labelled
from lpdseg.model.device import finish
from lpdseg.quiet import quiet
from lpdseg.segmenting.loading import load_segmenter
from lpdseg.settings import Settings, load_settings
from lpdseg.training.device_room import DeviceRoom
from lpdseg.training.engine import Engine, compile_encoder, make_fabric
from lpdseg.training.fallback import settle, settle_weights
from lpdseg.training.loading import batches_on_device, on_one_thread
from lpdseg.training.optimiser import build_optimiser
from lpdseg.training.progress import Silent
from lpdseg.training.setup import build_task, training_batches, training_patches
from lpdseg.training.validation import Validation
from measuring import seconds

_LATE = 0.99
"""The share of the steps that lie behind: every loss is there."""

_MADE = 5
"""Batches of which the one that is made fastest counts."""


@dataclass(frozen=True)
class Case:
    """A preset with changes, and how many patches a step learns from; `data` as generated."""

    preset: str
    data: Manifest
    changes: tuple[str, ...] = ()

    def settings(self, *more: str) -> Settings:
        settings = load_settings(self.preset, ["model.weights=none", *self.changes, *more])
        return settle(settle_weights(settings)[0], self.data.split("train"), self.data.classes)[0]

    def of_steps(self, steps: int, *more: str) -> Settings:
        """With as many epochs as make so many steps."""
        settings = self.settings(*more)
        epochs = steps / steps_per_epoch(len(self.data.split("train")), settings.train.batch)
        return self.settings(
            *more, f"train.epochs={epochs!r}", "train.validations=0", "train.checkpoint_minutes=1000000"
        )


def watch(case: Case, run: Path, device: torch.device, settled: int, count: int) -> Watched:
    """The loop as users run it: loader, steps, losses."""
    reporter = Watch(device, settled, count)
    settings = case.of_steps(reporter.steps, f"train.log_every={settled}")
    api.train(case.data, run, preset=settings, device=str(device), reporter=reporter)
    assert reporter.found is not None
    return reporter.found


@dataclass(frozen=True)
class Bare:
    """Seconds of a step on a batch that lies on the device, and of making one as the loop does, on one core."""

    step: float
    making: float


def bare(case: Case, device: torch.device, settled: int, count: int) -> Bare:
    """Forward, backward, clipping and update of one batch again and again."""
    settings = case.settings("data.workers=0")
    patches = training_patches(case.data.split("train"), settings, case.data.classes)
    for index in range(len(patches)):
        patches.layers(index)  # decoded now
    with quiet():
        fabric = make_fabric(Engine(str(device)), settings.train)
    task = build_task(settings, case.data.classes).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.train.compile:
        compile_encoder(task.model)
    module, optimiser = fabric.setup(task, build_optimiser(task, settings.train))
    task.prepare(patches, fresh=True)
    module.train()
    source, threads = training_batches(patches, settings), torch.get_num_threads()
    room = DeviceRoom(device, settings.data.device_share)
    batches = on_one_thread(batches_on_device(source, settings, 0, 1 + _MADE, fabric, Silent(), room))
    one = next(batches)

    def make() -> None:
        next(batches)
        finish(device)

    making = min(seconds(make) for _ in range(_MADE))
    torch.set_num_threads(threads)

    def step() -> None:
        parts = module(one, _LATE)
        optimiser.zero_grad()
        fabric.backward(parts["loss"])
        if settings.train.clip:
            fabric.clip_gradients(module, optimiser, max_norm=settings.train.clip, error_if_nonfinite=False)
        optimiser.step()

    return Bare(seconds_each(step, device, settled, count), making)


def validation_seconds(case: Case, device: torch.device, patches: int) -> tuple[float, float]:
    """Of reading so many validation patches, those that there are again and again, and of one validation."""
    settings, valid = case.settings(), case.data.split("valid")
    data = replace(case.data, records=tuple(valid[n % len(valid)] for n in range(patches)))
    held: list[Validation] = []
    reading = seconds(lambda: held.append(Validation(data, settings)))
    model = build_task(settings, data.classes).to(device, memory_format=torch.channels_last).model  # type: ignore[call-overload]
    model.train()
    held[0].place(DeviceRoom(device, settings.data.device_share))
    held[0].run(model)  # libraries choose their algorithms
    return reading, seconds(lambda: held[0].run(model))


@dataclass(frozen=True)
class Same:
    """How far apart trainings end: ‖Δa − Δb‖ / ‖Δa‖ over all parameters, and the share of equal mask pixels.

    - `device`: the device and the CPU; `threads`: the CPU at two threads and at one.
    - `masks`: of the device's weights, on it and on the CPU.
    """

    device: float
    threads: float
    masks: float


def same_results(case: Case, folder: Path, device: torch.device, steps: int) -> Same:
    """In float32 without TF32, from the same start on the same patches."""
    settings = case.of_steps(steps, "train.precision=32-true")
    before, uses = torch.get_num_threads(), (torch.backends.cuda.matmul, torch.backends.cudnn)
    allowed = [use.allow_tf32 for use in uses]
    torch.manual_seed(0)
    start = build_task(settings, case.data.classes)
    start.prepare(training_patches(case.data.split("train"), settings, case.data.classes), fresh=True)
    names = {name for name, value in start.named_parameters() if value.requires_grad}
    first = {name: value.detach().double() for name, value in start.named_parameters() if name in names}
    ends = {}
    try:
        for use in uses:
            use.allow_tf32 = False  # type: ignore[assignment]
        for title, where, threads in (("device", str(device), 2), ("two", "cpu", 2), ("one", "cpu", 1)):
            torch.set_num_threads(threads)
            api.train(case.data, folder / title, preset=settings, device=where)
            ends[title] = {
                name: value.double() for name, value in _weights(folder / title).items() if name in names
            }
        masks = _masks_agree(folder / "device", case.data, device)
    finally:
        torch.set_num_threads(before)
        for use, was in zip(uses, allowed, strict=True):
            use.allow_tf32 = was  # type: ignore[assignment]

    def apart(left: str, right: str) -> float:
        difference = _norm(lambda name: ends[left][name] - ends[right][name], names)
        return difference / _norm(lambda name: ends[right][name] - first[name], names)

    return Same(apart("device", "two"), apart("one", "two"), masks)


def _weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "checkpoints" / read_state(run, "last")["files"]["weights"])


def _norm(value: Callable[[str], Tensor], names: set[str]) -> float:
    return float(sum(value(name).square().sum() for name in names)) ** 0.5


def _masks_agree(run: Path, data: Manifest, device: torch.device) -> float:
    batches = read_labelled(data.split("valid"), data.classes, 16, "valid")
    here, there = (load_segmenter(run, "last", where) for where in (str(device), "cpu"))
    equal = count = 0
    for batch in batches:
        left, right = (one.decide(one.observe(batch.images), batch.images).mask.cpu() for one in (here, there))
        equal += int((left == right).sum())
        count += left.numel()
    return equal / count
