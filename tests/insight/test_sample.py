from pathlib import Path

import numpy as np
import pytest

from lpdseg.data.records import PatchRecord
from lpdseg.insight.evidence import effective_number, winning_shares
from lpdseg.insight.sample import Patch, Sample, spread


def make(accuracies: list[float]) -> Sample:
    pixels = np.zeros((2, 2), np.uint8)
    record = PatchRecord(Path("x.png"), None, "test", "p")
    patches = tuple(Patch(record, np.zeros((2, 2, 3), np.uint8), pixels, pixels, value) for value in accuracies)
    return Sample(patches, len(patches), patches, mixed=False)


def test_spread_takes_best_median_and_worst() -> None:
    chosen = spread(make([1 - rank / 100 for rank in range(101)]), 6)
    assert [choice.reason for choice in chosen] == [
        "best", "rank 26 of 101", "median", "rank 68 of 101", "rank 84 of 101", "worst",
    ]  # fmt: skip
    assert [chosen[i].patch.accuracy for i in (0, 2, 5)] == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 11])
@pytest.mark.parametrize("count", range(1, 12))
def test_spread_never_repeats_a_patch(count: int, number: int) -> None:
    chosen = spread(make([1 - rank / 20 for rank in range(number)]), count)
    assert len(chosen) == min(count, number)
    assert len({id(choice.patch) for choice in chosen}) == len(chosen)
    assert chosen[0].reason == "best"


def test_winning_shares_count_pixels() -> None:
    assert winning_shares(np.array([0, 0, 2, 2]), 4).tolist() == [0.5, 0, 0.5, 0]
    assert winning_shares(np.zeros(0, np.int64), 2).tolist() == [0, 0]


def test_effective_number_of_prototypes() -> None:
    assert effective_number([0.25] * 4) == pytest.approx(4)
    assert effective_number([1.0, 0.0, 0.0]) == pytest.approx(1)
    assert effective_number([]) == 0
