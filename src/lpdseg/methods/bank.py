"""An image bank: training patches that stand for each class, clustered into prototypes (PBIP, Tang et al. 2025).

C classes, k prototypes per class, K in all; N patches, D width of an embedding.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lpdseg.data.dataset import TrainingPatches
from lpdseg.errors import SettingsError
from lpdseg.maps.pad import as_pixels

SIZE = 100
"""Patches per class, at most."""
_CHUNK = 16
_STREAM = 3  # first word of the seed: another stream than the loader's


def choose_patches(labels: Int[np.ndarray, "N C"], counts: Sequence[int], seed: int) -> list[list[int]]:
    """The bank of each class: `SIZE` patches with that label alone, drawn at random, or all where there are fewer.

    A class may never be alone, as necrosis hardly is. Where it has fewer such patches than prototypes, its bank is
    made of the patches that share it with the fewest other classes.

    **Arguments:**

    - `counts`: prototypes of each class.

    **Raises:** `SettingsError` for more prototypes than patches of a class.
    """
    rng = np.random.default_rng((_STREAM, seed))
    order = rng.permutation(len(labels))
    number = labels.sum(1)
    bank = []
    for c, count in enumerate(counts):
        held = [int(index) for index in order if labels[index, c]]
        if len(held) < count:
            raise SettingsError(
                f"the {len(held)} training patches of class {c} cannot be clustered into {count} prototypes; lower "
                "model.prototypes"
            )
        alone = [index for index in held if number[index] == 1]
        fewest = sorted(held, key=lambda index: int(number[index]))  # stable: ties stay in random order
        bank.append((alone if len(alone) >= count else fewest)[:SIZE])
    return bank


@torch.no_grad()
def cluster_bank(
    patches: TrainingPatches,
    bank: Sequence[Sequence[int]],
    counts: Sequence[int],
    encode: Callable[[Tensor], Tensor],
    device: torch.device,
) -> Float[Tensor, "K D"]:
    """The means of the clusters that k-means finds among the embeddings of each class's patches, class-major.

    They are scaled by one number to a mean square of 1, which is what learnable prototypes start with; it changes
    no direction.
    """
    from sklearn.cluster import KMeans

    means = []
    for indices, count in zip(bank, counts, strict=True):
        features = torch.cat(
            [
                encode(_read(patches, indices[first : first + _CHUNK], device)).float().cpu()
                for first in range(0, len(indices), _CHUNK)
            ]
        )
        found = KMeans(count, n_init=10, random_state=patches.seed).fit(features.double().numpy())
        means.append(torch.from_numpy(found.cluster_centers_).float())
    prototypes = torch.cat(means)
    return prototypes / prototypes.square().mean().sqrt().clamp(min=1e-6)


def _read(patches: TrainingPatches, indices: Sequence[int], device: torch.device) -> Tensor:
    images = np.stack([patches.plain(index).transpose(2, 0, 1) for index in indices])
    return as_pixels(torch.from_numpy(images).to(device))
