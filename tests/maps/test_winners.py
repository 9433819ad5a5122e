import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lpdseg.maps.winners import NO_PROTOTYPE, numbered, winner_of_class, winners


def test_prototypes_are_numbered_from_1_within_their_class() -> None:
    assert numbered((0, 0, 1, 0, 2, 2)) == (1, 2, 1, 3, 1, 2)
    assert numbered(()) == ()


@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20))
def test_the_winner_is_the_likeliest_of_the_prototypes_of_the_pixels_class(
    seed: int, height: int, width: int
) -> None:
    torch.manual_seed(seed)
    winning, padded = (0, 1, 0, -1, 1), (20, 24)
    values, mask = torch.rand(2, 5, 5, 6), torch.randint(0, 4, (2, height, width))  # 2 has none, 3 is background
    large = F.interpolate(values, size=padded, mode="bilinear", align_corners=False)
    found = winners(values, winning, mask, padded)
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(height), torch.arange(width)).tolist():
        own = [index for index, c in enumerate(winning) if c == mask[b, y, x]]
        best = max(own, key=lambda index: float(large[b, index, y, x]), default=NO_PROTOTYPE)
        assert found[b, y, x] == best


def test_of_equals_the_first_wins_but_none_that_may_win_nothing() -> None:
    values = torch.zeros(1, 3, 1, 1)
    assert winner_of_class(values, (-1, 0, 0), 0, (2, 2), (2, 2)).unique().tolist() == [1]
    assert winner_of_class(values, (-1, 0, 0), 1, (2, 2), (2, 2)).unique().tolist() == [NO_PROTOTYPE]
