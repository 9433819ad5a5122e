"""LPD's diversity and contrast as its published code computes them, faults included, to measure what they cost.

Written from the description in `docs/method.md`; `lpdseg.losses.diversity` and `lpdseg.losses.contrast` are ours.

B images, C classes, k prototypes per class, K in all, of width D; H x W pixels of an image, h x w of the last
scale; N active pairs of an image and a prototype.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpdseg.losses.active import Pairs
from lpdseg.losses.chunks import Chunk
from lpdseg.losses.contrast import Contrast, ContrastTerms, over_pairs, pair_sums, resize
from lpdseg.losses.diversity import Diversity, diversity_loss
from lpdseg.losses.objective import Seen
from lpdseg.losses.term import Term, global_mean
from lpdseg.maps.labelling import pseudo_mask
from lpdseg.model.image_encoders import ImageEncoder


class ReleasedContrast(Contrast):
    """`released_contrast` of the last scale's active prototypes."""

    def compare(
        self, images: Tensor, maps: Tensor, pairs: Pairs, projected: Tensor, image_encoder: ImageEncoder
    ) -> ContrastTerms:
        """See `Contrast.compare`."""
        settings = self.settings
        return released_contrast(
            images,
            maps,
            pairs,
            projected,
            self.model.bank.class_of,
            image_encoder,
            threshold=settings.threshold,
            temperature=settings.temperature,
            size=settings.size,
            chunk=self.chunk,
        )


class ReleasedDiversity(Diversity):
    """`released_diversity` of the last scale, with a pseudo mask that any class may take part in."""

    def mean(self, seen: Seen) -> Float[Tensor, ""]:
        """See `Single`."""
        bank, maps = self.model.bank, seen.outputs[self.last].maps
        every_class = torch.ones_like(seen.labels)
        mask = pseudo_mask(self.model.merge(maps.detach(), "softmax"), every_class, self.power)
        features = seen.features[self.last]
        return global_mean(released_diversity(features, bank.weight, mask, bank.slots, bank.real, bank.class_of))


def released_diversity(
    features: Float[Tensor, "B D h w"],
    prototypes: Float[Tensor, "K D"],
    pseudo_mask: Int[Tensor, "B h w"],
    slots: Int[Tensor, "C k"],
    real: Bool[Tensor, "C k"],
    class_of: Int[Tensor, " K"],
) -> Term:
    """L_div as published: of distributions that are all but uniform, over the pixels of another class.

    - Prototypes are compared with the features as they are, not projected.
    - The mask counts background as 0 and the loss does not, so class c is measured on the pixels of class c − 1,
      and the first class on background; the last class's pixels are not used.
    - Every class that has pixels there counts, whether or not the image has it.
    - v = softmax over the pixels of the cosine, without temperature, goes through a second softmax: of values in
      [0, 1] that sum to 1 over n pixels, which gives numbers next to 1/n, and so D_J next to 0 and exp(−D_J) to 1.

    **Arguments:**

    - `pseudo_mask`: class index per pixel, C for background, of any class.
    """
    classes = len(slots)
    shifted = (pseudo_mask + 1) % (classes + 1)
    with torch.autocast(features.device.type, enabled=False):
        unit = F.normalize(features.to(prototypes.dtype), dim=1)
        cosine = torch.einsum("bdhw,kd->bkhw", unit, F.normalize(prototypes, dim=1))
    outside = shifted.unsqueeze(1) != class_of.view(1, -1, 1, 1)
    first = cosine.masked_fill(outside, -1e9).flatten(2).softmax(2).view_as(cosine)  # not -inf: all may be outside
    everything = torch.ones(len(features), classes, device=features.device)
    return diversity_loss(first, shifted, everything, slots, real, temperature=1.0)


def released_contrast(
    images: Float[Tensor, "B 3 H W"],
    maps: Float[Tensor, "B K h w"],
    pairs: Pairs,
    prototypes: Float[Tensor, "K D"],
    class_of: Int[Tensor, " K"],
    encode: Callable[[Float[Tensor, "n 3 a b"]], Float[Tensor, "n D"]],
    *,
    threshold: float,
    temperature: float,
    size: int | None = None,
    chunk: int | Chunk = 8,
) -> ContrastTerms:
    """L_FG and L_BG as published: the map that masks the image is a logit and no share.

    - a is the map itself, about −14 to 14, so M·a·X and (1 − M)·(1 − a)·X are no images; what is masked is black.
    - The threshold of M is α times the highest value of any prototype in the image, which leaves weaker prototypes
      without foreground.
    - Prototypes of the same class are negatives of one another.

    Arguments are those of `lpdseg.losses.contrast.contrast_loss`.
    """
    index = pairs.images
    highest = maps.detach().amax((1, 2, 3))
    sized = images if size is None else resize(images, size)

    def sums(own: Tensor, shared: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        shown = sized[index[part]]
        soft = F.interpolate(own.unsqueeze(1), size=shown.shape[-2:], mode="bilinear", align_corners=False)
        hard = (soft >= threshold * highest[index[part]].view(-1, 1, 1, 1)).to(soft.dtype)
        features = encode(torch.cat([hard * soft * shown, (1 - hard) * (1 - soft) * shown]))
        own_pairs = pairs.prototypes[part], pairs.weights[part]
        return pair_sums(features, *own_pairs, shared, class_of, temperature, "published")

    return over_pairs(sums, maps[index, pairs.prototypes], pairs.weights, prototypes, chunk)
