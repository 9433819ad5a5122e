"""Per-map min–max normalisation."""

from jaxtyping import Float
from torch import Tensor


def unit_range(maps: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
    """Each map shifted and scaled to [0, 1]; a constant map becomes 0."""
    low = maps.amin((-2, -1), keepdim=True)
    spread = maps.amax((-2, -1), keepdim=True) - low
    return (maps - low) / spread.clamp(min=1e-6)
