"""Fixed versions of patches and composites: how many, which, and that no seed of a training changes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpdseg.data.composites import Composites
from lpdseg.data.dataset import Draw, TrainingPatches
from lpdseg.data.records import PatchRecord
from lpdseg.data.variants import Variants
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("a", "b"))


def patches(
    folder: Path, *, size: tuple[int, int] = (8, 8), seed: int = 0, jitter: float = 0.0, **options: bool
) -> TrainingPatches:
    """Four patches of noise with one class each; their masks are their red channels below 2."""
    records = []
    for index in range(4):
        pixels = np.random.default_rng(index).integers(60, 200, (*size, 3), dtype=np.uint8)
        pixels[..., 0] = pixels[..., 0] % 2
        path, mask = folder / f"{index}.png", folder / f"mask{index}.png"
        Image.fromarray(pixels).save(path)
        Image.fromarray(pixels[..., 0]).save(mask)
        records.append(PatchRecord(path, (index % 2, 1 - index % 2), "train", "p", mask))
    masks = CLASSES if options.pop("masks", False) else None
    return TrainingPatches(records, seed, jitter=jitter, masks_of=masks, **options)


def variants(made: TrainingPatches, epochs: float = 99, every: int = 2) -> Variants:
    return Variants(made, Composites(made, 2), every, epochs)


def images(found: Variants, index: int = 0) -> list[bytes]:
    return [found.patch(index, version)["image"].numpy().tobytes() for version in range(found.versions)]


@pytest.mark.parametrize(
    ("size", "flips", "jitter", "versions", "different"),
    [
        ((8, 8), True, 0.0, 8, 8),
        ((8, 8), True, 0.2, 8, 8),
        ((8, 12), True, 0.0, 4, 4),
        ((8, 12), True, 0.2, 8, 8),
        ((8, 8), False, 0.0, 1, 1),
        ((8, 8), False, 0.2, 8, 8),
    ],
)
def test_every_orientation_once_or_eight_strengths_of_stain(
    size: tuple[int, int], flips: bool, jitter: float, versions: int, different: int, tmp_path: Path
) -> None:
    found = variants(patches(tmp_path, size=size, flips=flips, jitter=jitter))
    assert found.versions == versions and len(set(images(found))) == different
    assert found.patch(0, 0)["image"].shape == (3, *size)
    if jitter == 0:
        plain = found.patches.plain(0).transpose(2, 0, 1).tobytes()
        assert plain in images(found)


def test_versions_hang_on_no_seed_and_not_on_how_many_there_are(tmp_path: Path) -> None:
    first, other = (variants(patches(tmp_path, seed=seed, jitter=0.2)) for seed in (0, 1))
    short = variants(patches(tmp_path, jitter=0.2), epochs=2.5)
    assert images(first) == images(other) and images(first)[:3] == images(short)
    assert short.versions == 3
    for number in range(3):
        for one, two in zip(first.composite(number), other.composite(number), strict=True):
            assert torch.equal(one, two)


def test_patches_differ_in_the_order_of_their_orientations(tmp_path: Path) -> None:
    found = variants(patches(tmp_path))
    order = [
        [images(found, index).index(found.patches.plain(index).transpose(2, 0, 1).tobytes())] for index in range(4)
    ]
    assert len({tuple(places) for places in order}) > 1


def test_a_patch_is_seen_in_each_version_before_one_comes_again(tmp_path: Path) -> None:
    for seed in (0, 1):
        found = variants(patches(tmp_path, seed=seed), epochs=3)
        seen = [[found.version(Draw(epoch, index)) for epoch in range(6)] for index in range(4)]
        for one in seen:
            assert sorted(one[:3]) == sorted(one[3:]) == [0, 1, 2]
    assert len({tuple(one) for one in seen}) > 1


def test_composites_are_as_many_as_a_run_can_use(tmp_path: Path) -> None:
    made = patches(tmp_path)
    assert variants(made, epochs=3).number == 6
    assert variants(made, epochs=1e6).number == 512
    assert Variants(made, None, 2, 3).number == 0
    found = variants(made, epochs=50)
    chosen = {found.choice(Draw(epoch, index)) for epoch in range(50) for index in range(4)}
    assert chosen <= set(range(100)) and len(chosen) > 60
    assert found.choice(Draw(3, 1)) == variants(made, epochs=50).choice(Draw(3, 1))


def test_a_mask_turns_with_its_patch_and_pixels_are_made_only_where_they_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = variants(patches(tmp_path, masks=True))
    for version in range(8):
        sample = found.patch(1, version)
        assert torch.equal(sample["mask"], sample["image"][0])
        bare = found.patch(1, version, pixels=False)
        assert bare["image"].shape == (0, 8, 8) and torch.equal(bare["mask"], sample["mask"])
    plain = variants(patches(tmp_path))
    assert plain.patches.shape == (8, 8)
    monkeypatch.setattr(TrainingPatches, "layers", lambda *_: pytest.fail("a patch was read"))
    bare = plain.patch(1, 0, pixels=False)
    assert bare["image"].shape == (0, 8, 8) and bare["labels"].tolist() == [1, 0]
