from pathlib import Path

import numpy as np
import pytest

from lpdseg.data.records import PatchRecord
from lpdseg.errors import DataError
from lpdseg.evaluation.worst import PatchFigures, worst_first
from lpdseg.insight.ranks import rank, spread


def made(number: int, confusion: list[list[int]], uncertainty: float = 0.0) -> PatchFigures:
    record = PatchRecord(Path(f"{number:03}.png"), None, "test", "p")
    return PatchFigures(record, np.array(confusion), 0.0, uncertainty)


def of_one_tissue(wrong: list[int]) -> list[PatchFigures]:
    return [made(number, [[100 - value, value], [0, 0]]) for number, value in enumerate(wrong)]


def test_spread_takes_best_median_and_worst() -> None:
    chosen = spread(of_one_tissue(list(range(101))), 6)
    assert [reason for reason, _ in chosen] == [
        "best", "rank 26 of 101", "median", "rank 68 of 101", "rank 84 of 101", "worst",
    ]  # fmt: skip
    assert [chosen[i][1].error for i in (0, 2, 5)] == [0, 0.5, 1]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 11])
@pytest.mark.parametrize("count", range(1, 12))
def test_spread_never_repeats_a_patch(count: int, number: int) -> None:
    chosen = spread(of_one_tissue(list(range(number))), count)
    assert len(chosen) == min(count, number)
    assert len({id(figures) for _, figures in chosen}) == len(chosen)
    assert chosen[0][0] == "best"


def test_the_order_is_that_of_the_worst_turned_round() -> None:
    figures = of_one_tissue([30, 0, 70, 30])
    figures += [made(7, [[70, 30], [0, 0]], 0.5), made(8, [[0, 0], [0, 0]])]
    found = rank(figures, 3, "test")
    assert list(found.patches) == worst_first(figures, "error")[::-1]
    assert (found.known, found.mixed) == (5, False)


def test_patches_of_two_classes_are_preferred_where_there_are_enough() -> None:
    mixed = [made(10, [[90, 0], [2, 8]]), made(11, [[50, 45], [0, 5]])]
    figures = [*of_one_tissue([0, 99]), *mixed, made(12, [[90, 0], [2, 2]])]
    found = rank(figures, 2, "test")
    assert (list(found.patches), found.known, found.mixed) == (mixed, 5, True)
    assert not rank(figures, 3, "test").mixed
    assert not rank(mixed, 2, "test").mixed


def test_nothing_that_counts_is_told() -> None:
    with pytest.raises(DataError, match="no mask of the split 'valid' has a pixel that counts"):
        rank([made(0, [[0, 0], [0, 0]])], 1, "valid")
