"""A mixture of normal distributions over the descriptions of a class: its components are the class's morphologies.

N descriptions of D numbers, m components, S starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

STARTS = 10
"""Fits from other first means, of which the likeliest is kept."""

_FOLDS = 3
_FEW, _FOLDS_OF_FEW = 200, 10
"""Up to so many descriptions a third is too much to do without: the number of components would be chance."""
_ROUNDS, _TOLERANCE = 200, 1e-4
_EQUAL = 1e-6
"""Nats per description that are no difference, but rounding."""
_SHRINKAGE = 2.0
"""Descriptions that the variance of all classes counts for, against those of the class."""
_MOST = 400
"""Descriptions from which the number of components is chosen; more are sampled."""
_PATIENCE = 2
_FITTED = 2000
"""Descriptions to which a class's mixture is fitted; more are sampled."""


@dataclass(frozen=True)
class Mixture:
    """Components that share one variance per dimension: few descriptions must do for a class.

    - `means`, `variance`, `weights` (sum 1).
    """

    means: Float[np.ndarray, "*S m D"]
    variance: Float[np.ndarray, "*S D"]
    weights: Float[np.ndarray, "*S m"]

    def log_joint(self, values: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "*S N m"]:
        """log p(value, component), in nats."""
        inverse = 1 / self.variance
        scaled = self.means * inverse[..., None, :]
        apart = (inverse @ (values**2).T)[..., None, :] - 2 * scaled @ values.T
        constant = (scaled * self.means).sum(-1) + np.log(2 * np.pi * self.variance).sum(-1)[..., None]
        joint = np.log(self.weights)[..., None] - (apart + constant[..., None]) / 2
        # Descriptions lie side by side: sums over a few components then take a fifth of the time.
        found: Float[np.ndarray, "*S N m"] = joint.swapaxes(-1, -2)
        return found

    def log_likelihood(self, values: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "*S N"]:
        """log p(value), in nats."""
        found: Float[np.ndarray, "*S N"] = np.logaddexp.reduce(self.log_joint(values), axis=-1)
        return found

    def responsibilities(self, values: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "*S N m"]:
        """p(component | value); sums to 1."""
        joint = self.log_joint(values)
        joint = np.exp(joint - joint.max(-1, keepdims=True))
        found: Float[np.ndarray, "*S N m"] = joint / joint.sum(-1, keepdims=True)
        return found

    def likeliest(self, values: Float[np.ndarray, "N D"]) -> "Mixture":
        """The one of several that finds the values likeliest."""
        best = int(self.log_likelihood(values).sum(-1).argmax())
        return Mixture(self.means[best], self.variance[best], self.weights[best])


def expectation_maximisation(
    values: Float[np.ndarray, "N D"], start: Float[np.ndarray, "*S N m"], prior: Float[np.ndarray, " D"]
) -> Mixture:
    """The mixtures at which rounds of EM settle, from responsibilities, all starts at once (Dempster et al. 1977).

    The variance is shrunk to `prior`, and each component counts one description more than it has.
    """
    shares, found, square = start, None, (values**2).sum(0)
    for _ in range(_ROUNDS):
        counts = shares.sum(-2)
        means = (shares.swapaxes(-1, -2) @ values) / np.maximum(counts, 1e-9)[..., None]
        within = square - (counts[..., None] * means**2).sum(-2)
        variance = (within.clip(min=0) + _SHRINKAGE * prior) / (len(values) + _SHRINKAGE)
        found = Mixture(means, variance, (counts + 1) / (counts + 1).sum(-1, keepdims=True))
        before, shares = shares, found.responsibilities(values)
        if np.abs(shares - before).max() < _TOLERANCE:
            break
    assert found is not None
    return found


@dataclass(frozen=True)
class Choice:
    """How many components descriptions that were held out find likeliest.

    - `gain`: by how much they find them likelier than a single one: the sum over all descriptions, in nats.
    """

    count: int
    gain: float


