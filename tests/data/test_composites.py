from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from lpdseg.data.composites import Composites, TrainingBatches, draw_fields, join_regions, regions
from lpdseg.data.dataset import Draw, GlobalBatches, TrainingPatches
from lpdseg.data.records import PatchRecord
from lpdseg.errors import DataError

SIZE = (24, 24)


def patches(
    folder: Path,
    labels: list[tuple[int, ...]],
    *,
    size: tuple[int, int] = SIZE,
    jitter: float = 0.0,
    flips: bool = True,
) -> TrainingPatches:
    """Each patch is 200 in the channels of its classes, and nearly black elsewhere, with a little noise."""
    made = []
    for index, held in enumerate(labels):
        noise = np.random.default_rng(index).integers(0, 20, (*size, 3), dtype=np.uint8)
        path = folder / f"{index}.png"
        Image.fromarray(noise + np.array(held, np.uint8) * 200).save(path)
        made.append(PatchRecord(path, held, "train", "p"))
    return TrainingPatches(made, seed=5, jitter=jitter, flips=flips)


def made(composites: Composites, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return composites.make(composites.draw(np.random.default_rng(seed)))


def random_regions(number: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return regions(draw_fields(number, rng), size)


LABELS = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1), (0, 1, 1), (1, 0, 1)]


@given(number=st.integers(2, 4), seed=st.integers(0, 99), size=st.tuples(st.integers(8, 40), st.integers(8, 40)))
def test_regions_cover_the_patch_and_are_wider_than_noise(number: int, seed: int, size: tuple[int, int]) -> None:
    owner = random_regions(number, size, np.random.default_rng(seed))
    assert owner.shape == size and owner.min() >= 0 and owner.max() < number
    borders = (owner[1:] != owner[:-1]).mean() + (owner[:, 1:] != owner[:, :-1]).mean()
    assert borders < 0.9 * 2 * (1 - 1 / number)  # of independent pixels
    np.testing.assert_array_equal(owner, random_regions(number, size, np.random.default_rng(seed)))


def test_every_source_is_as_likely_to_own_a_pixel() -> None:
    owners = np.stack([random_regions(3, (16, 16), np.random.default_rng(seed)) for seed in range(200)])
    shares = [(owners == index).mean() for index in range(3)]
    assert all(0.25 < share < 0.42 for share in shares)


def test_a_pixel_comes_from_its_owner_and_cuts_are_mixed() -> None:
    dark, light = np.full((6, 6, 3), 30, np.uint8), np.full((6, 6, 3), 240, np.uint8)
    owner = np.zeros((6, 6), np.int64)
    owner[:, 3:] = 1
    joined = join_regions([dark, light], owner)
    assert joined.dtype == np.uint8
    np.testing.assert_array_equal(joined[2, :, 0], [30, 30, 100, 170, 240, 240])
    np.testing.assert_array_equal(joined[0], joined[2])  # the edge of the patch is no border


def test_a_composite_shows_the_classes_of_its_mask(tmp_path: Path) -> None:
    composites = Composites(patches(tmp_path, LABELS), sources=3)
    seen = set()
    for seed in range(30):
        image, mask = made(composites, seed)
        assert image.shape == (*SIZE, 3) and mask.shape == SIZE and mask.dtype == np.uint8
        seen |= set(np.unique(mask))
        inner = np.ones(SIZE, bool)  # away from cuts, where patches are mixed
        for axis in (0, 1):
            for step in (-1, 1):
                inner &= np.roll(mask, step, axis) == mask
        inner &= np.roll(inner, 1, 0) & np.roll(inner, 1, 1) & np.roll(inner, -1, 0) & np.roll(inner, -1, 1)
        np.testing.assert_array_equal(image.argmax(2)[inner], mask[inner])
    assert seen == {0, 1, 2}


def test_two_sources_give_no_more_than_two_classes(tmp_path: Path) -> None:
    composites = Composites(patches(tmp_path, LABELS), sources=2)
    assert max(len(np.unique(made(composites, seed)[1])) for seed in range(30)) == 2


def test_oblong_patches_keep_their_shape(tmp_path: Path) -> None:
    composites = Composites(patches(tmp_path, LABELS, size=(16, 24)), sources=3)
    shapes = {made(composites, seed)[0].shape for seed in range(8)}
    assert shapes == {(16, 24, 3)}


def test_stains_vary_as_those_of_patches_do(tmp_path: Path) -> None:
    plain = Composites(patches(tmp_path, LABELS), sources=3)
    varied = Composites(patches(tmp_path, LABELS, jitter=0.3), sources=3)
    first, second = (made(composites, 4) for composites in (plain, varied))
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != second[0]).any()


