from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lpdseg.choices import MapSource, Negatives
from lpdseg.data.dataset import TrainingPatches
from lpdseg.data.records import PatchRecord
from lpdseg.errors import SettingsError
from lpdseg.losses.contrast import Contrast
from lpdseg.losses.diversity import Diversity, diversity_loss
from lpdseg.losses.term import Term, global_mean
from lpdseg.maps.labelling import pseudo_mask
from lpdseg.maps.pad import pad_to_stride
from lpdseg.methods.lpd_task import LpdTask
from lpdseg.model.head import PrototypeHead
from lpdseg.model.image_encoders import FrozenTower, SelfEncoder
from lpdseg.model.lpd import LPD
from lpdseg.sections import (
    CompositeSettings,
    ContrastSettings,
    DiversitySettings,
    LossSettings,
    MorphologySettings,
    PredictSettings,
)


class Counted(nn.Module):
    """The tower of a frozen encoder that remembers the batches it saw."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, width, 1)
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Any:
        self.batches.append(len(images))
        return type("Output", (), {"pooler_output": self.mix(images).relu().mean((2, 3))})


def frozen(width: int = 6) -> FrozenTower:
    return FrozenTower(Counted(width), nn.Identity(), width, 16, {"encoder": "test"}, (0.5,) * 3, (0.5,) * 3)


def losses(contrast: dict[str, Any] | None = None, diversity: float = 0.5) -> LossSettings:
    return LossSettings(
        scale_weights=(0.0, 0.1, 1.0),
        contrast=ContrastSettings(**({"weight": 0.2, "map_weight": 0.3} | (contrast or {}))),
        diversity=DiversitySettings(weight=diversity, temperature=0.3, pixels="class"),
        composite=CompositeSettings(weight=0.0),
    )


def batch(seed: int = 0, side: int = 32) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    images = torch.randint(256, (3, 3, side, side), dtype=torch.uint8)
    return {"image": images, "labels": torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])}


@pytest.fixture
def build(tiny_lpd: Callable[..., LPD]) -> Callable[..., LpdTask]:
    def make(settings: LossSettings, encoder: Any = None, power: float | None = None, **model: Any) -> LpdTask:
        lpd = tiny_lpd(**model)
        chosen = SelfEncoder(lpd.encoder) if encoder == "self" else encoder
        torch.manual_seed(1)
        return LpdTask(lpd, settings, "mean", chosen, power, hidden=7)

    return make


def test_before_the_losses_warm_up_there_is_only_classification(build: Callable[..., LpdTask]) -> None:
    encoder = frozen()
    task = build(losses(), encoder)
    compared: list[int] = []
    for level, part in enumerate(task.model.cosines):
        part.register_forward_hook(lambda *_, level=level: compared.append(level))
    parts = task(batch(), done=0.0)
    assert set(parts) == {"loss", "classification"}
    assert parts["loss"].equal(parts["classification"])
    assert encoder.tower.batches == []
    assert compared == [1, 2]  # scale 0 has no weight


def test_the_total_is_the_weighted_sum_of_the_method(build: Callable[..., LpdTask]) -> None:
    task = build(losses(), frozen())
    parts = task(batch(), done=0.99)
    assert set(parts) == {"loss", "classification", "foreground", "background", "map_mean", "diversity"}
    bracket = parts["foreground"] + parts["background"] + 0.3 * parts["map_mean"]
    expected = parts["classification"] + 0.2 * bracket + 0.5 * parts["diversity"]
    torch.testing.assert_close(parts["loss"], expected)
    assert all(bool(value.isfinite()) and value.item() > 0 for value in parts.values())
    assert parts["diversity"].item() <= 1
    assert parts["map_mean"].item() <= 1


def test_classification_of_a_batch_equals_the_loop(build: Callable[..., LpdTask]) -> None:
    task, data = build(losses(), None), batch()
    expected = 0.0
    with torch.no_grad():
        for i in range(3):
            outputs = task.model(data["image"][i : i + 1].float() / 255)
            for level, weight in ((1, 0.1), (2, 1.0)):
                z = outputs[level].maps[0].mean((1, 2))
                for c, own in enumerate((z[:2], z[2:])):
                    p = own.mean().sigmoid().item()
                    y = data["labels"][i, c].item()
                    expected -= weight * torch.tensor(p if y else 1 - p).log().item() / 6
    assert task(data, done=0.0)["loss"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("off", ["weight", "encoder"])
def test_a_contrast_that_is_switched_off_costs_nothing(off: str, build: Callable[..., LpdTask]) -> None:
    encoder = frozen()
    task = build(losses({"weight": 0.0} if off == "weight" else None), encoder if off == "weight" else None)
    parts = task(batch(), done=0.99)
    assert set(parts) == {"loss", "classification", "diversity"}
    assert encoder.tower.batches == []
    assert task.contrast_head is None
    assert not [name for name, _ in task.named_parameters() if name.startswith(("image_encoder", "contrast"))]


def test_a_diversity_that_is_switched_off_costs_nothing(
    build: Callable[..., LpdTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpdseg.losses.diversity.pseudo_mask", lambda *_: pytest.fail("not needed"))
    assert "diversity" not in build(losses(diversity=0.0), frozen())(batch(), done=0.99)


def test_with_both_off_no_scale_is_compared_that_has_no_weight(build: Callable[..., LpdTask]) -> None:
    settings = losses({"weight": 0.0}, diversity=0.0).model_copy(update={"scale_weights": (0.0, 1.0, 0.0)})
    task = build(settings)
    compared: list[int] = []
    for level, part in enumerate(task.model.cosines):
        part.register_forward_hook(lambda *_, level=level: compared.append(level))
    assert set(task(batch(), done=0.99)) == {"loss", "classification"}
    assert compared == [1]


def test_the_encoder_is_called_once_for_all_active_pairs(build: Callable[..., LpdTask]) -> None:
    encoder = frozen()
    task = build(losses({"pairs_per_image": 1}), encoder)
    task(batch(), done=0.99)
    assert encoder.tower.batches == [6]  # three images, a pair each, foreground and background


def test_one_step_reaches_encoder_prototypes_and_heads_but_no_frozen_weight(build: Callable[..., LpdTask]) -> None:
    encoder = frozen()
    task = build(losses(), encoder)
    task(batch(), done=0.99)["loss"].backward()
    assert all(value.grad is None for value in encoder.parameters())
    without = [
        name
        for name, value in task.named_parameters()
        if value.requires_grad and value.grad is None and ".0." not in name.replace("layers.0", "")
    ]
    assert [name for name in without if "cosines.0" not in name and "mixers.0" not in name] == []
    assert task.contrast_head is not None
    assert bool(next(task.contrast_head.parameters()).grad.any())


def test_the_self_contrast_moves_the_maps_and_not_the_frozen_copy(build: Callable[..., LpdTask]) -> None:
    task = build(losses(diversity=0.0), "self")
    assert task.contrast_head is None  # the projected prototypes of the last scale are compared
    parts = task(batch(), done=0.99)
    bracket = parts["loss"] - parts["classification"]
    gradients = torch.autograd.grad(bracket, [task.model.bank.weight, task.model.encoder.backbone.mixers[2].weight])
    assert all(bool(gradient.any()) for gradient in gradients)


def test_diversity_compares_projected_prototypes_on_the_pseudo_mask_of_the_label(
    build: Callable[..., LpdTask],
) -> None:
    """exp(−D_J) in a loop over images, classes and pairs, from features and projections."""
    task, data = build(losses({"weight": 0.0}), power=1.0), batch(side=96)
    with torch.no_grad():
        output = task.model(data["image"].float() / 255)[2]
        features = task.model.encoder(data["image"].float() / 255)[2]
        projected = task.model.projections[2](task.model.bank.weight)
        mask = pseudo_mask(task.model.merge(output.maps, "softmax"), data["labels"], 1.0)
        values = []
        for i in range(3):
            for c, own in enumerate(((0, 1), (2, 3, 4))):
                omega = mask[i] == c
                if not data["labels"][i, c] or int(omega.sum()) < 2:
                    continue
                pixels = features[i][:, omega].T
                v = [(torch.cosine_similarity(pixels, projected[j][None], dim=1) / 0.3).softmax(0) for j in own]
                pairs = [(a, b) for a in range(len(own)) for b in range(a + 1, len(own))]
                divergence = [((v[a] - v[b]) * (v[a].log() - v[b].log())).sum() for a, b in pairs]
                values.append(torch.stack([(-one).exp() for one in divergence]).mean())
        expected = torch.stack(values).mean()
    found = task(data, done=0.99)["diversity"]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_patches_without_any_class_train_without_a_contrast(build: Callable[..., LpdTask]) -> None:
    encoder = frozen()
    task = build(losses(), encoder, power=10.0)
    data = batch() | {"labels": torch.zeros(3, 2)}
    parts = task(data, done=0.99)
    parts["loss"].backward()
    assert encoder.tower.batches == []
    assert [parts[name].item() for name in ("foreground", "background", "map_mean", "diversity")] == [0, 0, 0, 0]
    assert bool(task.model.bank.weight.grad.isfinite().all())


def test_bfloat16_changes_the_losses_by_little(build: Callable[..., LpdTask]) -> None:
    task, data = build(losses(), frozen()), batch()
    exact = task(data, done=0.99)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = task(data, done=0.99)
    for name, value in exact.items():
        assert narrow[name].dtype == torch.float32
        assert narrow[name].item() == pytest.approx(value.item(), rel=0.05), name


def test_frozen_weights_are_not_part_of_what_is_saved(build: Callable[..., LpdTask]) -> None:
    saved = build(losses(), frozen()).trained_state()
    assert not [name for name in saved if name.startswith("image_encoder.")]
    assert "model.bank.weight" in saved
    assert "contrast_head.layers.0.weight" in saved


def test_settings_that_do_not_fit_the_model_are_an_error(build: Callable[..., LpdTask]) -> None:
    with pytest.raises(SettingsError, match="has 4 numbers, the encoder 3 scales"):
        build(losses().model_copy(update={"scale_weights": (0.0, 0.1, 1.0, 1.0)}))
    with pytest.raises(SettingsError, match="at least two classes"):
        build(losses(), frozen(), counts=(3,))
    build(losses({"weight": 0.0}), None, counts=(3,))


def test_the_mean_of_nothing_is_0() -> None:
    assert global_mean(Term(torch.tensor(0.0), torch.tensor(0.0))).item() == 0
    assert global_mean(Term(torch.tensor(3.0), torch.tensor(2.0))).item() == 1.5
    assert Term(torch.tensor(3.0), torch.tensor(1.0)).mean.item() == 3


def test_only_patches_below_the_stride_are_padded(build: Callable[..., LpdTask]) -> None:
    task = build(losses({"weight": 0.0}))
    seen: list[tuple[int, ...]] = []
    task.model.encoder.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[0].shape[-2:])))
    task(batch(side=48), done=0.0)
    task(batch(side=20), done=0.0)
    assert seen == [(48, 48), (32, 32)]


def taught(lpd: LPD, background: str = "none") -> LpdTask:
    settings = losses({"weight": 0.0}, diversity=0.0).model_copy(
        update={"composite": CompositeSettings(weight=0.4), "morphology": MorphologySettings(weight=0.0)}
    )
    predict = PredictSettings(fusion=(0, 0.4, 0.6), background=background)  # type: ignore[arg-type]
    return LpdTask(lpd, settings, "mean", None, None, hidden=7, predict=predict)


def composites(side: int = 32) -> dict[str, Tensor]:
    """Two composites, the upper halves of class 0; the right third of the first one is glass."""
    images = torch.randint(40, 160, (2, 3, side, side), dtype=torch.uint8)
    images[0, :, :, side * 2 // 3 :] = 250
    mask = torch.ones(2, side, side, dtype=torch.uint8)
    mask[:, : side // 2] = 0
    return {"composite": images, "composite_mask": mask}


def test_the_head_learns_the_masks_of_composites_from_the_first_step(tiny_lpd: Callable[..., LPD]) -> None:
    lpd = tiny_lpd(head=8)
    assert lpd.head is not None
    made = batch() | composites()
    parts = taught(lpd)(made, done=0.0)
    assert set(parts) == {"loss", "classification", "composite"}
    torch.testing.assert_close(parts["loss"], parts["classification"] + 0.4 * parts["composite"])
    with torch.no_grad():
        logits = lpd.dense(lpd.encoder(made["composite"].float() / 255)).classes
        full = nn.functional.interpolate(logits, size=(32, 32), mode="bilinear", align_corners=False)
        expected = nn.functional.cross_entropy(full, made["composite_mask"].long())
    torch.testing.assert_close(parts["composite"].detach(), expected)
    parts["loss"].backward()
    assert all(parameter.grad is not None for parameter in lpd.head.parameters())


def test_glass_in_a_composite_teaches_nothing(tiny_lpd: Callable[..., LPD]) -> None:
    made = batch() | composites()
    one = taught(tiny_lpd(head=8), "glass")(made, done=0.0)["composite"]
    made["composite_mask"][0, :, 29:] = 1  # far inside the glass
    changed = taught(tiny_lpd(head=8), "glass")(made, done=0.0)["composite"]
    torch.testing.assert_close(one, changed)
    assert not taught(tiny_lpd(head=8))(made, done=0.0)["composite"].isclose(one)


def test_padding_of_small_composites_teaches_nothing(tiny_lpd: Callable[..., LPD]) -> None:
    made = batch(side=20) | composites(side=20)
    lpd = tiny_lpd(head=8)
    assert lpd.head is not None
    found = taught(lpd)(made, done=0.0)["composite"]
    padded = pad_to_stride(made["composite"].float() / 255)
    assert padded.shape[-2:] == (32, 32)
    with torch.no_grad():
        logits = nn.functional.interpolate(lpd.dense(lpd.encoder(padded)).classes, size=(32, 32), mode="bilinear")
        expected = nn.functional.cross_entropy(logits[..., :20, :20], made["composite_mask"].long())
    torch.testing.assert_close(found.detach(), expected)


def test_a_process_without_composites_adds_nothing_and_reaches_the_head(tiny_lpd: Callable[..., LPD]) -> None:
    lpd, made = tiny_lpd(head=8), batch() | {name: values[:0] for name, values in composites().items()}
    assert lpd.head is not None
    parts = taught(lpd)(made, done=0.0)
    assert parts["composite"].item() == 0
    parts["loss"].backward()
    for parameter in lpd.head.parameters():
        assert parameter.grad is not None and not parameter.grad.any()


def test_diversity_may_look_at_raw_prototypes_and_the_whole_image(tiny_lpd: Callable[..., LPD]) -> None:
    lpd, made = tiny_lpd(widths=(4, 5, 8)), batch()  # prototypes are 8 wide
    plain = losses({"weight": 0.0})
    other = plain.diversity.model_copy(update={"space": "raw", "pixels": "image"})
    found = LpdTask(lpd, plain.model_copy(update={"diversity": other}), "mean", None, None, hidden=7)(made, 0.99)
    features = lpd.encoder(made["image"].float() / 255)[-1]
    unit, raw = nn.functional.normalize(features, dim=1), nn.functional.normalize(lpd.bank.weight, dim=1)
    cosine = torch.einsum("bdhw,kd->bkhw", unit, raw)
    expected = diversity_loss(cosine, None, made["labels"], lpd.bank.slots, lpd.bank.real, 0.3).mean
    torch.testing.assert_close(found["diversity"], expected)
    with pytest.raises(SettingsError, match=r"model\.prototype_dim=6"):
        LpdTask(tiny_lpd(), plain.model_copy(update={"diversity": other}), "mean", None, None, hidden=7)


def test_diversity_of_the_dense_map_compares_pixels_of_composites_over_the_batch(
    tiny_lpd: Callable[..., LPD],
) -> None:
    lpd, made = tiny_lpd(head=8), batch() | composites()
    settings = LossSettings(
        scale_weights=(0.0, 0.1, 1.0),
        diversity=DiversitySettings(weight=0.5, temperature=0.3),
        composite=CompositeSettings(weight=0.4),
        morphology=MorphologySettings(weight=0.0),
    )
    predict = PredictSettings(fusion=(0, 0.4, 0.6), background="none")
    task = LpdTask(lpd, settings, "mean", None, None, hidden=7, predict=predict)
    found = task(made, done=0.5)["diversity"]
    with torch.no_grad():
        dense = lpd.dense(lpd.encoder(made["composite"].float() / 255))
        assert dense.cosine is not None
        mask = made["composite_mask"].long()[:, 2::4, 2::4]
        bank, labels = lpd.bank, torch.ones(2, 2)
        term = diversity_loss(dense.cosine, mask, labels, bank.slots, bank.real, 0.3, over_batch=True)
    torch.testing.assert_close(found.detach(), term.mean)
    found.backward()
    assert lpd.dense_projection is not None
    assert all(parameter.grad is not None for parameter in lpd.dense_projection.parameters())


def test_contrast_of_the_dense_map_reaches_the_head(tiny_lpd: Callable[..., LPD]) -> None:
    lpd, made = tiny_lpd(head=8), batch() | composites()
    settings = LossSettings(
        scale_weights=(0.0, 0.1, 1.0),
        contrast=ContrastSettings(weight=0.2),
        diversity=DiversitySettings(weight=0.0),
        composite=CompositeSettings(weight=0.4),
        morphology=MorphologySettings(weight=0.0),
    )
    predict = PredictSettings(fusion=(0, 0.4, 0.6), background="none")
    task = LpdTask(lpd, settings, "mean", SelfEncoder(lpd.encoder), None, hidden=7, predict=predict)
    parts = task(made, done=0.5)
    (parts["foreground"] + parts["background"] + parts["map_mean"]).backward()
    assert lpd.dense_projection is not None
    assert any(
        bool(parameter.grad.any()) for parameter in lpd.dense_projection.parameters() if parameter.grad is not None
    )


@pytest.mark.parametrize("source", ["auto", "maps"])
@pytest.mark.parametrize("negatives", ["other_classes", "published"])
def test_a_retired_prototype_is_not_compared_with_any(
    source: MapSource, negatives: Negatives, tiny_lpd: Callable[..., LPD]
) -> None:
    lpd, made = tiny_lpd(head=8), batch() | composites()
    assert isinstance(lpd.head, PrototypeHead)
    lpd.head.live[3] = False
    settings = LossSettings(
        scale_weights=(0.0, 0.1, 1.0),
        contrast=ContrastSettings(weight=0.2, source=source, negatives=negatives),
        diversity=DiversitySettings(weight=0.5, source=source),
        composite=CompositeSettings(weight=0.4),
        morphology=MorphologySettings(weight=0.0),
    )
    predict = PredictSettings(fusion=(0, 0.4, 0.6), background="none")
    task = LpdTask(lpd, settings, "mean", SelfEncoder(lpd.encoder), None, hidden=7, predict=predict)
    compare = [one for one in task.objectives if isinstance(one, Contrast | Diversity)]
    seen = task.look(made, 0.5, task.objectives)
    torch.stack([one(seen)[0] for one in compare]).sum().backward()
    assert lpd.bank.weight.grad is not None
    assert lpd.bank.weight.grad.any(1).tolist() == [True, True, True, False, True]


def test_morphologies_are_taught_to_the_shares_of_siblings(tiny_lpd: Callable[..., LPD]) -> None:
    lpd = tiny_lpd(head=8)
    made = batch() | composites() | {"composite_source": torch.tensor([[0, 2], [1, 2]])}
    settings = LossSettings(
        scale_weights=(0.0, 0.1, 1.0),
        diversity=DiversitySettings(weight=0.0),
        composite=CompositeSettings(weight=0.4),
        morphology=MorphologySettings(weight=0.3),
    )
    predict = PredictSettings(fusion=(0, 0.4, 0.6), background="none")
    task = LpdTask(lpd, settings, "mean", None, None, hidden=7, predict=predict)
    assert task.morphologies is not None
    task.morphologies.shares = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0.2, 0.3, 0.5]])
    parts = task(made, done=0.0)
    torch.testing.assert_close(
        parts["loss"],
        parts["classification"] + 0.4 * parts["composite"] + 0.3 * (parts["morphology"] + parts["meaning"]),
    )
    before = float(parts["morphology"].detach())
    optimiser = torch.optim.Adam(task.parameters(), 3e-2)
    for _ in range(30):
        optimiser.zero_grad()
        task(made, done=0.0)["morphology"].backward()
        optimiser.step()
    assert float(task(made, done=0.0)["morphology"].detach()) < 0.7 * before
    assert set(task.trained_state()) >= {"morphologies.shares", "model.head.live", "told.layers.0.weight"}


def test_an_encoder_describes_itself_once_it_has_learnt_something(
    tiny_lpd: Callable[..., LPD], tmp_path: Path
) -> None:
    rng, records = np.random.default_rng(0), []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(40, 160, (32, 32, 3), dtype=np.uint8)).save(path)
        records.append(PatchRecord(path, ((1, 0), (0, 1))[number % 2], "train", f"p{number % 3}", None))
    settings = LossSettings(
        scale_weights=(0.0, 0.1, 1.0),
        warmup=0.3,
        composite=CompositeSettings(weight=0.4),
        morphology=MorphologySettings(weight=0.3, encoder="own"),
    )
    predict = PredictSettings(fusion=(0, 0.4, 0.6), background="none")
    task = LpdTask(tiny_lpd(head=8), settings, "mean", None, None, hidden=7, predict=predict)
    task.prepare(TrainingPatches(records, 0))
    made = batch() | composites() | {"composite_source": torch.tensor([[0, 1], [2, 3]])}
    assert float(task(made, done=0.2)["morphology"].detach()) == 0
    assert task.morphologies is not None and not task.morphologies.fitted and task.found() == {}
    task(made, done=0.3)
    assert task.morphologies.fitted
    assert task.found()["morphologies"]["encoder"] == "own"
