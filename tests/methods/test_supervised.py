from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from lpdseg import api
from lpdseg.data.importers import load_data
from lpdseg.errors import DataError
from lpdseg.losses.pseudo import IGNORED
from lpdseg.methods.dense import DenseNetwork
from lpdseg.methods.supervised import SupervisedTask, tissue_only
from lpdseg.model.lpd import LPD
from lpdseg.tissue import TissueClasses


def dense(tiny_lpd: Callable[..., LPD], classes: int = 3) -> DenseNetwork:
    return DenseNetwork(tiny_lpd().encoder, classes, 8)


def test_background_and_pixels_to_leave_out_teach_nothing(tiny_lpd: Callable[..., LPD]) -> None:
    mask = torch.tensor([[[0, 1, 2, 3, 255]]], dtype=torch.uint8)
    assert tissue_only(mask, 3).tolist() == [[[0, 1, 2, IGNORED, IGNORED]]]

    task = SupervisedTask(dense(tiny_lpd))
    batch = {
        "image": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8),
        "labels": torch.ones(2, 3),
        "mask": torch.randint(0, 5, (2, 64, 64), dtype=torch.uint8) % 4,
    }
    batch["mask"][0, :9] = 255
    loss = task(batch, 0.0)["loss"]
    probability = task.model.label(batch).softmax(1)
    counted = batch["mask"] < 3
    own = probability.gather(1, batch["mask"].clamp(max=2).long().unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(loss, -own[counted].log().mean())


def test_a_patch_below_the_stride_is_compared_where_it_is(tiny_lpd: Callable[..., LPD]) -> None:
    task = SupervisedTask(dense(tiny_lpd))
    image = torch.randint(0, 256, (1, 3, 20, 24), dtype=torch.uint8)
    mask = torch.randint(0, 3, (1, 20, 24), dtype=torch.uint8)
    loss = task({"image": image, "labels": torch.ones(1, 3), "mask": mask}, 0.0)["loss"]
    padded = torch.cat([image, image.flip(2)[:, :, :12]], 2)
    padded = torch.cat([padded, padded.flip(3)[..., :8]], 3)
    logits = task.model.label({"image": padded})[..., :20, :24]
    torch.testing.assert_close(loss, F.cross_entropy(logits, mask.long()))


def test_it_learns_from_the_masks(tiny_lpd: Callable[..., LPD]) -> None:
    torch.manual_seed(0)
    image = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    image[:, :, :, 32:] = 255
    mask = (image[:, 0] > 0).to(torch.uint8)
    task = SupervisedTask(dense(tiny_lpd, 2))
    optimiser = torch.optim.Adam(task.parameters(), 1e-2)
    for _ in range(60):
        loss = task({"image": image, "labels": torch.ones(2, 2), "mask": mask}, 0.0)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    wrong = (task.model.label({"image": image}).argmax(1) != mask).float().mean()
    assert wrong < 0.08  # the border lies between two pixels of the features


def test_data_without_masks_is_refused_by_name(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    data = load_data(small_data, TissueClasses(("pink", "blue")))
    with pytest.raises(DataError, match=r"\.png is in the training split but has no mask.*another --method"):
        api.train(data, tmp_path / "run", method="supervised", overrides=small_settings, device="cpu")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_other_training_masks_are_other_data(small_data: Path, tmp_path: Path) -> None:
    data = load_data(small_data, TissueClasses(("pink", "blue")))
    path = tmp_path / "mask.png"
    with_mask = replace(data, records=tuple(replace(record, mask=path) for record in data.records))
    found = set()
    for value in (0, 1):
        Image.fromarray(np.full((32, 32), value, np.uint8)).save(path)
        found.add(with_mask.fingerprint(training_masks=True))
    assert len(found) == 2
    assert data.fingerprint(training_masks=True) == data.fingerprint()
