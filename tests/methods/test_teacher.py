from collections.abc import Callable

import pytest
import torch

from lpdseg.losses.pseudo import IGNORED
from lpdseg.methods.lpd_task import LpdTask
from lpdseg.methods.teacher import Teacher
from lpdseg.model.head import LinearHead
from lpdseg.model.lpd import LPD
from lpdseg.sections import LossSettings, PredictSettings, PseudoSettings

LABELS = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


@pytest.fixture
def model(tiny_lpd: Callable[..., LPD]) -> LPD:
    lpd = tiny_lpd()
    lpd.head = LinearHead(lpd.encoder.widths, 2, 8)
    return lpd


def teacher(model: LPD, **settings: float) -> Teacher:
    return Teacher(model, PseudoSettings(**settings), PredictSettings(fusion=(0, 0.4, 0.6), background="none"))


def images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def masks(found: Teacher, done: float) -> torch.Tensor:
    return found.masks(found.model.encoder(images()), images(), LABELS, done, (16, 16))


def test_masks_are_limited_to_the_label(model: LPD) -> None:
    mask = masks(teacher(model, confidence=0.0), 0.9)
    assert mask.shape == (3, 16, 16)
    assert set(mask[0].unique().tolist()) == {0}
    assert set(mask[2].unique().tolist()) == {1}
    assert set(mask[1].unique().tolist()) <= {0, 1}


def test_pixels_that_maps_and_head_dispute_teach_nothing(model: LPD) -> None:
    strict = masks(teacher(model, confidence=1.0), 0.9)
    assert bool((strict[1] == IGNORED).any())
    assert bool((strict[0] == 0).all())  # a single label leaves nothing to dispute


def test_the_head_has_its_say_only_after_its_start(model: LPD) -> None:
    before = teacher(model, confidence=0.0, start=0.5)
    early = masks(before, 0.5)
    assert model.head is not None
    for parameter in before.model.head.parameters():  # type: ignore[union-attr]
        parameter.mul_(-3.0)
    torch.testing.assert_close(masks(before, 0.5), early)


def test_the_average_follows_and_stays_in_evaluation_mode(model: LPD) -> None:
    old = teacher(model, momentum=0.9)
    before = old.model.bank.weight.clone()
    with torch.no_grad():
        model.bank.weight.add_(1.0)
    old.follow(model, 1000)
    torch.testing.assert_close(old.model.bank.weight, before + 0.1)
    old.train()
    assert not old.model.training
    assert not any(parameter.requires_grad for parameter in old.parameters())


def test_the_first_steps_are_soon_forgotten(model: LPD) -> None:
    old = teacher(model, momentum=0.99)
    with torch.no_grad():
        model.bank.weight.zero_()
    for step in range(1, 60):
        old.follow(model, step)
    assert old.model.bank.weight.abs().max() < 0.01


def test_the_head_learns_from_its_start_on_and_the_teacher_gets_no_gradient(model: LPD) -> None:
    settings = LossSettings(
        scale_weights=(0.0, 0.1, 1.0),
        contrast={"weight": 0.0},  # type: ignore[arg-type]
        diversity={"weight": 0.5},  # type: ignore[arg-type]
        composite={"weight": 0.0},  # type: ignore[arg-type]
        pseudo=PseudoSettings(weight=1.0, start=0.5),
    )
    predict = PredictSettings(fusion=(0, 0.4, 0.6), background="none")
    task = LpdTask(model, settings, "pixel", None, None, hidden=7, predict=predict)
    batch = {"image": (images() * 255).to(torch.uint8), "labels": LABELS}
    assert "pseudo" not in task(batch, done=0.49)
    parts = task(batch, done=0.5)
    expected = parts["classification"] + 0.5 * parts["diversity"] + parts["pseudo"] + parts["candidates"]
    torch.testing.assert_close(parts["loss"], expected)
    parts["loss"].backward()
    assert model.head is not None
    assert all(parameter.grad is not None for parameter in model.head.parameters())
    assert task.teacher is not None
    assert all(parameter.grad is None for parameter in task.teacher.parameters())
