"""Confusion matrices of many patches at once, where their pixels are.

B patches of one size, n channels of truth (background last). Rows of a matrix are truth, columns prediction.
"""

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from lpdseg.errors import DataError
from lpdseg.model.device import runs_ahead
from lpdseg.tissue import IGNORE


def counted(places: Int[Tensor, "..."], number: int) -> Int[Tensor, " number"]:
    """How often each of 0..`number` − 1 is among the places, int64.

    As `torch.bincount`, for which the host would wait for a device to tell the highest of them.
    """
    flat = places.flatten()
    if not runs_ahead(flat.device):
        return torch.bincount(flat, minlength=number)
    ones = torch.ones((), dtype=torch.long, device=flat.device).expand(len(flat))
    return torch.zeros(number, dtype=torch.long, device=flat.device).scatter_add_(0, flat.long(), ones)


def count_pairs(
    truth: UInt8[Tensor, "B H W"], predicted: UInt8[Tensor, "B H W"], channels: int
) -> Int[Tensor, "B m k"]:
    """Counts the pixels of every pair (truth, prediction) for each patch; `confusion_matrices` reads the table.

    m is n + 2 and k is n + 1: indices above n − 1 are one row and one column, and `IGNORE` is the last row.
    """
    n = channels
    size = (n + 2) * (n + 1)
    narrow = torch.uint8 if size <= 256 else torch.int32  # few channels, as there mostly are, need one byte
    row = (truth.clamp(max=n) + (truth == IGNORE)).to(narrow)
    pair = (row.mul_(n + 1) + predicted.clamp(max=n)).flatten(1)
    patch = torch.arange(len(truth), dtype=torch.int32, device=truth.device)[:, None]
    return counted(pair + patch * size, len(truth) * size).view(-1, n + 2, n + 1)


def confusion_matrices(pairs: Int[Tensor, "B m k"]) -> Int[np.ndarray, "B n n"]:
    """The matrices that `lpdseg.evaluation.confusion.confusion_matrix` gives patch by patch, of their table.

    **Raises:** `DataError` for indices that are no channel.
    """
    table: np.ndarray = pairs.cpu().numpy()[:, :-1]
    for name, stray in (("mask", table[:, -1]), ("prediction", table[..., -1])):
        if stray.any():
            raise DataError(
                f"a {name} holds a value above {table.shape[2] - 2}, the last channel; check the values of the "
                "tissue classes"
            )
    return table[:, :-1, :-1]