def test_a_class_that_never_stands_alone_is_in_no_composite(tmp_path: Path) -> None:
    source = patches(tmp_path, [(1, 0, 0), (0, 1, 0), (1, 0, 1)])
    others = Composites(source, sources=3)
    assert {int(c) for seed in range(9) for c in np.unique(made(others, seed)[1])} == {0, 1}


def test_one_class_alone_has_nothing_to_be_put_together(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two classes"):
        Composites(patches(tmp_path, [(1, 0, 0), (1, 1, 1)]), sources=2)


def test_batches_without_composites_are_patches_stacked(tmp_path: Path) -> None:
    source = patches(tmp_path, LABELS)
    draws = [Draw(2, 1), Draw(2, 7), Draw(2, 0)]
    batch = TrainingBatches(source)[draws]
    assert batch.keys() == {"image", "labels"}
    for row, draw in enumerate(draws):
        assert batch["image"][row].equal(source[draw]["image"])
        assert batch["labels"][row].equal(source[draw]["labels"])


def test_composites_hang_on_their_draw_and_not_on_the_batch(tmp_path: Path) -> None:
    source = patches(tmp_path, LABELS)
    batches = TrainingBatches(source, Composites(source, 3), every=2)
    draws = [Draw(0, index, index) for index in range(6)]
    whole = batches[draws]
    assert whole["composite"].shape == (3, 3, *SIZE) and whole["composite"].dtype == torch.uint8
    assert whole["composite_mask"].shape == (3, *SIZE) and whole["composite_mask"].dtype == torch.uint8
    halves = [batches[draws[:3]], batches[draws[3:5]], batches[draws[5:]]]  # as processes see them
    assert [len(half["composite"]) for half in halves] == [2, 1, 0]
    for name in ("composite", "composite_mask"):
        assert whole[name].equal(torch.cat([half[name] for half in halves]))
    later = batches[[Draw(1, index, index) for index in range(6)]]
    assert not whole["composite"].equal(later["composite"])


def test_a_loader_with_processes_gives_the_same_batches(tmp_path: Path) -> None:
    source = patches(tmp_path, LABELS)
    batches = TrainingBatches(source, Composites(source, 3), every=1)
    found = [
        list(
            DataLoader(
                batches,
                sampler=GlobalBatches(len(source), 4, seed=0, start=0, stop=3),
                batch_size=None,
                num_workers=workers,
                multiprocessing_context="spawn" if workers else None,
            )
        )
        for workers in (0, 1)
    ]
    for one, other in zip(*found, strict=True):
        assert one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def test_sources_are_turned_only_where_patches_are(tmp_path: Path) -> None:
    labels = [(1, 0, 0), (0, 1, 0)]
    plain = patches(tmp_path, labels, flips=False)
    sources = np.stack([plain.plain(0), plain.plain(1)]).astype(int)
    still, turned = (
        [made(Composites(one, sources=2), seed) for seed in range(6)] for one in (plain, patches(tmp_path, labels))
    )
    away = []
    for drawn in (still, turned):
        distance = 0
        for image, mask in drawn:
            inner = sum(np.roll(mask, step, axis) != mask for axis in (0, 1) for step in (-1, 0, 1)) == 0
            inner &= np.roll(inner, 1, 0) & np.roll(inner, -1, 0) & np.roll(inner, 1, 1) & np.roll(inner, -1, 1)
            own = np.where(mask[..., None] == 0, sources[0], sources[1])
            distance = max(distance, np.abs(image - own)[inner].max(initial=0))
        away.append(distance)
    assert away[0] == 0 < away[1]


def test_areas_are_as_unequal_as_fields_tilted_by_half_the_spread_of_a_cell() -> None:
    """Against a plain loop over the same draws: where the higher of two fields is, upsampled by the definition."""
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        cells = int(rng.integers(3, 7))
        coarse = rng.standard_normal((2, cells, cells)) + 0.5 * rng.standard_normal((2, 1, 1))
        fields = torch.nn.functional.interpolate(
            torch.tensor(coarse[None], dtype=torch.float32), size=(20, 30), mode="bicubic", align_corners=False
        )[0].numpy()
        owner = random_regions(2, (20, 30), np.random.default_rng(seed))
        np.testing.assert_array_equal(owner, (fields[1] > fields[0]).astype(int))
        shares.append(owner.mean())
    assert 0.15 < np.std(shares) < 0.35  # without the tilt 0.12
