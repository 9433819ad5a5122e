"""Foreground/background contrast L_sim with a frozen image encoder (method §2).

N active pairs of an image i and a prototype j; K prototypes in all, of width D; H x W pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpdseg.choices import Fill, Negatives
from lpdseg.losses.active import Pairs, active_by_share, active_prototypes, draw_pairs
from lpdseg.losses.chunks import Chunk, PairSums, chunked_sums
from lpdseg.losses.objective import Objective, Seen
from lpdseg.losses.term import Term, global_mean
from lpdseg.maps.normalise import unit_range
from lpdseg.model.head import PrototypeHead
from lpdseg.model.image_encoders import ImageEncoder
from lpdseg.model.lpd import LPD
from lpdseg.model.prototypes import Projection
from lpdseg.sections import ContrastSettings


@dataclass(frozen=True)
class ContrastTerms:
    """What the contrast adds to the loss, and its parts.

    - `both`: L_FG + L_BG, with its gradient.
    - `foreground`, `background`: L_FG and L_BG by themselves, without gradient.
    - `map_mean`: the mean of the soft maps, which the regulariser weighs.
    """

    both: Term
    foreground: Term
    background: Term
    map_mean: Term

    def bracket(self, map_weight: float) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """L_FG + L_BG + μ · mean map, over the batch of all processes, and its parts by name."""
        parts = {
            "foreground": global_mean(self.foreground),
            "background": global_mean(self.background),
            "map_mean": global_mean(self.map_mean),
        }
        return global_mean(self.both) + map_weight * parts["map_mean"], parts


CONTRAST_TITLES = {
    "foreground": "foreground contrast, L_FG",
    "background": "background contrast, L_BG",
    "map_mean": "mean map",
}


class Contrast(Objective):
    """L_sim of the active prototypes of the dense map, or as published of the last scale.

    **Arguments:**

    - `image_encoder`: the frozen image encoder; None for no contrast.
    - `head`: takes prototypes to the image encoder's space; None where that is the last scale's.
    - `start`: the share of the steps from which it counts: before, maps tell nothing that is worth cutting out.
    """

    titles: ClassVar[Mapping[str, str]] = CONTRAST_TITLES
    pixels = True

    def __init__(
        self,
        model: LPD,
        settings: ContrastSettings,
        image_encoder: ImageEncoder | None,
        head: Projection | None,
        start: float,
    ) -> None:
        self.last = model.scales - 1
        super().__init__(0.0 if image_encoder is None else settings.weight, start, levels=[self.last])
        self.model, self.settings, self.image_encoder, self.head = model, settings, image_encoder, head
        self.chunk: Chunk = Chunk(settings.chunk)

    def __call__(self, seen: Seen) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """See `Objective`."""
        assert self.image_encoder is not None
        maps, bank, head = seen.outputs[self.last].maps, self.model.bank, self.model.head
        # Which prototypes are active is a choice, not something to learn: no gradient goes through it.
        if isinstance(head, PrototypeHead) and self.settings.source == "auto":
            dense = self.model.dense(seen.features)
            assert dense.cosine is not None
            maps = dense.cosine * head.cosine.scale
            probability = dense.logits.detach().softmax(1)
            active = active_by_share(probability, seen.labels, bank.class_of, self.model.live)
        else:
            logits = maps.mean((2, 3)).detach()
            own = bank.slots, self.model.compared
            active = active_prototypes(logits, seen.labels, bank.class_of, *own) & self.model.live
        pairs = draw_pairs(active, self.settings.pairs_per_image)
        projected = seen.outputs[self.last].projected if self.head is None else self.head(bank.weight)
        return self.compare(seen.images, maps, pairs, projected, self.image_encoder).bracket(
            self.settings.map_weight
        )

    def compare(
        self, images: Tensor, maps: Tensor, pairs: Pairs, projected: Tensor, image_encoder: ImageEncoder
    ) -> ContrastTerms:
        """The losses of the pairs."""
        settings = self.settings
        return contrast_loss(
            images,
            maps,
            pairs,
            projected,
            self.model.bank.class_of,
            image_encoder,
            threshold=settings.threshold,
            temperature=settings.temperature,
            negatives=settings.negatives,
            fill=settings.fill,
            size=settings.size,
            chunk=self.chunk,
            live=self.model.live,
        )


def contrast_loss(
    images: Float[Tensor, "B 3 H W"],
    maps: Float[Tensor, "B K h w"],
    pairs: Pairs,
    prototypes: Float[Tensor, "K D"],
    class_of: Int[Tensor, " K"],
    encode: Callable[[Float[Tensor, "n 3 a b"], Float[Tensor, "n 1 a b"]], Float[Tensor, "n D"]],
    *,
    threshold: float,
    temperature: float,
    negatives: Negatives = "other_classes",
    fill: Fill = "white",
    size: int | None = None,
    chunk: int | Chunk = 8,
    live: Bool[Tensor, " K"] | None = None,
) -> ContrastTerms:
    """L_FG and L_BG over the active pairs, foreground and background encoded in one pass; 0 where there are none.

    **Arguments:**

    - `images`: RGB in [0, 1].
    - `maps`: the last scale's prototype maps; their gradient is kept through the soft mask.
    - `pairs`: the active (i, j).
    - `prototypes`: in the space that `encode` maps into.
    - `encode`: the frozen image encoder, of masked images and of the share of each pixel that is shown; it must let
      the gradient through to its input.
    - `threshold`: α of the hard mask M = [a ≥ α · max a], the maximum per pair.
    - `temperature`: τ.
    - `size`: side at which the masked images are encoded; None keeps H x W.
    - `chunk`: pairs that are encoded at once; it bounds the memory and changes nothing but rounding.
    - `live`: prototypes that may be negatives; None for all.
    """
    soft = unit_range(maps[pairs.images, pairs.prototypes])  # a in [0, 1], so its maximum is 1
    sized = images if size is None else resize(images, size)

    def sums(own: Tensor, shared: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        shown = sized[pairs.images[part]]
        share = F.interpolate(own.unsqueeze(1), size=shown.shape[-2:], mode="bilinear", align_corners=False)
        features = encode(
            torch.cat(split_image(shown, share, threshold, fill)), torch.cat(shown_shares(share, threshold))
        )
        own_pairs = pairs.prototypes[part], pairs.weights[part]
        return pair_sums(features, *own_pairs, shared, class_of, temperature, negatives, live)

    return over_pairs(sums, soft, pairs.weights, prototypes, chunk)


def over_pairs(
    sums: PairSums,
    soft: Float[Tensor, "N h w"],
    weights: Float[Tensor, " N"],
    prototypes: Float[Tensor, "K D"],
    chunk: int | Chunk,
) -> ContrastTerms:
    """The weighted means over all pairs of what `sums` adds up over some, and the mean of their maps."""
    count = weights.sum()
    chunk = chunk if isinstance(chunk, Chunk) else Chunk(chunk)
    both, foreground, background = chunked_sums(sums, soft, prototypes, chunk)
    map_mean = Term((weights * soft.mean((1, 2))).sum(), count)
    return ContrastTerms(Term(both, count), Term(foreground, count), Term(background, count), map_mean)


def pair_sums(
    features: Float[Tensor, "N2 D"],
    prototype: Int[Tensor, " N"],
    weights: Float[Tensor, " N"],
    prototypes: Float[Tensor, "K D"],
    class_of: Int[Tensor, " K"],
    temperature: float,
    negatives: Negatives,
    live: Bool[Tensor, " K"] | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Weighted Σ L_FG and Σ L_BG from the embeddings of all foregrounds, followed by those of all backgrounds."""
    features = features.float()
    with torch.autocast(features.device.type, enabled=False):  # a product in half precision blurs the cosine
        logits = F.normalize(features, dim=1) @ F.normalize(prototypes.float(), dim=1).T / temperature
    other = negative_set(prototype, class_of, negatives, live)
    own = F.one_hot(prototype, logits.shape[1]).bool()
    fg_logits, bg_logits = logits.chunk(2)
    fg = _logsumexp(fg_logits, other | own) - fg_logits.gather(1, prototype.unsqueeze(1)).squeeze(1)
    bg = _logsumexp(bg_logits, other | own) - _logsumexp(bg_logits, other)
    return (weights * fg).sum(), (weights * bg).sum()


