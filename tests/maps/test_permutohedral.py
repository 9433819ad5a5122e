import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lpdseg.maps.permutohedral import Lattice, _keys, _simplices

SEEDS = st.integers(0, 2**31)


def cloud(seed: int, d: int = 5, n: int = 300, spread: float = 1.5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(d, n, generator=generator), torch.rand(n, 3, generator=generator)


def lattice(features: Tensor) -> Lattice:
    return Lattice.of(features, torch.zeros(features.shape[1], dtype=torch.int64))


def exact(features: Tensor, values: Tensor) -> Tensor:
    squares = (features[:, :, None] - features[:, None]).square().sum(0)
    return torch.exp(-squares / 2) @ values


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_close_to_the_gaussian(d: int) -> None:
    features, _ = cloud(0, d, n=2000, spread=1.0)  # where points are rare, corners for the blur are missing
    values = torch.stack([features[0].sin(), features.sum(0).cos(), features.square().sum(0)], 1)
    ours = lattice(features)
    ones = torch.ones(2000, 1)
    mean = ours.filter(values) / ours.filter(ones)
    expected = exact(features, values) / exact(features, ones)
    error, change = (mean - expected).square().mean(0), (values - expected).square().mean(0)
    assert (error < 0.05 * change).all()


def test_variance_is_one() -> None:
    # What one point sends to others at distance x, averaged over its places on the lattice.
    x = torch.arange(-50, 51) / 10
    received = torch.zeros(101)
    for shift in 10 * torch.rand(200, generator=torch.Generator().manual_seed(0)):
        received += lattice((x + shift)[None]).filter((x == 0).float()[:, None])[:, 0]
    assert (received * x.square()).sum() / received.sum() == pytest.approx(1, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 6), st.sampled_from([0.01, 1.0, 30.0]))
def test_weights_are_barycentric(seed: int, d: int, spread: float) -> None:
    ours = lattice(cloud(seed, d, spread=spread)[0])
    assert ours.weights.min() > -1e-3
    torch.testing.assert_close(ours.weights.sum(1), torch.ones(300))
    assert (ours.corners.sort(1).values.diff(dim=1) > 0).all()  # d + 1 different corners


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_order_of_points_does_not_matter(seed: int) -> None:
    features, values = cloud(seed)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(seed))
    moved = lattice(features[:, order]).filter(values[order])
    torch.testing.assert_close(moved, lattice(features).filter(values)[order], rtol=1e-4, atol=1e-5)


def test_splat_is_the_transpose_of_slice() -> None:
    features, _ = cloud(1, n=40)
    ours = lattice(features)
    corners = len(ours.starts) - 1
    slicing, splatting = torch.zeros(40, corners), torch.zeros(40, corners)
    slicing.scatter_(1, ours.corners.long(), ours.weights)
    owner = torch.bucketize(torch.arange(240), ours.starts, right=True) - 1
    splatting[ours.points.long(), owner] = ours.point_weights
    torch.testing.assert_close(slicing, splatting)


def test_neighbours_are_mutual() -> None:
    ours = lattice(cloud(2)[0])
    none = len(ours.starts) - 1
    linked = 0
    for pairs in ours.neighbours:
        up, down = pairs.long().T
        has = (up != none).nonzero().squeeze(1)
        assert torch.equal(down[up[has]], has)
        assert (up != none).sum() == (down != none).sum()
        linked += len(has)
    assert linked > none / 10


def test_groups_never_mix() -> None:
    features, values = cloud(3)
    both = Lattice.of(features.repeat(1, 2), torch.arange(2).repeat_interleave(300))
    result = both.filter(torch.cat([values, torch.zeros_like(values)]))
    torch.testing.assert_close(result[:300], lattice(features).filter(values))
    assert result[300:].abs().max() == 0


def test_far_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="larger standard deviations"):
        lattice(cloud(4, spread=1e5)[0])


@given(SEEDS, st.integers(1, 4))
def test_no_two_corners_share_a_key(seed: int, d: int) -> None:
    """However unlike the ranges of the coordinates are; and a neighbour is one step away."""
    generator = torch.Generator().manual_seed(seed)
    scale = 30 ** torch.rand(d, 1, generator=generator)
    features = scale * torch.randn(d, 60, generator=generator)
    origin, rank, _ = _simplices(features)
    group = torch.randint(3, (60,), generator=generator)
    keys, steps = _keys(origin, rank, group)
    e = d + 1
    corners: dict[tuple[int, ...], int] = {}
    for point in range(60):
        for remainder in range(e):
            # Adding the remainder to all and taking e from those of the highest ranks (Adams et al., section 3).
            place = [
                int(origin[i, point]) + remainder - (e if int(rank[i, point]) >= e - remainder else 0)
                for i in range(e)
            ]
            key = int(keys[remainder, point])
            assert corners.setdefault((int(group[point]), *place), key) == key
    assert len(set(corners.values())) == len(corners)
    for (number, *place), key in corners.items():
        for direction, step in enumerate(steps):
            beyond = (number, *(at + (e - 1 if i == direction else -1) for i, at in enumerate(place)))
            assert beyond not in corners or corners[beyond] == key + step


def test_the_number_of_groups_is_limited_by_64_bits_and_by_nothing_else() -> None:
    point = torch.zeros(1, 1)  # alone, it takes 9 keys: its corner, and a simplex and a neighbour to each side
    most = 2**63 // 9 - 1
    Lattice.of(point, torch.tensor([most]))
    with pytest.raises(ValueError, match="too far apart"):
        Lattice.of(point.repeat(1, 2), torch.tensor([0, most + 1]))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_range_of_every_coordinate_is_its_own(axis: int, turned: bool) -> None:
    """Corners in a row, far to one side, in several groups: were a digit too small, keys of two would meet."""
    row = 3 * torch.arange(40) * (-1 if turned else 1)
    origin = torch.zeros(3, 160, dtype=torch.int64)
    origin[axis], origin[2] = row.repeat(4), -row.repeat(4)
    rank = torch.arange(3)[:, None].expand(3, 160)
    keys, _ = _keys(origin, rank, torch.arange(4).repeat_interleave(40))
    assert len(keys.unique()) == 3 * 160
