"""Files of `torch.save`, the only pickles that are read: their tensors and plain values, by no code of theirs."""

import io
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MOST = 32 << 30
"""Bytes of the largest file that is opened."""


class RefusedError(ValueError):
    """A pickle that is not opened, or whose content is not used; the message says why."""


def read_pickle(source: Path | bytes) -> Any:
    """What a file of `torch.save` holds, with its tensors on the CPU.

    **Raises:** `RefusedError` for a file of more than `MOST` bytes, for one that unpacks to more than it has, and
    for tensors that are more than it holds; anything else for what is damaged or needs code to be opened.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MOST:
        raise RefusedError(f"it has {size:,} bytes, and {MOST:,} are the most")
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > size:  # torch.save packs nothing
                raise RefusedError("it is packed, and would unpack to more than it has")
    if isinstance(file, io.BytesIO):
        file.seek(0)
    # The settings of a training, which many checkpoints hold as well, are data.
    with torch.serialization.safe_globals([Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is refused
        found = torch.load(file, map_location="cpu", weights_only=True)
    if any(
        values.layout != torch.strided or values.nbytes > values.untyped_storage().nbytes()
        for values in _tensors(found)
    ):
        raise RefusedError("it holds tensors that are larger than what it has of them")
    return found


def _tensors(found: Any) -> Iterator[Tensor]:
    waiting, seen = [found], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict | list | tuple | Namespace) and id(value) not in seen:
            seen.add(id(value))
            inside = vars(value) if isinstance(value, Namespace) else value
            waiting += inside.values() if isinstance(inside, dict) else inside
