"""How long the demo will take on this machine, found out by doing a little of it."""

import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from lpdseg.data.dataset import steps_per_epoch
from lpdseg.data.synthetic import generate
from lpdseg.model.device import finish, pick_device
from lpdseg.settings import Settings
from lpdseg.tissue import PRESETS
from lpdseg.training.engine import chosen_precision
from lpdseg.training.optimiser import build_optimiser
from lpdseg.training.setup import build_task

_STEPS = 3
_PREDICTION = 1 / 3
"""Of what a patch costs in training: it goes through the network in one direction instead of three times as far."""


def expected_seconds(settings: Settings, patches: Mapping[str, int], size: int, mpp: float, workers: int) -> float:
    """Seconds from no data to the report, as far as can be told from three patches and three steps of training.

    Other work on the machine counts as it is now. `patches` per split, of `size` px; `workers` generate them.
    """
    images = sum(patches.values())
    per_patch = _seconds_per_patch(size, mpp)
    per_step = seconds_per_step(settings, size)
    training = settings.train.epochs * steps_per_epoch(patches["train"], settings.train.batch)
    seen = settings.train.validations * patches["valid"] + patches["test"]
    in_a_step = settings.train.batch * (1 + 1 / settings.loss.composite.every)
    looked = 2 * patches["train"] if settings.loss.morphology.weight > 0 else 0  # to find morphologies
    prediction = (seen * len(settings.predict.views) + looked) * _PREDICTION * per_step / in_a_step
    return images * per_patch / workers + training * per_step + prediction


def _seconds_per_patch(size: int, mpp: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        generate(Path(folder), size=size, mpp=mpp, patches={"train": _STEPS}, patients={"train": 1}, workers=1)
        return (time.monotonic() - began) / _STEPS


def seconds_per_step(settings: Settings, size: int) -> float:
    """Of random pixels with every label and as many composites as in training; the first step is not counted.

    Forward, backward and update; patches are not read.
    """
    classes, device = PRESETS["bcss"], pick_device()
    task: Any = build_task(settings, classes)
    task = task.to(device, memory_format=torch.channels_last).train()
    count, made = settings.train.batch, -(-settings.train.batch // settings.loss.composite.every)
    batch = {
        "image": torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, device=device),
        "labels": torch.ones(count, len(classes), device=device),
        "composite": torch.randint(0, 256, (made, 3, size, size), dtype=torch.uint8, device=device),
        "composite_mask": torch.zeros(made, size, size, dtype=torch.uint8, device=device),
        "composite_source": torch.full((made, len(classes)), -1, device=device),
    }
    optimiser = build_optimiser(task, settings.train)
    half = chosen_precision(settings.train, device) == "bf16-mixed"
    began = 0.0
    for step in range(1 + _STEPS):
        with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
            loss = task(batch, 0.5)["loss"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if step == 0:
            finish(device)
            began = time.monotonic()
    finish(device)
    return (time.monotonic() - began) / _STEPS
