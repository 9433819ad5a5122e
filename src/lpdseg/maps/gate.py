"""The image-level gate: which classes may appear in the mask of an image (method §4, §6).

B images, C classes.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lpdseg.errors import SettingsError

Gate = Literal["predicted", "oracle", "none"]


def open_gate(
    gate: Gate,
    probabilities: Float[Tensor, "B C"],
    thresholds: Float[Tensor, " C"],
    labels: Bool[Tensor, "B C"] | None,
    has_background: bool,
) -> Bool[Tensor, "B C"]:
    """The classes that may appear.

    - `predicted`: image-level probability at or above the class's threshold. Where every pixel belongs to a class
      (no background) and none passes, the class nearest to its threshold does.
    - `oracle`: the classes of the ground truth; for comparison with published tables only.
    - `none`: all.

    **Raises:** `SettingsError` for the oracle gate without labels.
    """
    if gate == "none":
        return torch.ones_like(probabilities, dtype=torch.bool)
    if gate == "oracle":
        if labels is None:
            raise SettingsError("the oracle gate needs ground-truth labels; use the gate 'predicted' or 'none'")
        return labels.bool()
    passed = probabilities >= thresholds
    if has_background:
        return passed
    nearest = torch.zeros_like(passed)
    nearest.scatter_(1, (probabilities - thresholds).argmax(1, keepdim=True), True)
    return torch.where(passed.any(1, keepdim=True), passed, nearest)