def choose_components(
    values: Float[np.ndarray, "N D"], most: int, prior: Float[np.ndarray, " D"], rng: np.random.Generator
) -> Choice:
    """Tries 1 to `most` components: fitted without a third of the descriptions, of few a tenth, and scored on it.

    Descriptions are held out, not patients: of few patients each has a stain that the others have not, and what all
    of them share would be one component. More are tried until two in a row are less likely; taken are the fewest
    that are within one standard error of the likeliest (Breiman et al. 1984, §3.4.3).

    **Arguments:**

    - `prior`: the variance of all classes.
    """
    total = len(values)
    if total > _MOST:
        values = values[rng.permutation(total)[:_MOST]]
    folds = rng.permutation(len(values)) % (_FOLDS_OF_FEW if len(values) <= _FEW else _FOLDS)
    fewest = min(int((folds != fold).sum()) for fold in np.unique(folds))
    scores: list[np.ndarray] = []
    for count in range(1, min(most, fewest // 2) + 1):
        likelihood = np.empty(len(values))
        for fold in np.unique(folds):
            inside, held = values[folds != fold], folds == fold
            best = _fits(inside, count, prior, rng).likeliest(inside)
            likelihood[held] = best.log_likelihood(values[held])
        scores.append(likelihood)
        if len(scores) - int(np.argmax([one.sum() for one in scores])) > _PATIENCE:
            break
    if not scores:
        return Choice(1, 0.0)
    likeliest = max(scores, key=lambda one: float(one.sum()))
    behind = [likeliest - one for one in scores]
    error = [float(one.std() * len(values) ** 0.5) for one in behind]
    chosen = next(n for n, one in enumerate(behind) if one.sum() <= error[n] + _EQUAL * len(values))
    return Choice(1 + chosen, float((scores[chosen] - scores[0]).sum()) * total / len(values))


def fit_mixture(
    values: Float[np.ndarray, "N D"],
    patients: Sequence[str],
    count: int,
    prior: Float[np.ndarray, " D"],
    rng: np.random.Generator,
) -> Mixture:
    """A mixture of `count` components.

    Without each fold of patients it is fitted from `STARTS` starts, and the one that those patients find likeliest
    is fitted on, to all. The likeliest of these is kept.
    """
    if len(values) > _FITTED:
        some = rng.permutation(len(values))[:_FITTED]
        values, patients = values[some], [patients[n] for n in some]
    folds = _folds(patients, rng)
    inside = [folds != fold for fold in np.unique(folds) if (folds != fold).sum() >= count]
    if count == 1 or not inside:
        return expectation_maximisation(values, np.ones((len(values), 1)), prior)
    best = [_fits(values[one], count, prior, rng).likeliest(values[~one]) for one in inside]
    start = np.stack([one.responsibilities(values) for one in best])
    return expectation_maximisation(values, start, prior).likeliest(values)


def cluster(values: Float[np.ndarray, "N D"], count: int) -> Mixture:
    """The clusters of k-means, the best of `STARTS` starts, as a mixture: the likeliest component is the nearest.

    There are at most as many as there are different values. The largest comes first.
    """
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(values, axis=0)))
    found = KMeans(count, n_init=STARTS, random_state=0).fit(values)
    order = np.argsort(-np.bincount(found.labels_, minlength=count), kind="stable")
    return Mixture(found.cluster_centers_[order], np.ones(values.shape[1]), np.full(count, 1 / count))


def _fits(values: np.ndarray, count: int, prior: np.ndarray, rng: np.random.Generator) -> Mixture:
    """From `STARTS` starts: values far apart, as k-means++ draws them, each with those that are nearest to it."""
    from sklearn.cluster import kmeans_plusplus

    starts = []
    for seed in rng.integers(0, 2**31, STARTS if count > 1 else 1):
        means, _ = kmeans_plusplus(values, count, random_state=int(seed))
        starts.append(np.eye(count)[(-2 * values @ means.T + (means**2).sum(1)).argmin(1)])
    return expectation_maximisation(values, np.stack(starts), prior)


def _folds(patients: Sequence[str], rng: np.random.Generator) -> Int[np.ndarray, " N"]:
    """The fold of each description: patients stay together; where there is one alone, descriptions spread."""
    names, owner = np.unique(np.array(patients), return_inverse=True)
    if len(names) == 1:
        names, owner = np.arange(len(patients)), np.arange(len(patients))
    order = rng.permutation(len(names))
    folds: Int[np.ndarray, " N"] = (order % min(_FOLDS, len(names)))[owner]
    return folds
