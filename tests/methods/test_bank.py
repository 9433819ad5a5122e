from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lpdseg.data.dataset import TrainingPatches
from lpdseg.data.records import PatchRecord
from lpdseg.errors import SettingsError
from lpdseg.methods.bank import SIZE, choose_patches, cluster_bank


def test_a_class_is_shown_by_patches_of_its_own() -> None:
    labels = np.array([[1, 0], [1, 1], [0, 1], [1, 0], [1, 0]] * 60)
    first, second = choose_patches(labels, (3, 2), seed=0)
    assert len(first) == SIZE and len(set(first)) == SIZE  # of 180
    assert sorted(second) == list(range(2, 300, 5))  # all 60
    assert all(labels[index].tolist() == [1, 0] for index in first)
    assert choose_patches(labels, (3, 2), seed=0) == [first, second] != choose_patches(labels, (3, 2), seed=1)


def test_a_class_that_is_hardly_alone_is_shown_by_the_purest_patches() -> None:
    labels = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 1, 1]] + [[1, 1, 1]] * 120)
    bank = choose_patches(labels, (2, 1, 2), seed=0)
    assert bank[0][0] == 2 and set(bank[0][1:3]) == {1, 3} and len(bank[0]) == SIZE
    assert set(bank[2][:2]) == {3, 4}
    with pytest.raises(SettingsError, match=r"the 4 training patches of class 1 .* into 5 prototypes"):
        choose_patches(labels[1:7], (1, 5, 1), seed=0)


def test_prototypes_are_the_means_of_clusters(tmp_path: Path) -> None:
    colours = [(250, 10, 10), (10, 250, 10), (240, 20, 0), (0, 240, 20), (10, 10, 250), (30, 30, 230)]
    records = []
    for index, colour in enumerate(colours):
        path = tmp_path / f"{index}.png"
        Image.fromarray(np.full((32, 32, 3), colour, np.uint8)).save(path)
        records.append(PatchRecord(path, (int(index < 4), int(index >= 4)), "train", "p"))
    patches = TrainingPatches(records, seed=0, jitter=1.0)

    def encode(images: Tensor) -> Tensor:
        return images.mean((2, 3))

    found = cluster_bank(patches, [[0, 1, 2, 3], [4, 5]], (2, 1), encode, torch.device("cpu"))
    means = torch.tensor([[245.0, 15, 5], [5, 245, 15], [20, 20, 240]])
    expected = means / means.square().mean().sqrt()
    torch.testing.assert_close(found[found[:2, 0].argsort(descending=True)], expected[:2])
    torch.testing.assert_close(found[2], expected[2])
