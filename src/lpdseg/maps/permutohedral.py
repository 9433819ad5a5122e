"""Gaussian filtering in many dimensions on the permutohedral lattice (Adams, Baek & Davis 2010), in plain torch.

N points in d dimensions carry values v. The filter gives each point i Σ_j exp(−‖f_i − f_j‖² / 2) · v_j, nearly and
up to a constant factor, in a time that grows with N and not with N². Space is cut into simplices whose corners form
a lattice: each point hands its values to the d + 1 corners around it (splat), the corners are blurred along d + 1
directions, and each point reads them back (slice).

Only corners that some point touches exist. They are found by sorting one 64-bit key per corner, and their
neighbours by binary search: no hash table, no extension to compile. Splat, blur and slice are weighted sums of
rows of a table, for which torch has one fast call on CPU and GPU alike (`embedding_bag`).

Shapes: N points, d dimensions, e = d + 1, M lattice corners, L values per point.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int32, Int64
from torch import Tensor


@dataclass(frozen=True)
class Lattice:
    """The lattice of a set of points, built once (`Lattice.of`) and used for any number of values.

    **Attributes:**

    - `corners`, `weights`: the e corners around each point, and its barycentric weights, which sum to 1.
    - `points`, `point_weights`, `starts`: the same pairs ordered by corner; those of corner m start at `starts[m]`.
    - `neighbours`: for each direction, both neighbours of each corner. Corner M stands for those that do not exist
      and is always 0.
    """

    corners: Int32[Tensor, "N e"]
    weights: Float32[Tensor, "N e"]
    points: Int32[Tensor, " Ne"]
    point_weights: Float32[Tensor, " Ne"]
    starts: Int32[Tensor, " M1"]
    neighbours: tuple[Int32[Tensor, "M1 2"], ...]

    @classmethod
    def of(cls, features: Float32[Tensor, "d N"], group: Int64[Tensor, " N"]) -> "Lattice":
        """Builds the lattice.

        **Arguments:**

        - `features`: positions, in units of the Gaussian's standard deviation.
        - `group`: 0, 1, …; points of different groups, such as the images of a batch, never mix.

        **Raises:** `ValueError` where the points lie too far apart for 64-bit keys: with d = 5, several hundred
        standard deviations in every dimension.
        """
        e, n = len(features) + 1, features.shape[1]
        origin, rank, weights = _simplices(features)
        keys, steps = _keys(origin, rank, group)
        ordered, order = keys.reshape(-1).sort(stable=True)
        first = F.pad(ordered[1:] != ordered[:-1], (1, 0), value=True)
        starts = first.nonzero().squeeze(1)
        corners = torch.empty(e * n, dtype=torch.int32, device=features.device)
        corners[order] = first.cumsum(0, dtype=torch.int32) - 1
        return cls(
            corners=corners.view(e, n).T.contiguous(),
            weights=weights.T.contiguous(),
            points=(order % n).int(),
            point_weights=weights.reshape(-1)[order],
            starts=F.pad(starts, (0, 1), value=e * n).int(),  # corner M starts at the end: a sum of nothing
            neighbours=tuple(_neighbours(ordered[starts], step) for step in steps),
        )

    def filter(self, values: Float32[Tensor, "N L"]) -> Float32[Tensor, "N L"]:
        """Splat, blur, slice. A point's own value is part of its sum."""
        table = F.embedding_bag(self.points, values, self.starts, mode="sum", per_sample_weights=self.point_weights)
        for neighbours in self.neighbours:
            table = table.add(F.embedding_bag(neighbours, table, mode="sum"), alpha=0.5)
        return F.embedding_bag(self.corners, table, mode="sum", per_sample_weights=self.weights)


