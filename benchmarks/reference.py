"""LPD's training losses from the method's equations with the obvious loops: the yardstick for speed and exactness.

One image, class, prototype and pair at a time, one pass of the frozen image encoder for each foreground and each
background, everything in float32. The package uses nothing of it; `tests/benchmarks/test_reference.py` compares.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lpdseg.model.lpd import LPD
from lpdseg.sections import LossSettings

Encode = Callable[[Tensor, Tensor], Tensor]


def reference_loss(
    model: LPD,
    settings: LossSettings,
    images: Tensor,
    labels: Tensor,
    encode: Encode | None,
    contrast_prototypes: Callable[[Tensor], Tensor] | None = None,
    background_power: float | None = None,
) -> dict[str, Tensor]:
    """The objective of method §2 after its warm-up, with `model.merge: mean`.

    **Arguments:**

    - `images`: B x 3 x H x W, RGB in [0, 1]. `labels`: B x C.
    - `encode`: the frozen image encoder, of masked images and the share of each pixel shown; None for no contrast.
    - `contrast_prototypes`: prototypes → the space of `encode`; None takes those projected to the last scale.
    - `background_power`: of the pseudo mask; None where every pixel belongs to a class.

    **Raises:** `ValueError` for settings that it does not know.
    """
    contrast, diversity = settings.contrast, settings.diversity
    plain = contrast.size is None and contrast.pairs_per_image is None and not settings.teaches_head
    if not plain or (diversity.space, diversity.pixels) != ("projected", "class"):
        raise ValueError("the reference has no sized or sampled contrast, no head, and one kind of diversity")
    features = model.encoder(images)
    counts, last = model.bank.counts, model.scales - 1
    owner = [c for c, count in enumerate(counts) for _ in range(count)]
    maps, cosines = [], []
    for level, values in enumerate(features):
        projected = model.projections[level](model.bank.weight)
        cosine = torch.stack(
            [
                torch.stack([F.cosine_similarity(image, one[:, None, None], dim=0) for one in projected])
                for image in values.float()
            ]
        )
        cosines.append(cosine)
        maps.append(cosine * model.cosines[level].scale)
    parts = {"classification": _classification(maps, labels, counts, settings.scale_weights)}
    loss = parts["classification"]
    if encode is not None and settings.contrast.weight > 0:
        projected = model.projections[last](model.bank.weight)
        compared = projected if contrast_prototypes is None else contrast_prototypes(model.bank.weight)
        parts |= _contrast(images, maps[last], labels, compared, owner, encode, settings)
        bracket = parts["foreground"] + parts["background"] + settings.contrast.map_weight * parts["map_mean"]
        loss = loss + settings.contrast.weight * bracket
    if settings.diversity.weight > 0:
        parts["diversity"] = _diversity(
            cosines[last], maps[last], labels, counts, settings.diversity.temperature, background_power
        )
        loss = loss + settings.diversity.weight * parts["diversity"]
    return {"loss": loss, **parts}


def _own(counts: tuple[int, ...], c: int) -> range:
    return range(sum(counts[:c]), sum(counts[: c + 1]))


def _classification(
    maps: list[Tensor], labels: Tensor, counts: tuple[int, ...], weights: tuple[float, ...]
) -> Tensor:
    terms = []
    for scale, weight in zip(maps, weights, strict=True):
        for image, label in zip(scale, labels, strict=True):
            for c in range(len(counts)):
                logit = torch.stack([image[j].mean() for j in _own(counts, c)]).mean()
                terms.append(weight * F.binary_cross_entropy_with_logits(logit, label[c]))
    return torch.stack(terms).sum() / labels.numel()


def _contrast(
    images: Tensor,
    maps: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    owner: list[int],
    encode: Encode,
    settings: LossSettings,
) -> dict[str, Tensor]:
    contrast = settings.contrast
    foreground, background, means = [], [], []
    for image, own_maps, label in zip(images, maps, labels, strict=True):
        logits = [own_maps[j].mean() for j in range(len(owner))]
        for j, c in enumerate(owner):
            siblings = [logits[n] for n, other in enumerate(owner) if other == c]
            if label[c] == 0 or logits[j] < torch.stack(siblings).mean():
                continue
            soft = (own_maps[j] - own_maps[j].min()) / (own_maps[j].max() - own_maps[j].min()).clamp(min=1e-6)
            means.append(soft.mean())
            soft = F.interpolate(soft[None, None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0]
            hard = (soft >= contrast.threshold * soft.max()).float()
            shares = hard * soft, (1 - hard) * (1 - soft)
            fill = 1.0 if contrast.fill == "white" else 0.0
            fg, bg = (encode((fill + (image - fill) * share)[None], share[None])[0] for share in shares)
            others = [
                n
                for n, other in enumerate(owner)
                if (other != c if contrast.negatives == "other_classes" else n != j)
            ]

            def score(feature: Tensor, n: int) -> Tensor:
                return (F.cosine_similarity(feature, prototypes[n], dim=0) / contrast.temperature).exp()

            positive, rest = score(fg, j), torch.stack([score(fg, n) for n in others]).sum()
            foreground.append(-(positive / (positive + rest)).log())
            away = torch.stack([score(bg, n) for n in others]).sum()
            background.append(-(away / (away + score(bg, j))).log())
    terms = {"foreground": foreground, "background": background, "map_mean": means}
    return {name: torch.stack(values).mean() if values else maps.sum() * 0 for name, values in terms.items()}


def _diversity(
    cosine: Tensor,
    maps: Tensor,
    labels: Tensor,
    counts: tuple[int, ...],
    temperature: float,
    background_power: float | None,
) -> Tensor:
    values = []
    for own_cosine, own_maps, label in zip(cosine, maps.detach(), labels, strict=True):
        mask = _pseudo_mask(own_maps, label, counts, background_power)
        for c, count in enumerate(counts):
            omega = mask == c
            if label[c] == 0 or count < 2 or int(omega.sum()) < 2:
                continue
            v = [(own_cosine[j][omega] / temperature).log_softmax(0) for j in _own(counts, c)]
            similar = []
            for a in range(count):
                for b in range(a + 1, count):
                    divergence = ((v[a].exp() - v[b].exp()) * (v[a] - v[b])).sum()
                    similar.append((-divergence).exp())
            values.append(torch.stack(similar).mean())
    return torch.stack(values).mean() if values else cosine.sum() * 0


def _pseudo_mask(maps: Tensor, label: Tensor, counts: tuple[int, ...], background_power: float | None) -> Tensor:
    scores = []
    for c in range(len(counts)):
        own = torch.stack([maps[j] for j in _own(counts, c)])
        merged = (own.softmax(0) * own).sum(0).relu()
        merged = (merged - merged.min()) / (merged.max() - merged.min()).clamp(min=1e-6)
        scores.append(merged if label[c] > 0 else torch.full_like(merged, -1.0))
    best, index = torch.stack(scores).max(0)
    index[best < 0] = len(counts)
    if background_power is not None:
        index[(1 - best.clamp(min=0)) ** background_power > best] = len(counts)
    return index
