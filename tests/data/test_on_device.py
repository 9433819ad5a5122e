"""Batches made on a device against those that NumPy makes; the device is the CPU here, which has the same code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from lpdseg.data.composites import Composites, TrainingBatches
from lpdseg.data.dataset import Draw, GlobalBatches, TrainingPatches
from lpdseg.data.on_device import DrawnBatches, Maker
from lpdseg.data.records import PatchRecord
from lpdseg.tissue import TissueClasses

CPU = torch.device("cpu")
LABELS = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1), (0, 1, 1), (1, 0, 0)]
CLASSES = TissueClasses(("a", "b", "c"), background=None)


def patches(
    folder: Path, size: tuple[int, int] = (48, 48), *, jitter: float = 0.2, masks: bool = False, **options: bool
) -> TrainingPatches:
    """Smooth patches of many colours, white and black among them."""
    records = []
    for index, labels in enumerate(LABELS):
        rng = np.random.default_rng(index)
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        path, mask = folder / f"{index}.png", folder / f"mask{index}.png"
        small.resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path)
        Image.fromarray(rng.integers(0, 3, size, dtype=np.uint8)).save(mask)
        records.append(PatchRecord(path, labels, "train", "p", mask))
    return TrainingPatches(records, seed=3, jitter=jitter, masks_of=CLASSES if masks else None, **options)


def room(made: TrainingPatches, held: int) -> int:
    return held * made.layers(0).nbytes


def order(start: int = 0) -> Iterator[list[Draw]]:
    return iter(GlobalBatches(len(LABELS), 4, seed=3, start=start, stop=8))


OPTIONS: dict[str, dict[str, Any]] = {
    "square": {},
    "oblong": {"size": (40, 56)},
    "stains as they are": {"jitter": 0.0},
    "not turned": {"flips": False},
    "with masks": {"masks": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_batches_are_those_of_numpy_but_for_rounding(options: dict[str, Any], tmp_path: Path) -> None:
    made = patches(tmp_path, **options)
    batches = TrainingBatches(made, Composites(made, 3), every=1)
    drawn, maker = DrawnBatches(batches, len(made)), Maker(made, CPU, room(made, 99))
    others = pixels = 0
    for draws in order():
        wanted, found = batches[draws], maker(drawn[draws])
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            assert found[name].dtype == values.dtype and found[name].shape == values.shape
            assert found[name].is_contiguous()
        assert all(found[name].equal(wanted[name]) for name in ("labels", "composite_source"))
        if "mask" in wanted:
            assert found["mask"].equal(wanted["mask"])
        assert (found["image"].int() - wanted["image"].int()).abs().max() <= 1
        other = found["composite_mask"] != wanted["composite_mask"]
        others, pixels = others + int(other.sum()), pixels + other.numel()
        near = torch.nn.functional.max_pool2d(other[:, None].float(), 3, stride=1, padding=1) > 0
        off = (found["composite"].int() - wanted["composite"].int()).abs() * ~near
        assert off.max() <= 1
        if made.jitter == 0:
            assert found["image"].equal(wanted["image"])
    assert others <= 1e-4 * pixels


@pytest.mark.parametrize("masks", [False, True])
def test_what_is_held_changes_no_bit(masks: bool, tmp_path: Path) -> None:
    made = patches(tmp_path, masks=masks)
    batches = TrainingBatches(made, Composites(made, 3), every=2)
    found = []
    for held in (0, 3, 8):
        maker, drawn = Maker(made, CPU, room(made, held)), DrawnBatches(batches, held)
        assert len(maker.held) == held
        found.append([maker(drawn[draws]) for draws in order()])
    sent = DrawnBatches(batches, 3)[next(order())]
    assert 0 < len(sent["sent"]) == len(sent["places"]) < len(sent["rows"])
    assert len(DrawnBatches(batches, 8)[next(order())]["sent"]) == 0
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert all(one[name].equal(two[name]) for name in one)


def test_processes_together_make_the_batches_of_one(tmp_path: Path) -> None:
    made = patches(tmp_path)
    batches = TrainingBatches(made, Composites(made, 3), every=2)
    makers = [(Maker(made, CPU, room(made, held)), DrawnBatches(batches, held)) for held in (8, 2, 5)]
    shares = [GlobalBatches(len(LABELS), 4, seed=3, start=0, stop=3, rank=rank, world=2) for rank in (0, 1)]
    for draws, *parts in zip(order(), *shares, strict=False):
        whole, *found = (maker(drawn[own]) for (maker, drawn), own in zip(makers, [draws, *parts], strict=True))
        assert all(values.equal(torch.cat([part[name] for part in found])) for name, values in whole.items())


def test_a_process_without_a_composite_and_batches_that_have_none(tmp_path: Path) -> None:
    made = patches(tmp_path)
    draws = [Draw(0, 1, 1), Draw(0, 5, 3)]
    maker = Maker(made, CPU, room(made, 8))
    for batches in (TrainingBatches(made, Composites(made, 3), every=2), TrainingBatches(made)):
        wanted, found = batches[draws], maker(DrawnBatches(batches, 8)[draws])
        assert found.keys() == wanted.keys()
        assert all(found[name].shape == wanted[name].shape for name in wanted)
        assert all(found[name].dtype == wanted[name].dtype for name in wanted)


def test_what_the_device_holds_takes_no_room_of_the_cache(tmp_path: Path) -> None:
    made = patches(tmp_path)
    made.layers(7)
    Maker(made, CPU, room(made, 3))
    assert made._cache is not None and set(made._cache) == {0, 7}  # 0 for its size
    Maker(made, CPU, room(made, 8))
    assert set(made._cache) == set(range(8))


class Stays(TorchDispatchMode):
    """Fails on what a CUDA device would have to be waited for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in {"_local_scalar_dense", "nonzero", "bincount", "masked_select", "unique_dim"}, name
        if name in {"index", "index_put_"}:
            assert all(one is None or one.dtype != torch.bool for one in args[1]), name
        return func(*args, **(kwargs or {}))


def test_making_a_batch_waits_for_nothing(tmp_path: Path) -> None:
    made = patches(tmp_path, masks=True)
    batches = TrainingBatches(made, Composites(made, 3), every=1)
    maker, drawn = Maker(made, CPU, room(made, 3)), DrawnBatches(batches, 3)[next(order())]
    with Stays():
        found = maker(drawn)
        with pytest.raises(AssertionError, match="_local_scalar_dense"):
            found["image"].sum().item()
