"""Opening files of safetensors, whose header may be as long as it likes and name whatever it likes."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lpdseg.files import open_file

MOST_HEADER = 1 << 22
"""Bytes: some 40,000 tensors, each of which takes time and memory in every library that it goes through."""

_FLOATS = {"F64", "F32", "F16", "BF16"}
_OTHERS = {"I64", "I32", "I16", "I8", "U8", "BOOL"}
"""Of counts, places and masks, which networks hold beside their parameters."""
_PARAMETERS = (".weight", ".bias")


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a file, by name, as its header says; nothing else is read.

    **Raises:** `OSError`; `SafetensorError` for a file that is none, or whose header is too long.
    """
    with _looked_at(path), safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name. **Raises:** as `shapes`."""
    with _looked_at(path):
        return load_file(path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors with the rights that new files have in their folder; the library makes them its owner's alone,
    so that nobody else could read a run.

    **Raises:** `OSError`, `SafetensorError`.
    """
    save_file(dict(tensors), path, None if metadata is None else dict(metadata))
    path.chmod(path.parent.stat().st_mode & 0o666)


def check_kinds(path: Path) -> None:
    """Refuses pretrained weights whose parameters are of kinds that would have to be made floating-point numbers.

    **Raises:** as `shapes`.
    """
    with _looked_at(path), safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - no mapping
            kind = str(file.get_slice(name).get_dtype())
            if kind not in _FLOATS and (kind not in _OTHERS or name.endswith(_PARAMETERS)):
                raise SafetensorError(
                    f"{name[:100]!r} is of the kind {kind}, and parameters are floating-point numbers"
                )


@contextmanager
def _looked_at(path: Path) -> Iterator[None]:
    _check_header(path)
    try:
        yield
    except RuntimeError as error:
        if path.exists():
            raise
        raise FileNotFoundError(errno.ENOENT, "it is gone by now", str(path)) from error


def _check_header(path: Path) -> None:
    with open_file(path) as file:  # the library would wait for a pipe
        length = int.from_bytes(file.read(8), "little")
    if (
        MOST_HEADER < length <= path.stat().st_size
    ):  # what is longer than its file is damaged, which the library says
        raise SafetensorError(f"it has a header of {length:,} bytes, where {MOST_HEADER:,} are the most")
