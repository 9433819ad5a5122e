"""Batches are what they were, to the bit: the same sources, orientations, stains, borders and pixels."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.data.composites import Composites, TrainingBatches
from lpdseg.data.dataset import GlobalBatches, TrainingPatches
from lpdseg.data.records import PatchRecord

LABELS = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1), (0, 1, 1), (1, 0, 0)]

BATCHES = {
    (32, 32): ["ff3e80559664a179", "2c6fd46b8b3203e0", "7905f67f0bb5f9ad"],
    (24, 40): ["390c621c19433d86", "bba6a0fc05efd6fe", "b9a6713b8195586e"],
}
"""By (H, W): the first 16 hex digits of the SHA-256 of each of three batches, recorded at version 0.1."""


def digest(batch: dict) -> str:
    found = hashlib.sha256()
    for name in sorted(batch):
        found.update(f"{name} {tuple(batch[name].shape)} {batch[name].dtype}".encode())
        found.update(batch[name].contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("size", BATCHES)
def test_three_batches_are_what_they_were(size: tuple[int, int], tmp_path: Path) -> None:
    records = []
    for index, labels in enumerate(LABELS):
        pixels = np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)
        path = tmp_path / f"{index}.png"
        Image.fromarray(pixels).save(path)
        records.append(PatchRecord(path, labels, "train", "p"))
    patches = TrainingPatches(records, seed=3, jitter=0.1)
    batches = TrainingBatches(patches, Composites(patches, 3), every=2)
    order = GlobalBatches(len(records), 4, seed=3, start=1, stop=4)
    assert [digest(batches[draws]) for draws in order] == BATCHES[size]
