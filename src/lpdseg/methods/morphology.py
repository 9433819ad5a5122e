"""Before prototypes are taught, and while they are: tissue is described, and the morphologies of each class found.

First in patches that show one class alone, which is then all of their tissue; later in all others as well, in the
regions of which the dense map is sure. N training patches, C classes, D numbers of a description.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lpdseg.choices import MorphologyFit
from lpdseg.data.composites import alone
from lpdseg.data.dataset import TrainingPatches
from lpdseg.losses.pseudo import CONFIDENCE, sure_mask
from lpdseg.maps.background import glass_share
from lpdseg.maps.pad import as_pixels
from lpdseg.model.describing import Describer
from lpdseg.model.head import PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.model.morphologies import Described, Morphologies

_SMALLEST = 0.2
"""Share of a patch below which a region of several classes is too small to be described."""

_MOST = 1500
"""Patches that are looked at while prototypes are taught: looking must not take longer than teaching."""

_CHUNK = 16
_STREAM = 12

Look = Literal["alone", "everywhere"]
"""At patches of one class, or at the regions of all."""

Where = Callable[[Float[Tensor, "B 3 H W"], Float[Tensor, "B C"]], Float[Tensor, "B C H W"]]
"""Images and their labels → where each class is, 0 or 1."""


def find_morphologies(
    morphologies: Morphologies,
    model: LPD,
    patches: TrainingPatches,
    describer: Describer,
    glass: bool,
    fit: MorphologyFit,
    look: Look,
) -> None:
    """Finds the mixtures, and retires the prototypes for which there is no component.

    **Arguments:**

    - `glass`: whether background is glass, which is no tissue.
    """
    records = patches.records
    by_class = alone(records)
    if not by_class:
        return
    head = model.head
    assert isinstance(head, PrototypeHead)
    device = head.live.device

    def where(images: Tensor, labels: Tensor) -> Tensor:
        tissue = 1 - glass_share(images)[:, 0] if glass else torch.ones_like(images[:, 0])
        shown = labels[:, :, None, None] if look == "alone" else sure_regions(model, images, labels)
        return shown * tissue[:, None]

    indices = sorted(index for found in by_class.values() for index in found)
    if look != "alone":
        others = np.random.default_rng(_STREAM).permutation(np.setdiff1d(np.arange(len(records)), indices))
        indices = sorted([*indices, *others[: max(0, _MOST - len(indices))].tolist()])
    training = model.training
    model.eval()
    with torch.no_grad():
        described = describe(patches, indices, describer, device, where)
    model.train(training)
    morphologies.fit(described, len(records), fit)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for one in morphologies.buffers():
            torch.distributed.broadcast(one, 0)
    # A class that never stands alone keeps all its prototypes: nothing says how many morphologies it has.
    known = torch.tensor([count > 0 for count in morphologies.components]).repeat_interleave(
        torch.tensor(morphologies.prototypes)
    )
    head.live.copy_((morphologies.weights > 0) | ~known.to(head.live.device))


def describe(
    patches: TrainingPatches,
    indices: Sequence[int],
    describer: Describer,
    device: torch.device,
    where: Where,
    smallest: float = _SMALLEST,
) -> Described:
    """Descriptions of the tissue of each class in patches as they are, without variation.

    **Arguments:**

    - `smallest`: share of a patch below which a region of several classes is left out.
    """
    values: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    for first in range(0, len(indices), _CHUNK):
        some = indices[first : first + _CHUNK]
        pixels = np.stack([patches.plain(index).transpose(2, 0, 1) for index in some])
        labels = torch.tensor([patches.records[index].labels for index in some], dtype=torch.float32, device=device)
        images = as_pixels(torch.from_numpy(pixels).to(device))
        weights = where(images, labels)
        single = labels.sum(1, keepdim=True) == 1
        large = weights.mean((2, 3)) >= smallest
        place, c = ((labels > 0) & (large | single)).nonzero(as_tuple=True)
        values.append(describer(images, weights)[place, c].cpu().numpy())
        own = torch.tensor(some)[place.cpu()]
        owners.append(torch.stack([own, c.cpu(), single[place, 0].cpu().long()]).numpy())
    owner = np.concatenate(owners, 1)
    patients = tuple(patches.records[index].patient for index in owner[0].tolist())
    return Described(np.concatenate(values), owner[0], owner[1], patients, owner[2] > 0)


def sure_regions(
    model: LPD, images: Float[Tensor, "B 3 H W"], labels: Float[Tensor, "B C"]
) -> Float[Tensor, "B C H W"]:
    """1 where the dense map is sure of one of the label's classes; a patch of a single one is that everywhere."""
    height, width = images.shape[-2:]
    mask = sure_mask(model.dense(model.encoder(images)).at_size((height, width)), labels, CONFIDENCE)
    return (mask[:, None] == torch.arange(labels.shape[1], device=mask.device)[:, None, None]).float()
