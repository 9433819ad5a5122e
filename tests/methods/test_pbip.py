from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lpdseg.data.dataset import TrainingPatches
from lpdseg.data.importers import load_data
from lpdseg.errors import SettingsError
from lpdseg.losses.pseudo import IGNORED
from lpdseg.maps.fuse import activation, fuse_scales
from lpdseg.methods.dense import DenseNetwork
from lpdseg.methods.pbip import PbipTask
from lpdseg.model.image_encoders import SelfEncoder
from lpdseg.model.lpd import LPD
from lpdseg.sections import TrainSettings
from lpdseg.settings import Settings, load_settings
from lpdseg.tissue import TissueClasses
from lpdseg.training.optimiser import build_optimiser

SMALL = (
    "loss.scale_weights=[0,0.1,1]",
    "predict.fusion=[0,0.4,0.6]",
    "loss.warmup=0.5",
    "loss.contrast.weight=0.3",
    "loss.composite.weight=0",
)


def settings(*overrides: str) -> Settings:
    return load_settings(None, [*SMALL, *overrides])


def task(
    tiny_lpd: Callable[..., LPD], *overrides: str, counts: tuple[int, ...] = (2, 3), contrasted: bool = True
) -> PbipTask:
    classifier = tiny_lpd(counts)
    model = DenseNetwork(tiny_lpd(counts).encoder, len(counts), 8)
    return PbipTask(
        model, classifier, settings(*overrides), SelfEncoder(classifier.encoder) if contrasted else None
    )


@pytest.fixture
def batch() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        "image": torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8),
        "labels": torch.tensor([[1.0, 0], [0, 1], [1, 1]]),
    }


def gradients(task: PbipTask) -> set[str]:
    """The parts of the task that the last loss reached."""
    return {
        ".".join(name.split(".")[:2]) for name, parameter in task.named_parameters() if parameter.grad is not None
    }


def test_each_stage_trains_its_own_network(tiny_lpd: Callable[..., LPD], batch: dict[str, Tensor]) -> None:
    pbip = task(tiny_lpd)
    parts = pbip(batch, 0.1)
    assert set(parts) == {"loss", "classification"}  # the warm-up is a share of the stage: here a quarter of all
    parts = pbip(batch, 0.3)
    assert set(parts) == {"loss", "classification", "foreground", "background", "map_mean"}
    parts["loss"].backward()
    assert gradients(pbip) == {"classifier.encoder", "classifier.projections", "classifier.cosines"}
    pbip.zero_grad(set_to_none=True)
    parts = pbip(batch, 0.5)
    assert set(parts) == {"loss", "pseudo"}
    parts["loss"].backward()
    assert gradients(pbip) == {"model.encoder", "model.head"}


def test_the_contrast_is_switched_off_by_weight_or_encoder(
    tiny_lpd: Callable[..., LPD], batch: dict[str, Tensor]
) -> None:
    assert set(task(tiny_lpd, "loss.contrast.weight=0")(batch, 0.4)) == {"loss", "classification"}
    assert set(task(tiny_lpd, contrasted=False)(batch, 0.4)) == {"loss", "classification"}
    with pytest.raises(SettingsError, match="at least two classes"):
        task(tiny_lpd, counts=(2,))
    with pytest.raises(SettingsError, match="has 2 numbers, the encoder 3 scales"):
        task(tiny_lpd, "loss.scale_weights=[1,1]", "predict.fusion=[1,1]")


def test_the_contrast_compares_classes_with_the_means_of_their_clusters(
    tiny_lpd: Callable[..., LPD], batch: dict[str, Tensor]
) -> None:
    """With one prototype per class and every class present, it is LPD's own contrast."""
    from lpdseg.methods.lpd_task import LpdTask
    from lpdseg.sections import LossSettings

    chosen = settings("loss.diversity.weight=0", "loss.warmup=0")
    pbip = task(tiny_lpd, "loss.warmup=0", counts=(1, 1))
    loss: LossSettings = chosen.loss
    lpd = LpdTask(pbip.classifier, loss, chosen.model.merge, SelfEncoder(pbip.classifier.encoder), None, hidden=7)
    ours, theirs = pbip(batch, 0.2), lpd(batch, 0.2)
    for name in ("classification", "foreground", "background", "map_mean", "loss"):
        torch.testing.assert_close(ours[name], theirs[name])


def test_pseudo_masks_keep_to_the_label_and_leave_glass_out(
    tiny_lpd: Callable[..., LPD], batch: dict[str, Tensor]
) -> None:
    pbip = task(tiny_lpd, "predict.background=glass", counts=(2, 3, 1))
    batch = {"image": batch["image"].clone(), "labels": torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 0, 0]])}
    batch["image"][1, :, :, 40:] = 255
    images = batch["image"] / 255
    mask = pbip.pseudo_mask(batch)
    assert mask[0].unique().tolist() == [1]  # ties go to no class that is absent
    outputs = pbip.classifier(images, {1, 2})
    maps = {level: activation(pbip.classifier.merge(output.maps, "softmax")) for level, output in outputs.items()}
    scores = fuse_scales(maps, {1: 0.4, 2: 0.6}, (64, 64))[1, :, :, :30]
    assert mask[1, :, :30].equal(torch.where(scores[2] > scores[0], 2, 0))
    assert (mask[1, :, 50:] == IGNORED).all() and (mask[2] == IGNORED).all()
    everywhere = task(tiny_lpd, "predict.background=power", counts=(2, 3, 1)).pseudo_mask(batch)
    assert (everywhere[:2] != IGNORED).all()


def test_prototypes_come_from_the_bank_and_are_not_trained(tiny_lpd: Callable[..., LPD], small_data: Path) -> None:
    pbip = task(tiny_lpd, counts=(2, 2))
    encoder = tiny_lpd(strides=(1, 2, 4)).encoder
    classifier = LPD(encoder, (2, 2), encoder.widths[-1], 7, 0.07)
    pbip = PbipTask(pbip.model, classifier, settings(), None)
    patches = TrainingPatches(load_data(small_data, TissueClasses(("pink", "blue"))).split("train"), seed=0)
    pbip.prepare(patches)
    prototypes = classifier.bank.weight.clone()
    assert prototypes.square().mean().item() == pytest.approx(1)
    pure = classifier.encoder(torch.from_numpy(patches.plain(0).transpose(2, 0, 1).copy())[None] / 255)[-1].mean(
        (2, 3)
    )
    nearest = torch.nn.functional.cosine_similarity(pure, prototypes).argmax()
    assert patches.records[0].labels == ((1, 0) if nearest < 2 else (0, 1))
    pbip.prepare(patches)
    assert classifier.bank.weight.equal(prototypes)
    held = {id(value) for group in build_optimiser(pbip, TrainSettings()).param_groups for value in group["params"]}
    assert id(classifier.bank.weight) not in held
    assert {id(value) for value in pbip.parameters()} - held == {id(classifier.bank.weight)}


def test_both_encoders_learn_at_the_rate_of_encoders(tiny_lpd: Callable[..., LPD]) -> None:
    pbip = task(tiny_lpd)
    optimiser = build_optimiser(pbip, TrainSettings(lr=1e-3, prototype_lr=5))
    slow = {id(value) for group in optimiser.param_groups if group["lr_factor"] == 1 for value in group["params"]}
    encoders = [*pbip.model.encoder.parameters(), *pbip.classifier.encoder.parameters()]
    assert slow == {id(value) for value in encoders}
