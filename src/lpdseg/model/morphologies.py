"""What the prototypes of every class stand for: a mixture over descriptions of its tissue, kept as state.

Nothing here is a parameter: no gradient reaches it, and it is saved with a run. N training patches, C classes, k
prototypes per class (at most), K in all; d dimensions of the space in which descriptions are compared.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lpdseg.choices import MorphologyFit
from lpdseg.model.mixture import Mixture, choose_components, cluster, fit_mixture

DIMENSIONS = 24
"""d, at most."""

_TRIED = (8, 12, 16, DIMENSIONS)
"""Numbers of dimensions from which the data choose. Each holds a component apart or adds noise to all of them."""

_STREAM = 11


@dataclass(frozen=True, repr=False)
class Described:
    """What the tissue of one class in one patch looks like, n times.

    - `patches`: where each is among all N of the training.
    - `alone`: whether the class is the only one of its patch.
    """

    values: Float[np.ndarray, "n D"]
    patches: Int[np.ndarray, " n"]
    classes: Int[np.ndarray, " n"]
    patients: tuple[str, ...]
    alone: Bool[np.ndarray, " n"]

    def of(self, c: int) -> Int[np.ndarray, " m"]:
        """Which of them are of a class."""
        return np.flatnonzero(self.classes == c)


class Morphologies(nn.Module):
    """Mixtures of all classes; component j of a class belongs to its prototype j, for good.

    **Attributes:**

    - `shares`: N x k, of a patch that shows one class alone: its responsibilities; zeros of the others.
    - `looks`: how often they were found; `times` is the same number where it can be read without waiting.
    - `centre`, `axes`: of the space: (description − centre) @ axes.
    - `means`, `variance`, `weights`: K x d, C x d, K; weight 0: no component, the prototype is retired.
    - `counts`: K, how many patches each component has.
    """

    shares: Float[Tensor, "N k"]
    looks: Int[Tensor, ""]
    centre: Float[Tensor, " D"]
    axes: Float[Tensor, "D d"]
    means: Float[Tensor, "K d"]
    variance: Float[Tensor, "C d"]
    weights: Float[Tensor, " K"]
    counts: Float[Tensor, " K"]

    def __init__(self, prototypes: tuple[int, ...]) -> None:
        super().__init__()
        self.prototypes, self.times = prototypes, 0
        total = sum(prototypes)
        self.register_buffer("shares", torch.zeros(0, max(prototypes)))
        self.register_buffer("looks", torch.tensor(0))
        self.register_buffer("centre", torch.zeros(0))
        self.register_buffer("axes", torch.zeros(0, DIMENSIONS))
        self.register_buffer("means", torch.zeros(total, DIMENSIONS))
        self.register_buffer("variance", torch.ones(len(prototypes), DIMENSIONS))
        self.register_buffer("weights", torch.zeros(total))
        self.register_buffer("counts", torch.zeros(total))

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Takes over sizes that hang on the data."""
        for name in ("shares", "centre", "axes"):
            if prefix + name in state:
                held = getattr(self, name)
                setattr(self, name, held.new_zeros(state[prefix + name].shape))
        super()._load_from_state_dict(state, prefix, *rest)
        self.found_times(int(self.looks))

    def found_times(self, times: int) -> None:
        """Says how often they were found."""
        self.times = times
        self.looks.fill_(times)

    def fit(self, described: Described, total: int, fit: MorphologyFit = "mixture") -> None:
        """Fits the mixtures, or takes k-means' clusters for components, and forgets what was found before.

        A component that shares most with one of before has its number. All classes share one standardisation: each
        number is divided by its spread within classes. The space holds the directions of most such spread, as many
        as make components likeliest to descriptions that are held out.

        **Arguments:**

        - `total`: N.
        """
        # Not of the training's seed: the same data have the same morphologies.
        rng = np.random.default_rng(_STREAM)
        values, classes = described.values.astype(np.float64), described.classes
        centre, axes = widest(values, classes)
        space = (values - centre) @ axes
        prior = within(space, classes).var(0).clip(min=1e-9)
        owned = {c: described.of(c) for c in np.unique(classes[described.alone]).tolist()}
        wide = axes.shape[1]
        if fit == "kmeans":
            mixtures = {c: cluster(space[own], self.prototypes[c]) for c, own in owned.items()}
        else:
            wide, counts = self._choose({c: space[own] for c, own in owned.items()}, prior, rng)
            mixtures = {
                c: fit_mixture(
                    space[own, :wide], [described.patients[n] for n in own], counts[c], prior[:wide], rng
                )
                for c, own in owned.items()
            }
        before = self.shares.cpu().numpy()
        for one in (self.means, self.weights, self.counts):
            one.zero_()
        axes = np.pad(axes[:, :wide], ((0, 0), (0, DIMENSIONS - wide)))
        self.centre, self.axes = (  # processes send no others to each other
            torch.from_numpy(np.ascontiguousarray(one)).to(self.means) for one in (centre, axes)
        )
        shares = np.zeros((total, max(self.prototypes)))
        for c, own in owned.items():
            alone = described.alone[own]
            found = _teachable(_sorted(mixtures[c]), space[own[alone], :wide])
            mine = found.responsibilities(space[own, :wide])
            if fit == "kmeans":
                mine = np.eye(mine.shape[1])[mine.argmax(1)]
            patches = described.patches[own][alone]
            places = np.arange(mine.shape[1])
            if self.times > 0:
                places = _matched(before[patches, : self.prototypes[c]], mine[alone])
            shares[patches[:, None], places] = mine[alone]
            self._keep(c, places, found, mine.sum(0))
        self.shares = torch.from_numpy(shares).to(self.means)
        self.found_times(self.times + 1)

    def _choose(
        self,
        space: dict[int, np.ndarray],
        prior: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[int, dict[int, int]]:
        """Dimensions, and components of each class, of the largest gain of components over a single one."""
        most = len(prior)
        tried = {
            wide: {
                c: choose_components(own[:, :wide], self.prototypes[c], prior[:wide], rng)
                for c, own in space.items()
            }
            for wide in sorted({min(one, most) for one in _TRIED})
        }
        wide = max(tried, key=lambda one: sum(choice.gain for choice in tried[one].values()))
        return wide, {c: choice.count for c, choice in tried[wide].items()}

    def _keep(
        self, c: int, places: Int[np.ndarray, " m"], mixture: Mixture, counts: Float[np.ndarray, " m"]
    ) -> None:
        wide = mixture.means.shape[1]
        own = torch.from_numpy(sum(self.prototypes[:c]) + places).to(self.means.device)
        self.counts[own] = torch.from_numpy(counts).to(self.counts)
        self.weights[own] = torch.from_numpy(mixture.weights).to(self.weights)
        means = np.pad(mixture.means, ((0, 0), (0, DIMENSIONS - wide)))
        self.means[own] = torch.from_numpy(means).to(self.means)
        self.variance[c, :wide] = torch.from_numpy(mixture.variance).to(self.means)

    @property
    def fitted(self) -> bool:
        """Whether anything was found yet."""
        return bool((self.weights > 0).any())

    @property
    def components(self) -> tuple[int, ...]:
        """How many each class has."""
        parts = self.weights.split(self.prototypes)
        return tuple(int((part > 0).sum()) for part in parts)

    def of_patches(self, sources: Int[Tensor, "n C"]) -> Float[Tensor, "n C k"]:
        """The responsibilities of patches by index, zeros for −1: which morphology each one's class shows."""
        if len(self.shares) == 0:  # nothing was found yet
            return self.shares.new_zeros((*sources.shape, self.shares.shape[1]))
        known = self.shares[sources.clamp(min=0)]
        return known * (sources >= 0)[..., None]


def widest(
    values: Float[np.ndarray, "N D"], classes: Int[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, "D d"]]:
    """Centre and axes of the space of the directions that spread most within classes, each number by its spread."""
    apart = within(values, classes)
    spread = apart.std(0)
    usable = spread > 1e-6 * max(float(spread.max()), 1e-12)
    scale = np.where(usable, 1 / np.where(usable, spread, 1), 0.0)
    directions = np.linalg.svd(apart * scale, full_matrices=False)[2][:DIMENSIONS].T
    return values.mean(0), directions * scale[:, None]


def within(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Each value without the mean of its class."""
    means = np.stack([values[classes == c].mean(0) for c in np.unique(classes)])
    return np.asarray(values - means[np.searchsorted(np.unique(classes), classes)])


def _sorted(mixture: Mixture) -> Mixture:
    """The component that most of the class belongs to comes first."""
    order = np.argsort(-mixture.weights, kind="stable")
    return Mixture(mixture.means[order], mixture.variance, mixture.weights[order])


def _teachable(mixture: Mixture, alone: Float[np.ndarray, "n d"]) -> Mixture:
    """Without components that are less than one patch of the class alone: nothing would teach their prototypes."""
    keep = mixture.responsibilities(alone).sum(0) >= min(1, len(alone) / len(mixture.weights))
    weights = mixture.weights[keep]
    return Mixture(mixture.means[keep], mixture.variance, weights / weights.sum())


def _matched(known: Float[np.ndarray, "n k"], found: Float[np.ndarray, "n m"]) -> Int[np.ndarray, " m"]:
    """The place of each new component: that of the one with which it shares most, all together."""
    from scipy.optimize import linear_sum_assignment

    places, components = linear_sum_assignment(-(known.T @ found))
    return np.asarray(places[np.argsort(components)])
