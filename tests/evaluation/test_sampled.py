from collections.abc import Callable

import numpy as np
import pytest
import torch
from drawn_split import Size, classes_of, draw_split, segmenter_of

from lpdseg.evaluation import sampled
from lpdseg.evaluation.sampled import _step, sample_split
from lpdseg.model.lpd import LPD


@pytest.mark.parametrize(
    ("batches", "parts"),
    [
        ([(2, (37, 21))], [(2, 9 * 5)]),
        ([(1, (16, 16)), (2, (16, 16)), (1, (1, 3))], [(3, 16), (1, 1)]),  # neighbours of one size are joined
        ([(1, (16, 16)), (1, (8, 8)), (1, (16, 16))], [(1, 16), (1, 4), (1, 16)]),  # but the order stays
    ],
)
def test_every_fourth_pixel_is_taken_and_patches_keep_their_order(
    batches: list[tuple[int, Size]], parts: list[tuple[int, int]], tiny_lpd: Callable[..., LPD]
) -> None:
    segmenter = segmenter_of(tiny_lpd(), classes_of(2, True), background="glass")
    split = draw_split(segmenter, batches)
    found = sample_split(segmenter, split)
    assert [tuple(part.truth.shape) for part in found] == parts
    expected = [
        mask[min(2, len(mask) - 1) :: 4, min(2, mask.shape[1] - 1) :: 4]
        for batch in split.batches
        for mask in batch.masks
    ]
    for mask, truth in zip(expected, [row for part in found for row in part.truth], strict=True):
        assert torch.equal(torch.from_numpy(mask.copy()).flatten(), truth)


def test_background_is_kept_by_class_only_where_it_depends_on_the_gate(tiny_lpd: Callable[..., LPD]) -> None:
    kept = {}
    for rule in ("power", "glass", "none"):
        segmenter = segmenter_of(tiny_lpd(), classes_of(2, True), background=rule)
        (part,) = sample_split(segmenter, draw_split(segmenter, [(2, (16, 16))]))
        kept[rule] = None if part.background is None else tuple(part.background.shape)
        assert part.logits.shape == (2, 2, 16) and (len(part), part.channels) == (2, 3)
    assert kept == {"power": (2, 2, 16), "glass": (2, 1, 16), "none": None}


def test_parts_are_as_large_as_is_worked_on_at_once(
    tiny_lpd: Callable[..., LPD], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampled, "_AT_ONCE", 48)
    segmenter = segmenter_of(tiny_lpd(), classes_of(2, False), background="none")
    found = sample_split(segmenter, draw_split(segmenter, [(1, (16, 16))] * 7 + [(5, (16, 16))]))
    assert [len(part) for part in found] == [3, 3, 1, 5]  # 16 pixels each; a batch is not cut


def test_a_large_split_is_sampled_more_coarsely() -> None:
    assert _step([(224, 224)] * 3418, 5) == 4  # BCSS-WSSS
    assert _step([(224, 224)] * 2, 5) == 4
    for sizes, values in (
        ([(224, 224)] * 10_000, 5),
        ([(224, 224), (500, 333)] * 5000, 9),
        ([(40_000, 50_000)], 3),
    ):
        step = _step(sizes, values)
        assert step > 4
        kept = [values * sum(-(-h // s) * -(-w // s) for h, w in sizes) for s in (step, step - 1)]
        assert kept[0] <= 2**26 < kept[1]
    assert _step([(3, 5)] * 100, 1 << 26) == 5  # one pixel of each is the least


@pytest.mark.parametrize("background", ["power", "glass"])
def test_the_step_is_that_of_the_whole_split(
    background: str, tiny_lpd: Callable[..., LPD], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenter_of(tiny_lpd(), classes_of(2, True), background=background)
    split = draw_split(segmenter, [(2, (40, 40)), (1, (20, 20))])
    fine = sample_split(segmenter, split)
    assert [part.truth.shape[1] for part in fine] == [100, 25]
    monkeypatch.setattr(sampled, "_MOST_VALUES", 3 * (2 * 64 + 16))
    coarse = sample_split(segmenter, split)
    assert [part.truth.shape[1] for part in coarse] == [64, 16]
    whole = segmenter.class_logits(segmenter.fuse(split.evidence[0]), segmenter.glass(split.batches[0].images))
    torch.testing.assert_close(coarse[0].logits, whole[..., 2::5, 2::5].flatten(2))
    assert np.array_equal(coarse[0].truth[1], split.batches[0].masks[1, 2::5, 2::5].ravel())
