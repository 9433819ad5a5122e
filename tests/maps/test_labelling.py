import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.maps.labelling import class_probabilities, likeliest, pseudo_mask


def test_temperature_1_is_the_published_softmax() -> None:
    torch.manual_seed(0)
    scores, background = torch.rand(2, 3, 4, 4), torch.rand(2, 1, 4, 4)
    found = class_probabilities(scores, torch.ones(2, 3, dtype=torch.bool), background, 1.0)
    torch.testing.assert_close(found, torch.cat([scores, background], 1).softmax(1))


def test_a_perfect_pixel_of_four_classes_gets_0_4_as_published_and_nearly_1_when_calibrated() -> None:
    scores = torch.tensor([1.0, 0, 0, 0]).view(1, 4, 1, 1)
    gate, background = torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 1, 1, 1)
    published = class_probabilities(scores, gate, background, 1.0)[0, 0, 0, 0]
    assert published.item() == pytest.approx(math.e / (math.e + 4))
    assert class_probabilities(scores, gate, background, 0.1)[0, 0, 0, 0].item() > 0.999


@given(st.integers(0, 10**6), st.booleans(), st.floats(0.01, 2))
def test_probabilities_sum_to_1_and_a_closed_class_has_none(seed: int, with_background: bool, t: float) -> None:
    torch.manual_seed(seed)
    scores, gate = torch.rand(3, 4, 2, 3), torch.rand(3, 4) < 0.4
    background = torch.rand(3, 1, 2, 3) if with_background else None
    found = class_probabilities(scores, gate, background, t)
    assert found.shape[1] == 4 + with_background
    torch.testing.assert_close(found.sum(1), torch.ones(3, 2, 3))
    for i in range(3):
        if with_background or gate[i].any():
            assert not found[i, :4][~gate[i]].any()
        else:
            torch.testing.assert_close(found[i], (scores[i] / t).softmax(0))


def test_where_nothing_passes_background_takes_everything_or_all_classes_count_as_open() -> None:
    scores, closed = torch.tensor([0.7, 0.2]).view(1, 2, 1, 1), torch.zeros(1, 2, dtype=torch.bool)
    with_background = class_probabilities(scores, closed, torch.zeros(1, 1, 1, 1), 0.1)
    assert with_background.flatten().tolist() == [0, 0, 1]
    without = class_probabilities(scores, closed, None, 0.5)
    torch.testing.assert_close(without, (scores / 0.5).softmax(1))


def loop_mask(maps: torch.Tensor, labels: torch.Tensor, power: float | None) -> list[list[list[int]]]:
    batch, classes, height, width = maps.shape
    result = []
    for i in range(batch):
        rows = []
        for y in range(height):
            row = []
            for x in range(width):
                scores = {}
                for c in range(classes):
                    if labels[i, c] > 0:
                        one = maps[i, c].clamp(min=0)
                        spread = (one.max() - one.min()).item()
                        scores[c] = (one[y, x] - one.min()).item() / spread if spread > 0 else 0.0
                best = max(scores, key=lambda c: scores[c], default=classes)
                if scores and power is not None and (1 - scores[best]) ** power > scores[best]:
                    best = classes
                row.append(best)
            rows.append(row)
        result.append(rows)
    return result


@given(st.integers(0, 10**6), st.sampled_from([None, 1.0, 10.0]))
def test_the_pseudo_mask_equals_the_loop_and_has_only_classes_of_the_label(seed: int, power: float | None) -> None:
    torch.manual_seed(seed)
    maps, labels = torch.randn(3, 3, 3, 4), torch.randint(2, (3, 3)).float()
    assert pseudo_mask(maps, labels, power).tolist() == loop_mask(maps, labels, power)


def test_the_pseudo_mask_of_a_patch_without_classes_is_all_background() -> None:
    maps = torch.rand(1, 2, 2, 2, requires_grad=True)
    for power in (None, 10.0):
        assert pseudo_mask(maps, torch.zeros(1, 2), power).unique().tolist() == [2]


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.booleans())
def test_the_likeliest_is_the_first_of_equals(seed: int, channels: int, half: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(3, (2, channels, 5, 9), generator=generator).float()  # many equals
    scores[torch.rand(scores.shape, generator=generator) < 0.2] = -torch.inf
    scores = scores.bfloat16() if half else scores
    wanted = [
        [[max(range(channels), key=lambda c: float(one[c, y, x])) for x in range(9)] for y in range(5)]
        for one in scores
    ]
    assert likeliest(scores).tolist() == wanted


def test_the_temperature_is_that_of_background_too() -> None:
    scores, background = torch.tensor([0.6, 0.1]).view(1, 2, 1, 1), torch.full((1, 1, 1, 1), 0.4)
    found = class_probabilities(scores, torch.ones(1, 2, dtype=torch.bool), background, 0.1).flatten()
    torch.testing.assert_close(found, torch.tensor([6.0, 1.0, 4.0]).softmax(0))


def test_the_likeliest_of_many_channels_and_of_scores_that_are_no_numbers_is_a_channel() -> None:
    scores = torch.zeros(1, 300, 1, 2)
    scores[0, 280, 0, 1] = 1
    assert likeliest(scores).tolist() == [[[0, 280]]]
    assert 0 <= int(likeliest(torch.tensor([0.5, torch.nan, 0.1]).view(1, 3, 1, 1))) < 3
