"""Before prototypes are taught: single-class patches are described, and the morphologies of each class found.

N training patches, D numbers of a description.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lpdseg.choices import MorphologyFit
from lpdseg.data.composites import alone
from lpdseg.data.dataset import TrainingPatches
from lpdseg.maps.background import glass_share
from lpdseg.maps.pad import as_pixels
from lpdseg.model.describing import Describer
from lpdseg.model.head import PrototypeHead
from lpdseg.model.morphologies import Morphologies

_CHUNK = 16


def find_morphologies(
    morphologies: Morphologies,
    head: PrototypeHead,
    patches: TrainingPatches,
    describer: Describer,
    glass: bool,
    fit: MorphologyFit,
) -> None:
    """Fits the mixtures, and retires the prototypes for which there is no component.

    **Arguments:**

    - `glass`: whether background is glass, which is no tissue.
    """
    by_class = alone(patches.records)
    if not by_class:
        return
    places = sorted((index, c) for c, found in by_class.items() for index in found)
    indices = [index for index, _ in places]
    described = describe(patches, indices, describer, head.live.device, glass)
    patients = [patches.records[index].patient for index in indices]
    morphologies.fit(described, indices, np.array([c for _, c in places]), patients, len(patches), fit)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for one in morphologies.buffers():
            torch.distributed.broadcast(one, 0)
    # A class that never stands alone keeps all its prototypes: nothing says how many morphologies it has.
    known = torch.tensor([count > 0 for count in morphologies.components]).repeat_interleave(
        torch.tensor(morphologies.prototypes)
    )
    head.live.copy_((morphologies.weights > 0) | ~known.to(head.live.device))


def describe(
    patches: TrainingPatches, indices: list[int], describer: Describer, device: torch.device, glass: bool
) -> Float[np.ndarray, "n D"]:
    """Descriptions of the tissue of whole patches, as they are without variation."""
    found: list[Tensor] = []
    for first in range(0, len(indices), _CHUNK):
        some = [patches.plain(index).transpose(2, 0, 1) for index in indices[first : first + _CHUNK]]
        images = as_pixels(torch.from_numpy(np.stack(some)).to(device))
        tissue = 1 - glass_share(images) if glass else torch.ones_like(images[:, :1])
        found.append(describer(images, tissue).cpu())
    return torch.cat(found).numpy()
