from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.choices import Tuning
from lpdseg.methods.lpd_task import LpdTask
from lpdseg.model.encoders import build_encoder
from lpdseg.model.image_encoders import FrozenTower
from lpdseg.model.lpd import LPD
from lpdseg.sections import ContrastSettings, LossSettings, TrainSettings
from lpdseg.training.optimiser import (
    build_optimiser,
    learning_rate,
    rate_note,
    set_learning_rate,
    stage_starts,
    staged_learning_rate,
)


def tower(width: int = 5) -> FrozenTower:
    return FrozenTower(torch.nn.Conv2d(3, 3, 1), torch.nn.Identity(), width, 8, {}, (0.5,) * 3, (0.5,) * 3)


def task_of(model: LPD) -> LpdTask:
    weights = (0.0, 0.1, 1.0, 1.0)[-model.scales :]
    settings = LossSettings(scale_weights=weights, contrast=ContrastSettings(weight=0.1))
    return LpdTask(model, settings, "mean", tower(), None, hidden=7)


@pytest.mark.parametrize("name", ["tiny", "pvt_v2_b0", "resnet18", "swin_tiny", "convnext_tiny", "dinov2_small"])
def test_the_groups_are_those_of_the_docstring(name: str, tiny_lpd: Callable[..., LPD]) -> None:
    model = tiny_lpd()
    if name != "tiny":
        with torch.device("meta"):
            encoder = build_encoder(name, tune="all")
        model = LPD(encoder, (2, 3), width=8, hidden=7, temperature=0.07)
    task = task_of(model)
    frozen = next(model.encoder.parameters()).requires_grad_(False)
    settings = TrainSettings(lr=2e-3, prototype_lr=5, weight_decay=0.01, betas=(0.8, 0.95))
    optimiser = build_optimiser(task, settings)
    found = {
        id(parameter): (group["lr"], group["weight_decay"], group["lr_factor"], group["betas"])
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(found)
    names = dict(task.named_parameters())
    trained = {key: value for key, value in names.items() if not key.startswith("image_encoder.")}
    assert set(found) == {id(value) for value in trained.values()} - {id(frozen)}
    for key, parameter in trained.items():
        if parameter is frozen:
            continue
        factor = 1.0 if key.startswith("model.encoder.backbone.") else 5.0
        bare = parameter.ndim < 2 or key == "model.bank.weight" or "bias" in key or "log_scale" in key
        assert found[id(parameter)] == (2e-3 * factor, 0.0 if bare else 0.01, factor, (0.8, 0.95)), key


def test_the_prototypes_the_scales_and_the_projections_are_where_they_belong(tiny_lpd: Callable[..., LPD]) -> None:
    task = task_of(tiny_lpd())
    optimiser = build_optimiser(task, TrainSettings(prototype_lr=3, weight_decay=0.5))
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert decay[id(task.model.bank.weight)] == 0
    assert [decay[id(part.log_scale)] for part in task.model.cosines] == [0, 0, 0]
    assert task.contrast_head is not None
    assert [decay[id(p)] for p in task.contrast_head.parameters()] == [0.5, 0, 0.5, 0]


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_rate_rises_in_a_line_then_falls_in_a_line_to_0(steps: int, share: float) -> None:
    settings = TrainSettings(lr=1.0, lr_warmup=share)
    rates = [learning_rate(step, steps, settings) for step in range(steps + 1)]
    rise = int(share * steps)
    for step in range(steps):
        expected = (step + 1) / rise if step < rise else (steps - step) / (steps - rise)
        assert rates[step] == pytest.approx(expected)
    assert all(0 < rate <= 1 + 1e-12 for rate in rates[:-1])
    if rise < steps:
        assert rates[-1] == 0


def test_without_warm_up_the_first_step_has_the_whole_rate() -> None:
    settings = TrainSettings(lr=5e-5, lr_warmup=0)
    assert learning_rate(0, 10, settings) == 5e-5
    assert learning_rate(5, 10, settings) == pytest.approx(2.5e-5)


def test_every_group_keeps_its_factor(tiny_lpd: Callable[..., LPD]) -> None:
    optimiser = build_optimiser(task_of(tiny_lpd()), TrainSettings(prototype_lr=4))
    set_learning_rate(optimiser, 0.25)
    assert {(group["lr_factor"], group["lr"]) for group in optimiser.param_groups} == {(1.0, 0.25), (4.0, 1.0)}


@given(steps=st.integers(1, 60), share=st.floats(0.01, 0.99), warmup=st.sampled_from([0.0, 0.2]))
def test_every_stage_has_the_schedule_of_a_training_of_its_own(steps: int, share: float, warmup: float) -> None:
    settings = TrainSettings(lr=1.0, lr_warmup=warmup)
    plain = [learning_rate(step, steps, settings) for step in range(steps)]
    assert [staged_learning_rate(step, steps, (0.0,), settings) for step in range(steps)] == plain
    _, second = stage_starts((0.0, share), steps)
    assert [step for step in range(steps) if step / steps >= share] == list(range(second, steps))
    rates = [staged_learning_rate(step, steps, (0.0, share), settings) for step in range(steps)]
    assert rates[:second] == [learning_rate(step, second, settings) for step in range(second)]
    assert rates[second:] == [learning_rate(step, steps - second, settings) for step in range(steps - second)]


@pytest.mark.parametrize(
    ("encoder", "tune", "rate", "told"),
    [
        ("pvt_v2_b0", "all", 2e-3, "5e-05"),
        ("convnext_tiny", "last_blocks", 1e-3, "5e-05"),
        ("resnet18", "all", 2e-3, "0.0005"),
        ("resnet18", "all", 5e-4, None),
        ("pvt_v2_b0", "none", 2e-3, None),
        ("pvt_v2_b0", "all", 5e-5, None),
        ("dinov2_small", "auto", 2e-3, None),
        ("efficientnet_lite0", "all", 2e-3, None),
    ],
)
def test_pretrained_weights_tuned_at_a_rate_for_others_are_told_of(
    encoder: str, tune: Tuning, rate: float, told: str | None
) -> None:
    with torch.device("meta"):
        built = build_encoder(encoder, None, tune=tune)
    assert rate_note(built, TrainSettings(lr=rate)) is None  # random weights have nothing to forget
    built.source = {"weights": "folder"}
    note = rate_note(built, TrainSettings(lr=rate))
    assert note is None if told is None else f"is above {told}, at which" in str(note)


@pytest.mark.parametrize(("batch", "told"), [(8, "is above 0.002,"), (16, "is above 0.002,"), (64, None)])
def test_more_patches_at_once_allow_a_higher_rate(batch: int, told: str | None) -> None:
    with torch.device("meta"):
        built = build_encoder("efficientnet_lite0", None)
    built.source = {"weights": "imagenet"}
    note = rate_note(built, TrainSettings(lr=4e-3, batch=batch))
    assert note is None if told is None else told in str(note)
