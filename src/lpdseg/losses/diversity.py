"""Jeffrey's-divergence diversity L_div (method §2).

B images, C classes, k prototypes per class, K in all; H x W pixels of the last scale; M pairs of an image and a
class that is present in it.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpdseg.losses.composite import nearest, nothing_here
from lpdseg.losses.objective import Seen, Single
from lpdseg.losses.pseudo import IGNORED
from lpdseg.losses.term import Term, global_mean, of_all
from lpdseg.maps.labelling import pseudo_mask
from lpdseg.model.device import runs_ahead
from lpdseg.model.head import PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.sections import DiversitySettings

_NO_MASS = -1e9
"""log Σ_u exp of no pixels: finite, so that no product is NaN, and exp of it is 0."""


class Diversity(Single):
    """L_div between the prototypes of the dense map, over composites, whose masks are known.

    Or, as published, between those of the last scale, over pseudo masks.

    **Arguments:**

    - `start`: the share of the steps from which it counts.
    - `power`: of background in the pseudo mask; None where every pixel belongs to a class.
    - `composites`: whether there are composites.
    """

    titles: ClassVar[Mapping[str, str]] = {"diversity": "prototype similarity, L_div"}

    def __init__(
        self, model: LPD, settings: DiversitySettings, start: float, power: float | None, composites: bool = False
    ) -> None:
        self.last = model.scales - 1
        self.composites = composites and isinstance(model.head, PrototypeHead) and settings.source == "auto"
        super().__init__(settings.weight, start, levels=[] if self.composites else [self.last])
        self.model, self.settings, self.power = model, settings, power

    def mean(self, seen: Seen) -> Float[Tensor, ""]:
        """See `Single`."""
        return global_mean(self._of_dense_map(seen) if self.composites else self._of_last_scale(seen))

    def _of_dense_map(self, seen: Seen) -> Term:
        head, bank = self.model.head, self.model.bank
        assert isinstance(head, PrototypeHead)
        classes = len(bank.slots)
        if (
            seen.composite is None
        ):  # other processes have some, and want to know what this one has: a pixel of glass
            nothing = nothing_here(self.model)
            cosine = nothing.total.expand(1, len(bank.class_of), 1, 1)
            return self._compare(
                cosine, torch.full_like(cosine[:, 0], classes).long(), cosine.new_zeros(1, classes)
            )
        assert seen.composite.cosine is not None and seen.composite_mask is not None
        cosine = seen.composite.cosine
        mask = nearest(seen.composite_mask, (cosine.shape[-2], cosine.shape[-1]))
        mask = torch.where(mask == IGNORED, classes, mask)
        labels = F.one_hot(mask, classes + 1)[..., :classes].amax((1, 2)).to(cosine.dtype)
        return self._compare(cosine, mask, labels)

    def _of_last_scale(self, seen: Seen) -> Term:
        output, bank = seen.outputs[self.last], self.model.bank
        # Masks come from the soft maximum whatever the training's merge is: it is the class map of prediction.
        mask = pseudo_mask(self.model.merge(output.maps.detach(), "softmax"), seen.labels, self.power)
        cosine = output.cosine
        if self.settings.space == "raw":
            cosine = self.model.cosines[self.last](seen.features[self.last], bank.weight)
        return self._compare(cosine, mask, seen.labels)

    def _compare(self, cosine: Tensor, mask: Tensor, labels: Tensor) -> Term:
        pixels, slots, real = self.settings.pixels, self.model.bank.slots, self.model.compared
        chosen = None if pixels == "image" else mask
        return diversity_loss(cosine, chosen, labels, slots, real, self.settings.temperature, pixels == "batch")


def diversity_loss(
    cosine: Float[Tensor, "B K H W"],
    pseudo_mask: Int[Tensor, "B H W"] | None,
    labels: Float[Tensor, "B C"],
    slots: Int[Tensor, "C k"],
    real: Bool[Tensor, "C k"],
    temperature: float,
    over_batch: bool = False,
) -> Term:
    """Mean over (image, class with |Ω_c| ≥ 2) of the mean over prototype pairs of exp(−D_J); in (0, 1].

    v_κ = softmax over u in Ω_c of cos(F(u), P(κ)) / τ_v; D_J(U, V) = KL(U‖V) + KL(V‖U) = Σ (U − V)(log U − log V).
    Classes with one prototype have no pairs and are not counted.

    **Arguments:**

    - `cosine`: between features and *projected* prototypes, as in the maps.
    - `pseudo_mask`: class index per pixel, C where the pixel belongs to none; only classes of the label. None takes
      every pixel of the image for Ω_c.
    - `temperature`: τ_v.
    - `over_batch`: Ω_c is the class's pixels in all images of the batch, of all processes, at once: prototypes may
      then differ by the images that they answer in, as sub-types do. Needs a pseudo mask.
    """
    over_batch = over_batch and pseudo_mask is not None
    if pseudo_mask is not None and over_batch:
        cosine, pseudo_mask = cosine.transpose(0, 1).flatten(1, 2).unsqueeze(0), pseudo_mask.flatten(0, 1)[None]
        labels = of_all(labels.amax(0)).amax(0, keepdim=True)
    wanted = (labels > 0) & (real.sum(1) >= 2)
    image, of_class = _worth_comparing(wanted)
    if pseudo_mask is None:
        inside = torch.ones_like(cosine[image, 0], dtype=torch.bool)
    else:
        inside = pseudo_mask[image] == of_class.view(-1, 1, 1)
    similarity = jeffrey_similarity(cosine, inside, slots, temperature, (image, of_class), over_batch)
    area = inside.sum((1, 2))
    if over_batch:
        area = of_all(area.to(similarity.dtype)).sum(0)
    upper = torch.ones_like(similarity[:1], dtype=torch.bool).triu(1)
    counted = (wanted[image, of_class] & (area >= 2)).view(-1, 1, 1)
    pairs = upper & real[of_class].unsqueeze(1) & real[of_class].unsqueeze(2) & counted
    number = pairs.sum((1, 2))
    # where, not a product: a row that is not counted may hold anything
    per_class = torch.where(pairs, similarity, 0.0).sum((1, 2)) / number.clamp(min=1)
    return Term(per_class.sum(), (number > 0).sum().to(per_class.dtype))


def _worth_comparing(wanted: Bool[Tensor, "B C"]) -> tuple[Int[Tensor, " M"], Int[Tensor, " M"]]:
    """Images and classes of the pairs that are wanted, or of all where it takes long to ask which those are."""
    if not runs_ahead(wanted.device):
        return wanted.nonzero(as_tuple=True)  # type: ignore[return-value]
    places = torch.arange(wanted.numel(), device=wanted.device)
    return places // wanted.shape[1], places % wanted.shape[1]


def jeffrey_similarity(
    cosine: Float[Tensor, "B K H W"],
    omega: Bool[Tensor, "M H W"],
    slots: Int[Tensor, "C k"],
    temperature: float,
    wanted: tuple[Int[Tensor, " M"], Int[Tensor, " M"]],
    of_processes: bool = False,
) -> Float[Tensor, "M k k"]:
    """exp(−D_J) of every two prototypes of a class over the pixels Ω, for the wanted (image, class) pairs.

    All pairs at once: with G_ij = Σ_u v_i(u) log v_j(u), D_J(i, j) = G_ii + G_jj − G_ij − G_ji.

    **Arguments:**

    - `of_processes`: Ω are the pixels of all processes, whose pairs are the same.
    """
    image, of_class = wanted
    inside = omega.flatten(1).unsqueeze(1)
    empty = ~inside.any(2, keepdim=True)
    inside = inside | empty  # an empty Ω would give NaN; the caller does not count it
    values = cosine[image.unsqueeze(1), slots[of_class]].flatten(2) / temperature
    values = values.masked_fill(~inside, -torch.inf)
    log_v = values.log_softmax(2)
    v = log_v.exp()
    with torch.autocast(cosine.device.type, enabled=False):  # D_J is a small difference of large sums
        cross = v @ log_v.masked_fill(~inside, 0.0).transpose(1, 2)
        if of_processes:
            cross = _joined(cross, values.logsumexp(2).masked_fill(empty[..., 0], _NO_MASS))
    own = cross.diagonal(dim1=1, dim2=2)
    divergence = own.unsqueeze(1) + own.unsqueeze(2) - cross - cross.transpose(1, 2)
    return (-divergence.clamp(min=0)).exp()


def _joined(cross: Float[Tensor, "M k k"], mass: Float[Tensor, "M k"]) -> Float[Tensor, "M k k"]:
    """G over the pixels of all processes, from the G and the log Σ_u exp of each: no pixel leaves its process.

    Each process counts as its share of the mass of v_i, and log v_j is lower by what masses of j differ.
    """
    parts = of_all(torch.cat([cross, mass.unsqueeze(2)], 2))
    cross, mass = parts[..., :-1], parts[..., -1]
    lower = mass.logsumexp(0) - mass
    return (mass.softmax(0).unsqueeze(3) * (cross - lower.unsqueeze(2))).sum(0)
