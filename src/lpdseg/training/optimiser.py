"""AdamW with decay groups, and the polynomial schedule."""

from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import nn

from lpdseg.methods.task import Task
from lpdseg.model.device import runs_ahead
from lpdseg.model.encoder import Encoder
from lpdseg.model.prototypes import CosineMap, PrototypeBank
from lpdseg.sections import TrainSettings

_TOLERATED = 1.5
"""How many times the usual learning rate nothing is said of."""

_USUAL = 16
"""The batch that usual learning rates are for; with n times as many patches they are √n times as high."""


def learning_parameters(task: nn.Module) -> int:
    """How many numbers learn."""
    return sum(parameter.numel() for parameter in task.parameters() if parameter.requires_grad)


def build_optimiser(task: Task, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW in four groups: backbones or what stands on them, each with and without weight decay.

    On a device that runs ahead it is a single kernel for all parameters, and its counts of steps lie there too.
    No decay on biases and norms (all that has one dimension, and Swin's tables of position biases), logit scales
    and the prototypes themselves.
    """
    undecayed = {
        parameter
        for module in task.modules()
        if isinstance(module, PrototypeBank | CosineMap)
        for parameter in module.parameters()
    }
    backbone = {
        parameter
        for module in task.modules()
        if isinstance(module, Encoder)
        for parameter in module.backbone.parameters()
    }
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim > 1 and parameter not in undecayed and not name.endswith("bias_table")
            groups.setdefault((parameter in backbone, decayed), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": settings.lr * (1.0 if of_backbone else settings.prototype_lr),
                "weight_decay": settings.weight_decay if decayed else 0.0,
                "lr_factor": 1.0 if of_backbone else settings.prototype_lr,
            }
            for (of_backbone, decayed), parameters in groups.items()
        ],
        betas=settings.betas,
        fused=True if runs_ahead(task.model.device) else None,
    )


def rate_note(encoder: Encoder, settings: TrainSettings) -> str | None:
    """What to say where pretrained weights are tuned at a rate that may destroy them; None where nothing."""
    pretrained = encoder.source["weights"] not in {"random", "checkpoint"}
    rate = encoder.kind.rate * max(1.0, settings.batch / _USUAL) ** 0.5
    if not pretrained or encoder.tune not in {"last_blocks", "all"} or settings.lr <= _TOLERATED * rate:
        return None
    return (
        f"train.lr = {settings.lr:g} is above {rate:g}, at which pretrained weights of this family are tuned; "
        "they may forget what they know"
    )


def learning_rate(step: int, steps: int, settings: TrainSettings) -> float:
    """Of the encoder at `step` (from 0): a linear rise where asked for, then linear to 0 (polynomial, power 1)."""
    rise = int(settings.lr_warmup * steps)
    if step < rise:
        return settings.lr * (step + 1) / rise
    return settings.lr * (1 - (step - rise) / max(1, steps - rise))


def stage_starts(stages: Sequence[float], steps: int) -> list[int]:
    """The first step (from 0) of each stage, of stages that start at shares of the training."""
    return [bisect_left(range(steps), share, key=lambda step: step / steps) for share in stages]


def staged_learning_rate(step: int, steps: int, stages: Sequence[float], settings: TrainSettings) -> float:
    """`learning_rate` where every stage has a schedule of its own."""
    starts = [*stage_starts(stages, steps), steps]
    first = max(start for start in starts if start <= step)
    return learning_rate(step - first, min(start for start in starts if start > step) - first, settings)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets every group's rate to its factor times `rate`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_factor"]