def shown_shares(
    soft: Float[Tensor, "N 1 H W"], threshold: float
) -> tuple[Float[Tensor, "N 1 H W"], Float[Tensor, "N 1 H W"]]:
    """M·a and (1 − M)·(1 − a): how much of each pixel the foreground and the background show, in [0, 1]."""
    hard = (soft >= threshold * soft.amax((2, 3), keepdim=True)).to(soft.dtype)
    return hard * soft, (1 - hard) * (1 - soft)


def split_image(
    images: Float[Tensor, "N 3 H W"], soft: Float[Tensor, "N 1 H W"], threshold: float, fill: Fill
) -> tuple[Float[Tensor, "N 3 H W"], Float[Tensor, "N 3 H W"]]:
    """X_fg = M·a·X and X_bg = (1 − M)·(1 − a)·X.

    `black` is the formula as published; `white` applies the same shares to 1 − X, so that what is masked out
    turns into glass instead of into a colour that no slide has.
    """
    foreground, background = shown_shares(soft, threshold)
    if fill == "black":
        return images * foreground, images * background
    return 1 + (images - 1) * foreground, 1 + (images - 1) * background


def negative_set(
    prototype: Int[Tensor, " N"],
    class_of: Int[Tensor, " K"],
    negatives: Negatives,
    live: Bool[Tensor, " K"] | None = None,
) -> Bool[Tensor, "N K"]:
    """N(j): prototypes of other classes that are `live`; as published, every prototype but j itself."""
    if negatives == "published":
        other = torch.arange(len(class_of), device=class_of.device) != prototype.unsqueeze(1)
    else:
        other = class_of != class_of[prototype].unsqueeze(1)
    return other if live is None else other & live


def _logsumexp(logits: Float[Tensor, "N K"], keep: Bool[Tensor, "N K"]) -> Float[Tensor, " N"]:
    return logits.masked_fill(~keep, -torch.inf).logsumexp(1)


def resize(images: Float[Tensor, "B 3 H W"], size: int) -> Float[Tensor, "B 3 size size"]:
    """Images at the side that they are encoded at."""
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
