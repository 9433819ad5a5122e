"""Learnable class prototypes, and their projections to the width of each scale (method §1).

C classes, k prototypes per class, K prototypes in all (class-major), D width of a prototype, C_l width of scale l.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lpdseg.maps.merge import class_slots


class PrototypeBank(nn.Module):
    """The shared bank P, drawn from N(0, 1).

    **Attributes:**

    - `weight`: K x D.
    - `class_of`: K, the class of each prototype.
    - `slots`, `real`: see `lpdseg.maps.merge.class_slots`.
    """

    class_of: Int[Tensor, " K"]
    slots: Int[Tensor, "C k"]
    real: Bool[Tensor, "C k"]

    def __init__(self, counts: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.counts = counts
        self.weight = nn.Parameter(torch.randn(sum(counts), width))
        slots, real = class_slots(counts)
        classes = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts), output_size=sum(counts))
        self.register_buffer("class_of", classes, persistent=False)
        self.register_buffer("slots", slots, persistent=False)
        self.register_buffer("real", real, persistent=False)


class Projection(nn.Module):
    """A_l: Linear(D → hidden), ReLU, Linear(hidden → C_l); weights trunc-normal 0.02, bias 0."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, prototypes: Float[Tensor, "K D"]) -> Float[Tensor, "K C_l"]:
        """P → P_l, in float32 whatever the autocast type."""
        with torch.autocast(prototypes.device.type, enabled=False):
            projected: Tensor = self.layers(prototypes.float())
        return projected


class CosineMap(nn.Module):
    """cos(F_l(u), P_l(j)) for every pixel u and prototype j, and the learnable scale s_l that makes it a logit."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    @property
    def scale(self) -> Float[Tensor, ""]:
        """s_l > 0, starting at 1 / temperature."""
        return self.log_scale.exp()

    def forward(
        self, features: Float[Tensor, "B C_l H_l W_l"], projected: Float[Tensor, "K C_l"]
    ) -> Float[Tensor, "B K H_l W_l"]:
        """Cosines in [-1, 1], in float32: a zero vector normalised in half precision is NaN."""
        with torch.autocast(features.device.type, enabled=False):
            unit = F.normalize(features.float(), dim=1)
            return torch.einsum("bchw,kc->bkhw", unit, F.normalize(projected.float(), dim=1))
