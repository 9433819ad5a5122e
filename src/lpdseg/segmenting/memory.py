"""Computing what may be too large for the memory of the device."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Given = TypeVar("Given")
Result = TypeVar("Result")

AT_ONCE = 1 << 22
"""Pixels of the images of a batch: 83 patches of 224 px, and 1.3 GB with the smallest encoder."""

_BYTES_PER_PIXEL = 250
"""That segmenting takes at least; 290 were measured with the smallest encoder and 40 prototypes."""

_AVAILABLE = re.compile(r"^MemAvailable: +([0-9]+) kB$", re.MULTILINE)


def at_once(pixels: int, most: int) -> int:
    """How many images of so many pixels go through a network at once, `most` at most: many large ones would take
    the memory of the machine, which Linux gives until it ends the process.
    """
    return max(1, min(most, AT_ONCE // pixels))


def is_too_large(pixels: int, device: torch.device) -> bool:
    """Whether an image of so many pixels cannot be segmented in the memory that the machine has left. Of other
    devices than the CPU, whose own library tells, and where the system does not say, none is.
    """
    if device.type != "cpu" or pixels <= AT_ONCE:
        return False
    free = free_memory()
    return free is not None and pixels * _BYTES_PER_PIXEL > free


def free_memory() -> int | None:
    """Bytes that the machine has for new work; None where the system does not say."""
    try:
        found = _AVAILABLE.search(Path("/proc/meminfo").read_text(encoding="utf-8"))
    except OSError:
        return None
    return None if found is None else int(found[1]) << 10


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
