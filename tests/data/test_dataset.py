import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from lpdseg.data import dataset
from lpdseg.data.dataset import Draw, GlobalBatches, TrainingPatches, steps_per_epoch
from lpdseg.data.records import PatchRecord
from lpdseg.errors import DataError
from lpdseg.tissue import TissueClasses


def records(folder: Path, count: int = 6, size: tuple[int, int] = (12, 12)) -> list[PatchRecord]:
    made = []
    for index in range(count):
        rng = np.random.default_rng(index)
        path = folder / f"{index}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
        made.append(PatchRecord(path, (index % 2, 1), "train", "p", mask=folder / f"mask{index}.png"))
    return made


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(first[key].equal(second[key]) for key in first)


def test_what_a_patch_is(tmp_path: Path) -> None:
    found = TrainingPatches(records(tmp_path), seed=0, flips=False)[Draw(0, 3)]
    image = np.asarray(Image.open(tmp_path / "3.png"))
    assert found["image"].dtype == torch.uint8
    np.testing.assert_array_equal(found["image"].numpy(), image.transpose(2, 0, 1))
    assert found["labels"].dtype == torch.float32
    assert found["labels"].tolist() == [1, 1]


@pytest.mark.parametrize("cache", [True, False])
def test_a_mask_is_turned_and_resized_with_its_image(cache: bool, tmp_path: Path) -> None:
    classes = TissueClasses(("dark", "light"), indices=(3, 5), background=None)
    made = records(tmp_path)
    for record in made:
        grey = np.array(Image.open(record.path))[..., :1]
        Image.fromarray(np.repeat(grey, 3, 2)).save(record.path)
        assert record.mask is not None
        Image.fromarray(np.where(grey[..., 0] < 128, 3, 5).astype(np.uint8)).save(record.mask)
    patches = TrainingPatches(made, seed=0, masks_of=classes, cache=cache)
    plain = TrainingPatches(made, seed=0)
    for draw in [Draw(epoch, index) for epoch in range(4) for index in range(6)]:
        found = patches[draw]
        assert found["mask"].dtype == torch.uint8 and found["mask"].is_contiguous()
        assert found["mask"].equal((found["image"][0] >= 128).to(torch.uint8))
        assert found["image"].equal(plain[draw]["image"])  # masks change no image
    assert patches[Draw(0, 0)].keys() == {"image", "labels", "mask"} and "mask" not in plain[Draw(0, 0)]
    small = TrainingPatches(made, seed=0, flips=False, size=(4, 4), masks_of=classes)[Draw(0, 0)]["mask"]
    whole = TrainingPatches(made, seed=0, flips=False, masks_of=classes)[Draw(0, 0)]["mask"]
    assert small.equal(whole[1::3, 1::3])


def test_a_mask_of_another_size_than_its_image_is_an_error(tmp_path: Path) -> None:
    made = records(tmp_path)[:1]
    assert made[0].mask is not None
    Image.fromarray(np.zeros((12, 13), np.uint8)).save(made[0].mask)
    with pytest.raises(DataError, match=r"mask0\.png is 13 x 12 pixels, but its image is 12 x 12"):
        TrainingPatches(made, seed=0, size=(4, 4), masks_of=TissueClasses(("a", "b")))[Draw(0, 0)]


@pytest.mark.parametrize("cache", [True, False])
def test_a_patch_depends_on_seed_epoch_and_index_alone(cache: bool, tmp_path: Path) -> None:
    made = records(tmp_path)
    patches = TrainingPatches(made, seed=1, jitter=0.2, cache=cache)
    draws = [Draw(epoch, index) for epoch in range(3) for index in range(6)]
    found = {draw: patches[draw] for draw in draws}
    np.random.seed(3)  # noqa: NPY002 (hidden state must not matter)
    torch.manual_seed(3)
    fresh = TrainingPatches(made, seed=1, jitter=0.2, cache=not cache)
    for draw in reversed(draws):
        assert same(fresh[draw], found[draw])
    images = {found[Draw(epoch, 2)]["image"].numpy().tobytes() for epoch in range(3)}
    assert len(images) == 3
    other = TrainingPatches(made, seed=2, jitter=0.2)[Draw(0, 2)]["image"]
    assert not other.equal(found[Draw(0, 2)]["image"])


def test_the_cache_is_not_changed_by_what_is_done_to_a_patch(tmp_path: Path) -> None:
    patches = TrainingPatches(records(tmp_path), seed=0, flips=False)
    first = patches[Draw(0, 0)]["image"].clone()
    patches[Draw(0, 0)]["image"].zero_()
    assert patches[Draw(0, 0)]["image"].equal(first)


def test_a_cached_patch_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = records(tmp_path)
    opened = []
    plain = Image.open
    monkeypatch.setattr(
        Image, "open", lambda path, *rest, **more: opened.append(path) or plain(path, *rest, **more)
    )
    for cache, reads in ((True, 1), (False, 3)):
        opened.clear()
        patches = TrainingPatches(made, seed=0, cache=cache)
        for epoch in range(3):
            patches[Draw(epoch, 0)]
        assert len(opened) == reads


