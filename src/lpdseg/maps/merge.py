"""From prototypes to classes: the mean while training, a soft maximum in prediction (method §1).

B images, C classes, k prototypes per class (at most), K prototypes in all, class-major; `...` pixels or nothing.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpdseg.choices import HeadMerge, ImageMerge, Merge
from lpdseg.maps.constants import constant

_RETIRED = -1e4
"""Logit of a prototype that takes no part: finite, so that no sum of products is NaN, and exp of it is 0."""


def class_slots(counts: tuple[int, ...]) -> tuple[Int[Tensor, "C k"], Bool[Tensor, "C k"]]:
    """Where each class's prototypes stand among the K: indices, and which of them are real.

    Classes may differ in their number of prototypes; the shorter ones are filled with a repeated index that the
    second tensor marks False.
    """
    k = max(counts)
    first = torch.tensor([sum(counts[:c]) for c in range(len(counts))]).unsqueeze(1)
    number = torch.tensor(counts).unsqueeze(1)
    slot = torch.arange(k).unsqueeze(0)
    return first + slot.minimum(number - 1), slot < number


def by_class(values: Float[Tensor, "B K *pixels"], slots: Int[Tensor, "C k"]) -> Float[Tensor, "B C k *pixels"]:
    """Prototype values arranged by class; filled slots repeat a value and must be masked by the caller."""
    grouped: Tensor = values.index_select(1, slots.flatten()).unflatten(1, tuple(slots.shape))
    return grouped


def merge_prototypes(
    values: Float[Tensor, "B K *pixels"],
    slots: Int[Tensor, "C k"],
    real: Bool[Tensor, "C k"],
    merge: Merge,
) -> Float[Tensor, "B C *pixels"]:
    """Scores per prototype → scores per class.

    `mean` is (1/k) Σ_j z_j; `softmax` is Σ_j softmax_j(z)_j · z_j, a soft maximum that lies between the mean and
    the maximum.
    """
    grouped = by_class(values, slots)
    keep = real.view(1, *real.shape, *[1] * (grouped.ndim - 3))
    if merge == "mean":
        total: Tensor = (grouped * keep).sum(2)
        return total / keep.sum(2)
    weights: Tensor = grouped.masked_fill(~keep, -torch.inf).softmax(2)
    return (weights * grouped).sum(2)


def image_logits(
    maps: Float[Tensor, "B K H W"], slots: Int[Tensor, "C k"], real: Bool[Tensor, "C k"], merge: ImageMerge
) -> Float[Tensor, "B C"]:
    """Prototype maps → image-level logits of the classes: averaged over pixels, merged over prototypes.

    - `mean`: as published. It constrains the sum of a class's prototypes and none of them alone: prototypes that
      differ can cancel, and then their soft maximum, which prediction takes, means little.
    - `softmax`: the soft maximum of the averages; in each image one prototype of a class is enough.
    - `pixel`: the average of the soft maximum at each pixel, that is, of the class map that prediction uses. Each
      pixel may be claimed by another prototype, and what any prototype claims counts.
    """
    if merge == "pixel":
        return merge_prototypes(maps, slots, real, "softmax").mean((2, 3))
    return merge_prototypes(maps.mean((2, 3)), slots, real, merge)


def joint_logits(
    scores: Float[Tensor, "B K *pixels"],
    slots: Int[Tensor, "C k"],
    real: Bool[Tensor, "C k"],
    merge: HeadMerge,
) -> Float[Tensor, "B K *pixels"]:
    """Scores → logits g of all prototypes at once, class-major: a softmax over the K is that of classes, divided.

    With r_cj = softmax_j(z_cj), the share of a prototype in its class, g_cj = L_c + log r_cj. So Σ_j exp g_cj =
    exp L_c, the probability of a class is the sum of its prototypes', and the winner among siblings is the largest
    term of the class's own logit:

    - `softmax`: L_c = Σ_j r_cj z_cj, the soft maximum.
    - `logsumexp`: L_c = log Σ_j exp z_cj; then g = z.

    Prototypes that are not `real` take no part; each class needs one that is.
    """
    grouped = by_class(scores, slots)
    keep = real.view(1, *real.shape, *[1] * (grouped.ndim - 3))
    grouped = grouped.masked_fill(~keep, _RETIRED)
    if merge == "softmax":
        log_share = grouped.log_softmax(2)
        grouped = log_share + (log_share.exp() * grouped).sum(2, keepdim=True)
        grouped = grouped.masked_fill(~keep, _RETIRED)  # the same to the last bit in every runtime
    # Filled slots repeat the index of a prototype that comes before them, so the first place of each is its own.
    # How many there are must not hang on values: no graph could be written.
    indices = torch.arange(scores.shape[1], device=slots.device)
    own = (slots.flatten() == indices[:, None]).int().argmax(1)
    return grouped.flatten(1, 2).index_select(1, own)


def class_logits(
    joint: Float[Tensor, "B K *pixels"], slots: Int[Tensor, "C k"], real: Bool[Tensor, "C k"]
) -> Float[Tensor, "B C *pixels"]:
    """L_c = log Σ_j exp g_cj of `joint_logits`."""
    grouped = by_class(joint, slots)
    keep = real.view(1, *real.shape, *[1] * (grouped.ndim - 3))
    return grouped.masked_fill(~keep, _RETIRED).logsumexp(2)


def sum_parts(
    values: Float[Tensor, "B P *pixels"], parts: Sequence[int], classes: int
) -> Float[Tensor, "B C *pixels"]:
    """Values of parts, each of which belongs to a class, added up by class; a class without parts gets 0."""
    belongs = F.one_hot(constant(parts, values.device), classes).to(values.dtype)
    return torch.einsum("bp...,pc->bc...", values, belongs)
