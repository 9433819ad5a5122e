"""Numbers that are known beforehand, on the device that needs them.

An upload waits for all that the device has to do. What is the same in every batch is therefore uploaded once.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor


def constant(values: Sequence[int], device: torch.device) -> Int[Tensor, " N"]:
    """The numbers as a tensor, which nobody may change."""
    return _uploaded(tuple(values), device)


@lru_cache(maxsize=256)
def _uploaded(values: tuple[int, ...], device: torch.device) -> Int[Tensor, " N"]:
    with torch.inference_mode(False):  # a tensor of inference could not take part in training
        return torch.tensor(values, dtype=torch.long, device=device)
