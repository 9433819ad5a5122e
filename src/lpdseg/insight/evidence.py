"""What the network sees in one patch: class maps of each scale, and the maps of single prototypes.

C classes, K prototypes in all, k of one class, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from lpdseg.errors import SettingsError
from lpdseg.maps.pad import as_pixels, pad_to_stride
from lpdseg.maps.winners import numbered
from lpdseg.model.lpd import LPD
from lpdseg.segmenting.prediction import check_computed
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.views import make_views, mean_of_views


@dataclass(frozen=True)
class ClassMaps:
    """Class maps of one patch, per scale: `maps` at the patch's size, in [0, 1], and their `sizes` (H_l, W_l)."""

    maps: dict[int, Float[np.ndarray, "C H W"]]
    sizes: dict[int, tuple[int, int]]


def class_maps(segmenter: Segmenter, image: UInt8[np.ndarray, "H W 3"]) -> ClassMaps:
    """The maps that are fused into the scores, as fusion sees them: mean over views, upsampled bilinearly.

    **Raises:** `CheckpointError` as `check_computed`.
    """
    evidence = segmenter.observe(_batch(image))
    maps, sizes = {}, {}
    for level, values in sorted(evidence.activations.items()):
        maps[level] = _upsample(values, evidence.padded, evidence.size)[0].cpu().numpy()
        check_computed(maps[level])
        sizes[level] = (values.shape[-2], values.shape[-1])
    return ClassMaps(maps, sizes)


def has_prototypes(segmenter: Segmenter) -> bool:
    """Whether the network that segments holds prototypes."""
    return isinstance(segmenter.model, LPD)


def prototypes_of(segmenter: Segmenter) -> LPD:
    """The network, where it has prototypes.

    **Raises:** `SettingsError` where the method has none.
    """
    if not isinstance(segmenter.model, LPD):
        raise SettingsError(
            "this run has no prototypes to look at; name a run of the method lpd, lpd-released or pbip"
        )
    return segmenter.model


def is_dense(segmenter: Segmenter) -> bool:
    """Whether it is prototypes that make the mask, pixel by pixel; else class maps or a linear head do."""
    return segmenter.by_head and segmenter.model.parts is not None


def live_prototypes(segmenter: Segmenter) -> Bool[np.ndarray, " K"]:
    """Which prototypes are not retired."""
    kept: Bool[np.ndarray, " K"] = prototypes_of(segmenter).live.cpu().numpy()
    return kept


def prototype_titles(segmenter: Segmenter) -> tuple[str, ...]:
    """The class and number of every prototype, such as `TUM 3`."""
    of = prototypes_of(segmenter).bank.class_of.tolist()
    return tuple(f"{segmenter.classes.names[c]} {n}" for c, n in zip(of, numbered(of), strict=True))


def predicted_mask(segmenter: Segmenter, image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W"]:
    """What the segmenter says of an image, in internal numbering.

    **Raises:** `CheckpointError` as `check_computed`.
    """
    batch = _batch(image)
    found = segmenter.decide(segmenter.observe(batch), batch).computed()
    mask: UInt8[np.ndarray, "H W"] = found.mask[0].cpu().numpy()
    return mask


@dataclass(frozen=True)
class PrototypeMaps:
    """What every prototype says of a batch, and the (H, W) that the network saw.

    - `values`: that decide who wins. Where prototypes make the mask, their probabilities, mean over the views, as
      the mask has them; else cosines at the coarsest scale, of one view.
    - `cosine`: on the same pixels, in [-1, 1].
    """

    values: Float[Tensor, "B K h w"]
    cosine: Float[Tensor, "B K h w"]
    padded: tuple[int, int]

    def full(self, index: int, size: tuple[int, int]) -> tuple[Float[Tensor, "K H W"], Float[Tensor, "K H W"]]:
        """Values and cosines of image `index`, upsampled bilinearly to the pixels of a patch of the given size."""
        maps = torch.cat([self.values[index], self.cosine[index]])
        values, cosine = _upsample(maps.unsqueeze(0), self.padded, size)[0].chunk(2)
        return values, cosine


@torch.inference_mode()
def prototype_maps(segmenter: Segmenter, images: UInt8[Tensor, "B 3 H W"]) -> PrototypeMaps:
    """One pass of the network, in float32 whatever prediction uses: these maps are measured and compared.

    **Raises:** `CheckpointError` as `check_computed`.
    """
    model = prototypes_of(segmenter)
    pixels = pad_to_stride(as_pixels(images.to(segmenter.device)), model.stride)
    padded = (pixels.shape[-2], pixels.shape[-1])
    if not is_dense(segmenter):
        level = model.scales - 1
        cosine = model.compare(model.encoder(pixels), {level})[level].cosine
        check_computed(cosine.sum().cpu().numpy())
        return PrototypeMaps(cosine, cosine, padded)
    views = segmenter.settings.views
    dense = model.dense(model.encoder(make_views(pixels, views)))
    assert dense.cosine is not None
    check_computed(dense.cosine.sum().cpu().numpy())
    return PrototypeMaps(mean_of_views(dense.logits.softmax(1), views), mean_of_views(dense.cosine, views), padded)


def prototype_values(segmenter: Segmenter, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "K H W"]:
    """The value of every prototype at every pixel, see `PrototypeMaps`."""
    values: Float[np.ndarray, "K H W"] = (
        prototype_maps(segmenter, _batch(image)).full(0, (image.shape[0], image.shape[1]))[0].cpu().numpy()
    )
    return values


@torch.inference_mode()
def prototype_angles(segmenter: Segmenter) -> Float[np.ndarray, "K K"]:
    """The cosine in [-1, 1] of every two prototypes, projected to where they are compared with pixels."""
    model = prototypes_of(segmenter)
    coarse = model.projections[model.scales - 1]
    projected = model.dense_prototypes() if is_dense(segmenter) else coarse(model.bank.weight)
    unit = F.normalize(projected.float(), dim=1)
    angles: Float[np.ndarray, "K K"] = (unit @ unit.T).cpu().numpy()
    return angles


def class_prototypes(segmenter: Segmenter, index: int) -> Int[np.ndarray, " k"]:
    """Which of the K prototypes belong to a class."""
    return np.flatnonzero(prototypes_of(segmenter).bank.class_of.cpu().numpy() == index)


def winning_shares(winners: Int[np.ndarray, "*any"], count: int) -> Float[np.ndarray, " k"]:
    """How often each of `count` prototypes wins; zeros where there are no pixels."""
    shares: Float[np.ndarray, " k"] = np.bincount(winners.ravel(), minlength=count) / max(winners.size, 1)
    return shares


def effective_number(shares: Sequence[float]) -> float:
    """exp of the entropy of the shares: k where all win equally often, 1 where one wins always (Hill 1973)."""
    known = np.array([share for share in shares if share > 0])
    return float(np.exp(-(known * np.log(known)).sum())) if known.size else 0.0


def _batch(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[Tensor, "1 3 H W"]:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).unsqueeze(0)


def _upsample(values: Tensor, padded: tuple[int, int], size: tuple[int, int]) -> Tensor:
    large = F.interpolate(values.float(), size=padded, mode="bilinear", align_corners=False)
    return large[..., : size[0], : size[1]]