def _simplices(
    features: Float32[Tensor, "d N"],
) -> tuple[Int64[Tensor, "d+1 N"], Int64[Tensor, "d+1 N"], Float32[Tensor, "d+1 N"]]:
    """The simplex around each point: its corner of remainder 0, the rank of each coordinate, barycentric weights.

    Positions are put on the plane Σx = 0 of e dimensions. The lattice's corners are the integer points of the plane
    whose coordinates are equal modulo e, and that number is the corner's remainder. The order of the coordinates by
    their distance from the corner of remainder 0 tells which simplex it is (Adams et al., section 3).
    """
    e = len(features) + 1
    placed = _plane(e - 1).to(features) @ features
    origin = (placed / e).round() * e
    offset = placed - origin
    rank = torch.zeros_like(placed, dtype=torch.int64)
    for i in range(e):
        for j in range(i + 1, e):
            behind = offset[i] < offset[j]
            rank[i] += behind
            rank[j] += ~behind
    # Rounding may leave the plane; the coordinates that were rounded furthest step back onto it.
    rank += (origin.sum(0) / e).round().long()
    step = e * ((rank < 0).long() - (rank >= e).long())
    rank += step
    origin += step

    delta = torch.empty_like(placed).scatter_(0, rank, (placed - origin) / e)  # falls with the rank
    weights = torch.cat([1 + delta[-1:] - delta[:1], (delta[:-1] - delta[1:]).flip(0)])
    return origin.long(), rank, weights


def _plane(d: int) -> Float32[Tensor, "e d"]:
    """Takes positions to the plane, scaled so that splat, blur and slice together have standard deviation 1."""
    i, j = torch.arange(d), torch.arange(d + 1)[:, None]
    basis = (i >= j).float() - j * (i == j - 1)
    return basis * (d + 1) * (2 / (3 * (i + 1) * (i + 2))).sqrt()


def _keys(
    origin: Int64[Tensor, "e N"], rank: Int64[Tensor, "e N"], group: Int64[Tensor, " N"]
) -> tuple[Int64[Tensor, "e N"], list[int]]:
    """One number per corner, and what to add to it for the neighbour in each direction.

    The number's digits are the group and all coordinates but the last, which follows from the others. Each digit
    has room for the corners of a simplex and a neighbour beyond them, so that no two corners share a number.
    """
    e = len(origin)
    room = 2 * e
    low, high = origin[:-1].amin(1) - room, origin[:-1].amax(1) + room
    strides, reach = [], 1
    for size in (high - low + 1).tolist():
        strides.append(reach)
        reach *= size
    if reach * (int(group.max()) + 1) >= 2**63:
        raise ValueError("the points lie too far apart for the lattice; use larger standard deviations")
    all_coordinates = sum(strides)
    stride = torch.tensor([*strides, 0], device=origin.device)[:, None]
    first = group * reach + (stride[:-1] * (origin[:-1] - low[:, None])).sum(0)
    # The corner of remainder k adds k to all coordinates and takes e from those of the k highest ranks.
    by_rank = torch.empty_like(rank).scatter_(0, rank, stride.expand_as(rank))
    taken = F.pad(by_rank[1:].flip(0).cumsum(0), (0, 0, 1, 0))
    remainder = torch.arange(e, device=origin.device)[:, None]
    steps = [e * stride - all_coordinates for stride in [*strides, 0]]
    return first + remainder * all_coordinates - e * taken, steps


def _neighbours(keys: Int64[Tensor, " M"], step: int) -> Int32[Tensor, "M+1 2"]:
    """Both neighbours of each corner, whose keys are `step` higher and lower; M where there is none."""
    count = len(keys)
    wanted = keys + step
    place = torch.searchsorted(keys, wanted, out_int32=True).clamp_(max=count - 1)
    found = keys[place] == wanted
    pairs = torch.full((count + 1, 2), count, dtype=torch.int32, device=keys.device)
    pairs[:-1, 0] = place.where(found, count)
    pairs[place[found], 1] = found.nonzero().squeeze(1).int()  # being neighbours is mutual
    return pairs
