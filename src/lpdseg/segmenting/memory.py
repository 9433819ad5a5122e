"""Computing what may be too large for the memory of the device."""

from collections.abc import Callable
from typing import TypeVar

import torch

Given = TypeVar("Given")
Result = TypeVar("Result")


def if_it_fits(compute: Callable[[Given], Result], given: Given) -> Result | None:
    """What `compute` makes of `given`; None where memory ran out, which then is free again for a smaller try.

    Any other fault is raised.
    """
    try:
        return compute(given)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
    # Outside the handler, since the error's traceback holds on to the tensors.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; on the CPU PyTorch tells only by its words."""
    told = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return told or "can't allocate memory" in str(error) or "not enough memory" in str(error)