def test_all_processes_share_the_room_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    free = 8 * 2**30
    monkeypatch.setattr(os, "sysconf", {"SC_AVPHYS_PAGES": free // 4096, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert dataset.cache_room(1) == free // 4
    assert dataset.cache_room(2) == free // 8
    monkeypatch.setattr(dataset, "get_worker_info", lambda: SimpleNamespace(num_workers=4))
    assert dataset.cache_room(2) == free // 32
    free = 2**40
    monkeypatch.setattr(os, "sysconf", {"SC_AVPHYS_PAGES": free // 4096, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert dataset.cache_room(1) == 4 * 2**30 // 4

    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    assert dataset.cache_room(2) == 2**29


def test_what_has_no_room_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "cache_room", lambda processes: 12 * 12 * 3 + 1)
    patches = TrainingPatches(records(tmp_path), seed=0)
    for index in (0, 1, 0):
        patches[Draw(0, index)]
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").unlink()
    patches[Draw(1, 0)]
    with pytest.raises(DataError, match=r"1\.png does not exist"):
        patches[Draw(1, 1)]


def test_order_and_variation_are_drawn_from_different_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[tuple[int, ...]] = []
    plain = np.random.default_rng
    made = records(tmp_path)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: seeds.append(seed) or plain(seed))
    for seed in range(3):
        patches = TrainingPatches(made, seed=seed)
        for draws in GlobalBatches(6, 6, seed, 0, 3):
            for draw in draws:
                patches[draw]
    states = {tuple(np.random.SeedSequence(seed).generate_state(4)) for seed in seeds}
    assert len(states) == len(seeds) == 3 * 3 * 7


def test_masks_are_never_opened_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = records(tmp_path)
    opened: list[str] = []
    plain = Image.open

    def spy(path: Any, *rest: Any, **more: Any) -> Image.Image:
        opened.append(Path(getattr(path, "name", path)).name)
        return plain(path, *rest, **more)

    monkeypatch.setattr(Image, "open", spy)
    monkeypatch.setattr("lpdseg.data.patches.read_mask", lambda *_: pytest.fail("a mask was read"))
    sampler = GlobalBatches(6, 2, seed=0, start=0, stop=6)
    loader = DataLoader(TrainingPatches(made, seed=0), batch_sampler=sampler)
    assert sum(len(batch["labels"]) for batch in loader) == 12
    assert opened
    assert not [name for name in opened if name.startswith("mask")]


def test_a_loader_with_processes_gives_the_same_patches(tmp_path: Path) -> None:
    made = records(tmp_path)
    batches = []
    for workers in (0, 1):
        loader = DataLoader(
            TrainingPatches(made, seed=0, jitter=0.1),
            batch_sampler=GlobalBatches(6, 3, seed=0, start=1, stop=4),
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
        )
        batches.append(list(loader))
    assert len(batches[0]) == 3
    assert all(same(mine, theirs) for mine, theirs in zip(*batches, strict=True))


def test_patches_of_another_size_are_resized(tmp_path: Path) -> None:
    patches = TrainingPatches(records(tmp_path, size=(10, 16)), seed=0, size=(8, 8))
    assert patches[Draw(0, 1)]["image"].shape == (3, 8, 8)


def test_a_patch_without_labels_or_file_is_an_error(tmp_path: Path) -> None:
    (record,) = records(tmp_path, 1)
    with pytest.raises(DataError, match=r"0\.png is in the training split but has no labels"):
        TrainingPatches([PatchRecord(record.path, None, "train", "p")], seed=0)
    record.path.unlink()
    with pytest.raises(DataError, match=r"0\.png does not exist"):
        TrainingPatches([record], seed=0)[Draw(0, 0)]


SPLIT = st.tuples(st.integers(1, 40), st.integers(1, 4), st.integers(1, 3))


@given(SPLIT, st.integers(0, 10**6), st.integers(0, 20))
def test_processes_together_see_the_batches_of_one(sizes: tuple[int, int, int], seed: int, start: int) -> None:
    count, local, world = sizes
    batch = local * world
    alone = list(GlobalBatches(count, batch, seed, start, start + 7))
    shares = [list(GlobalBatches(count, batch, seed, start, start + 7, rank, world)) for rank in range(world)]
    for step, whole in enumerate(alone):
        assert [draw for share in shares for draw in share[step]] == whole
        assert all(len(share[step]) == local for share in shares)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 10**6), st.integers(0, 30))
def test_a_later_start_gives_the_same_tail(count: int, batch: int, seed: int, start: int) -> None:
    whole = list(GlobalBatches(count, batch, seed, 0, 30))
    sampler = GlobalBatches(count, batch, seed, start, 30)
    assert list(sampler) == whole[start:]
    assert len(sampler) == 30 - start


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_an_epoch_has_every_patch_once_but_for_an_incomplete_batch(count: int, batch: int, seed: int) -> None:
    steps = steps_per_epoch(count, batch)
    draws = [draw for step in GlobalBatches(count, batch, seed, 0, 3 * steps) for draw in step]
    for epoch in range(3):
        seen = [draw.index for draw in draws if draw.epoch == epoch]
        assert len(seen) == steps * batch
        if count >= batch:
            assert len(set(seen)) == len(seen)
            assert count - len(seen) < batch
        else:
            assert set(seen) == set(range(count))


def test_epochs_and_seeds_differ_in_their_order() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [draw.index for (draw,) in GlobalBatches(30, 1, seed, 30 * epoch, 30 * epoch + 30)]

    assert order(0, 0) != order(0, 1) != order(1, 1) != order(1, 0) != order(0, 0)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_places_count_through_the_global_batch(world: int) -> None:
    parts = [list(GlobalBatches(12, 6, seed=0, start=0, stop=3, rank=rank, world=world)) for rank in range(world)]
    for step in range(3):
        draws = [draw for part in parts for draw in part[step]]
        assert [draw.place for draw in draws] == list(range(6))
