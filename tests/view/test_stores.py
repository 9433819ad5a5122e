"""Zarr stores of probabilities as the viewer reads them back: as this program writes them, or refused."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lpdseg.errors import LpdsegError
from lpdseg.export.ome_zarr import ProbabilityStore
from lpdseg.view.written import WrittenFile

numcodecs = pytest.importorskip("numcodecs", reason="the extra slides is not installed")

SIZE = (1100, 700)
CHUNK = "0/1/0/1"
"""Of the second channel, at the top, from column 512 on."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two channels, of which the second rises from left to right, and has a chunk that is 0 everywhere."""
    path = tmp_path / "a.zarr"
    path.mkdir()
    values = np.zeros((2, *SIZE[::-1]), np.uint8)
    values[1] = (np.arange(SIZE[0]) % 200).astype(np.uint8)
    values[1, 512:, :512] = 0
    written = ProbabilityStore(path, SIZE, 2)
    written.write_rows(0, values)
    datasets = [{"path": str(level)} for level in range(written.levels)]
    channels = [{"label": "pink"}, {"label": "blue"}]
    written.finish({"multiscales": [{"datasets": datasets}], "omero": {"channels": channels}})
    return path


def told(path: Path, name: str, **values: Any) -> None:
    """Writes other values into a JSON of a store."""
    file = path / name
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def read(path: Path) -> np.ndarray:
    """All of the second channel."""
    return WrittenFile(path, SIZE).read(np.arange(SIZE[0]), np.arange(SIZE[1]), "blue")


def refused(path: Path) -> str:
    with pytest.raises(LpdsegError) as caught:
        read(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 500
    return str(caught.value)


def test_values_are_those_that_were_written(store: Path) -> None:
    found, row = read(store), np.arange(SIZE[0]) % 200
    assert (found[:512] == row).all() and (found[512:, 512:] == row[512:]).all() and not found[512:, :512].any()
    part = WrittenFile(store, SIZE).read(np.arange(500, 530), np.arange(505, 520), "blue")
    assert (part == found[505:520, 500:530]).all()
    coarse = WrittenFile(store, SIZE).read(np.arange(0, 1100, 4), np.arange(0, 700, 4), "blue")
    assert coarse.shape == (175, 275) and coarse[0, 1] > 0
    assert not WrittenFile(store, SIZE).read(np.arange(9), np.arange(9), "pink").any()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"shape": [2, 700, 11000]}, "and its image 1100 x 700 pixels"),
        ({"shape": [3, 700, 1100]}, "its shape is another"), ({"shape": [2, 1 << 40, 9]}, "cannot be used"),
        ({"chunks": [1, 1, 1]}, "has chunks of"), ({"chunks": [1, 1 << 15, 1 << 15]}, "has chunks of"),
        ({"compressor": {"id": "gzip", "level": 9}}, "compressor.id = 'gzip' cannot be used"),
        ({"compressor": {"id": "pickle"}}, "cannot be used"), ({"compressor": None}, "cannot be used"),
        ({"filters": [{"id": "pickle"}]}, "cannot be used"), ({"filters": [{"id": "delta"}]}, "cannot be used"),
        ({"dtype": "|O"}, "dtype = '|O' cannot be used"), ({"dtype": "<f8"}, "cannot be used"),
        ({"fill_value": "NaN"}, "cannot be used"), ({"order": "F"}, "cannot be used"),
        ({"zarr_format": 3}, "cannot be used"), ({"dimension_separator": "."}, "cannot be used"),
    ],
)  # fmt: skip
def test_arrays_of_other_kinds_are_refused(store: Path, values: dict[str, Any], words: str) -> None:
    told(store, "0/.zarray", **values)
    assert words in refused(store)


@pytest.mark.parametrize(
    "values",
    [
        {"multiscales": []}, {"multiscales": 5}, {"multiscales": [{"datasets": []}]}, {"omero": {}},
        {"multiscales": [{"datasets": [{"path": "../b.zarr/0"}]}]},
        {"multiscales": [{"datasets": [{"path": "/"}]}]},
        {"multiscales": [{"datasets": [{"path": "0"}] * 1000}]},
        {"omero": {"channels": [{"label": 5}]}},
        {"omero": {"channels": [{"label": "blue"}] * 1000}},
    ],
    ids=repr,
)  # fmt: skip
def test_so_are_other_attributes(store: Path, values: dict[str, Any]) -> None:
    told(store, ".zattrs", **values)
    assert ".zattrs" in refused(store)


def test_what_newer_versions_of_zarr_would_look_at_first_is_passed_over(store: Path) -> None:
    for place in (store, store / "0"):
        (place / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group"}))
        (place / ".zmetadata").write_text("[" * 10_000)
    assert read(store).any()


def chunk(numbers: int) -> bytes:
    return bytes(numcodecs.Blosc("zstd").encode(np.ones(numbers, np.uint8)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (chunk(1 << 28), "claims 268,435,456 bytes"), (chunk(100), "claims 100 bytes"),
        (chunk(1 << 18)[:-1], "and has "), (chunk(1 << 18) + bytes(1 << 23), "and has "),
        (b"", "too few for a chunk"),
        (chunk(1 << 18)[:16] + bytes(len(chunk(1 << 18)) - 16), "is damaged"), (pickle.dumps([1] * 99), "claims"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_chunks_that_claim_more_are_refused_before_they_are_decoded(store: Path, data: bytes, words: str) -> None:
    (store / CHUNK).write_bytes(data)
    assert CHUNK in (said := refused(store)) and words in said


@pytest.mark.parametrize("kind", ["folder", "outside", "endless", "waits", "circle"])
@pytest.mark.parametrize("name", [CHUNK, "0/.zarray", ".zattrs"])
def test_what_is_no_file_of_the_store_is_refused(store: Path, name: str, kind: str) -> None:
    path, outside = store / name, store.parent / "outside"
    path.rename(outside)
    match kind:
        case "folder":
            path.mkdir()
        case "waits":
            os.mkfifo(path)
        case _:
            path.symlink_to({"outside": outside, "endless": Path("/dev/zero"), "circle": path}[kind])
    words = ("is missing", "cannot be read") if kind == "circle" else ("is no file of its store",)
    if kind == "circle" and name == CHUNK:
        assert not read(store)[:512, 512:1024].any()  # as a chunk that is not there
    else:
        assert any(one in refused(store) for one in words)


def test_a_link_to_another_chunk_is_followed(store: Path) -> None:
    (store / CHUNK).unlink()
    (store / CHUNK).symlink_to(store / "0" / "1" / "0" / "0")
    found = read(store)
    assert (found[:512, 512:1024] == found[:512, :512]).all()


def test_a_store_without_smaller_levels_is_not_read_at_once(tmp_path: Path) -> None:
    size, path = (20_000, 20_000), tmp_path / "a.zarr"
    path.mkdir()
    ProbabilityStore(path, size, 1).finish(
        {"multiscales": [{"datasets": [{"path": "0"}]}], "omero": {"channels": [{"label": "pink"}]}}
    )
    places = np.arange(0, 20_000, 100)
    with pytest.raises(LpdsegError, match="would be read at once, for it lacks its smaller levels"):
        WrittenFile(path, size).read(places, places, "pink")
