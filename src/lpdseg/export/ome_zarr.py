"""Class probabilities of a slide, too large for memory: an OME-Zarr folder that is filled as the segmentation goes.

n channels; H x W pixels of the grid; h rows of a band.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, UInt8

from lpdseg.errors import OutputError
from lpdseg.export.zarr_metadata import attributes, ome_xml
from lpdseg.extras import needed
from lpdseg.files import replacing_folder
from lpdseg.slides.label_map import LabelMap

CHUNK = 512
"""Side of a chunk in pixels, and the longest side of the last level. A chunk holds one channel."""


@contextmanager
def probability_store(path: Path, label_map: LabelMap, channels: Sequence[str]) -> Iterator["ProbabilityStore"]:
    """Opens an OME-Zarr image with a channel per class, to be written in bands, as `uint8`: value / 255 is the
    probability.

    It grows under a temporary name beside `path`. When the block ends well it is finished and gets its name, and an
    older store of that name is removed; after an error it is gone.

    Version 0.4 of OME-Zarr on version 2 of Zarr: Bio-Formats, and QuPath with it, reads no newer one yet, and
    napari reads both. Bio-Formats knows it by a name that ends in `.zarr`, as in `SLIDE.ome.zarr`, and takes the
    size of a pixel, names and colours from `OME/METADATA.ome.xml` in it. Chunks are compressed with Blosc; chunks
    that are 0 everywhere, such as glass, are not on disk.

    ```python
    with probability_store(path, label_map, classes.channel_names) as store:
        for top, probabilities in bands:
            store.write_rows(top, probabilities)
    ```

    **Arguments:**

    - `label_map`: tells the grid and where it lies; its labels are not read.
    - `channels`: a name for each of the n channels: the classes, and background where it has one.

    **Raises:** `OutputError` where `path` is something else than such a store, or cannot be written;
    `SettingsError` where the extra `slides` is missing.
    """
    needed("slides", "zarr")
    import zarr

    if path.exists() and not (path / ".zattrs").is_file():
        raise OutputError(f"{path} exists and is no OME-Zarr folder; remove it or choose another name")
    name, classes = path.name.removesuffix(".ome.zarr").removesuffix(".zarr"), label_map.classes
    colours = (*classes.colours, classes.background_colour)[: len(channels)]
    with replacing_folder(path) as folder:
        store = ProbabilityStore(folder, label_map.size, len(channels))
        yield store
        store.finish(attributes(label_map, name, channels, colours, store.levels))
        zarr.create_group(store=str(folder / "OME"), zarr_format=2)  # as bioformats2raw has it
        (folder / "OME" / "METADATA.ome.xml").write_text(ome_xml(label_map, name, channels, colours), "utf-8")


class ProbabilityStore:
    """The arrays of an OME-Zarr image; see `probability_store`.

    **Arguments:**

    - `folder`: an empty folder.
    - `size`: (W, H) of the finest level.
    - `channels`: n.
    """

    def __init__(self, folder: Path, size: tuple[int, int], channels: int) -> None:
        import zarr

        self._group = zarr.create_group(store=str(folder), zarr_format=2)
        self._arrays: list[Any] = []
        width, height = size
        while not self._arrays or max(self._arrays[-1].shape[1:]) > CHUNK:
            self._arrays.append(_array(self._group, str(len(self._arrays)), (channels, height, width)))
            width, height = -(-width // 2), -(-height // 2)
        # Which chunks are not 0 everywhere.
        self._filled = [
            np.zeros((channels, *(-(-side // CHUNK) for side in array.shape[1:])), bool) for array in self._arrays
        ]

    @property
    def levels(self) -> int:
        """How many levels there are; each halves the one before and rounds up."""
        return len(self._arrays)

    def write_rows(
        self, top: int, probabilities: UInt8[np.ndarray, "n h W"] | Float16[np.ndarray, "n h W"]
    ) -> None:
        """Writes rows `top` to `top + h` of the finest level; bands may come in any order. What is never written
        is 0.

        **Arguments:**

        - `probabilities`: 0..255 as uint8, or 0..1 as float16.
        """
        values = probabilities
        if values.dtype != np.uint8:
            values = np.rint(np.clip(values.astype(np.float32), 0, 1) * 255).astype(np.uint8)
        self._write(0, top, 0, values)

    def finish(self, attributes: dict[str, Any]) -> None:
        """Makes the smaller levels, and writes the metadata."""
        for level in range(1, self.levels):
            for c, y, x in np.argwhere(_in_fours(self._filled[level - 1])).tolist():
                # A chunk at a time: whole rows would fill the memory.
                rows, columns = (slice(2 * CHUNK * place, 2 * CHUNK * (place + 1)) for place in (y, x))
                finer = self._arrays[level - 1][c : c + 1, rows, columns]
                self._write(level, CHUNK * y, CHUNK * x, halved_mean(finer), first=c)
        self._group.attrs.put(attributes)

    def _write(self, level: int, top: int, left: int, values: UInt8[np.ndarray, "n h w"], first: int = 0) -> None:
        """Writes a rectangle that begins with a column of chunks, into the channels from the `first` on. Chunks in
        which it is 0 are passed over, which takes Zarr longer than to look here."""
        array, filled = self._arrays[level], self._filled[level]
        down = slice(top // CHUNK, -(-(top + values.shape[1]) // CHUNK))
        for channel, plane in enumerate(values, first):
            nonzero = np.logical_or.reduceat(plane.any(0), np.arange(0, plane.shape[1], CHUNK))
            for run in _runs(nonzero):
                columns = slice(run.start * CHUNK, min(run.stop * CHUNK, plane.shape[1]))
                array[channel, top : top + plane.shape[0], left + columns.start : left + columns.stop] = plane[
                    :, columns
                ]
                filled[channel, down, left // CHUNK + run.start : left // CHUNK + run.stop] = True


def _in_fours(filled: Bool[np.ndarray, "n y x"]) -> Bool[np.ndarray, "n v u"]:
    """Whether any of each four chunks is filled."""
    even = np.pad(filled, [(0, 0), *((0, side % 2) for side in filled.shape[1:])])
    fours: Bool[np.ndarray, "n v u"] = (
        even[:, ::2, ::2] | even[:, 1::2, ::2] | even[:, ::2, 1::2] | even[:, 1::2, 1::2]
    )
    return fours


def _runs(wanted: Bool[np.ndarray, " x"]) -> list[slice]:
    """Runs of what is wanted."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]])))
    return [slice(first, last) for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


def halved_mean(values: UInt8[np.ndarray, "n H W"]) -> UInt8[np.ndarray, "n h w"]:
    """The mean of each four pixels, rounded half up. Where a side is odd, the last row or column counts twice."""
    count, height, width = values.shape
    mean = np.empty((count, -(-height // 2), -(-width // 2)), np.uint8)
    for small, channel in zip(mean, values, strict=True):
        if channel.min() == channel.max():  # glass, mostly
            small[:] = channel[0, 0]
            continue
        even = np.pad(channel, [(0, height % 2), (0, width % 2)], mode="edge")
        rows = np.add(even[::2], even[1::2], dtype=np.uint16)
        small[:] = (rows[:, ::2] + rows[:, 1::2] + 2) // 4
    return mean


def _array(group: Any, name: str, shape: tuple[int, int, int]) -> Any:
    return group.create_array(
        name,
        shape=shape,
        chunks=(1, CHUNK, CHUNK),
        dtype="u1",
        compressors={"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1},
        fill_value=0,
        chunk_key_encoding={"name": "v2", "separator": "/"},
        config={"write_empty_chunks": True},  # `_write` has looked already, and much faster
    )
