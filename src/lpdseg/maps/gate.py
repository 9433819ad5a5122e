"""The image-level gate: which classes may appear in the mask of an image (method §4, §6).

B images, C classes.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lpdseg.choices import Gate
from lpdseg.errors import SettingsError


def open_gate(
    gate: Gate,
    probabilities: Float[Tensor, "B C"],
    thresholds: Float[Tensor, " C"],
    labels: Bool[Tensor, "B C"] | None,
    may_be_empty: bool,
) -> Bool[Tensor, "B C"]:
    """The classes that may appear.

    - `predicted`: image-level probability at or above the class's threshold. Where none passes, the class
      nearest to its threshold does, unless `may_be_empty` says that an image can be without tissue.
      A probability that is no number passes.
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
    passed = ~(probabilities < thresholds)  # what is no number passes, so that it is met in the mask
    if may_be_empty:
        return passed
    nearest = torch.zeros_like(passed)
    nearest.scatter_(1, (probabilities - thresholds).argmax(1, keepdim=True), True)
    return torch.where(passed.any(1, keepdim=True), passed, nearest)
