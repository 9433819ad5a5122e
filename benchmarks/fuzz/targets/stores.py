"""Zarr stores of probabilities, as the viewer reads them back: all their files, folders and links.

An input is a ZIP, uncompressed, of what the store's folder holds; an entry whose name ends in `@` is a link to
what it says. Names lead nowhere outside.
"""

import io
import json
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from random import Random

import numcodecs
import numpy as np

from lpdseg.export.ome_zarr import ProbabilityStore
from lpdseg.view.written import WrittenFile
from mutations import bytes_changed, json_changed

__all__ = ["KIND", "mutate", "parse", "seeds"]

KIND = "image"
_SIZE = (900, 600)
_JSONS = (".zarray", ".zattrs", ".zgroup", "zarr.json", ".zmetadata")
_CODECS = (
    "zlib",
    "gzip",
    "bz2",
    "lzma",
    "zstd",
    "lz4",
    "pickle",
    "vlen-utf8",
    "json2",
    "delta",
    "packbits",
    "blosc",
)
_LINKS = (
    "..",
    ".",
    "0",
    "../0",
    "../../0/1/0/0",
    "/dev/zero",
    "/dev/null",
    "/etc/hostname",
    "@",
    "0/0/0/0",
    "nowhere",
)


def seeds(folder: Path) -> list[bytes]:
    found = []
    for number, names in enumerate((["blue"], ["pink", "blue"])):
        path = folder / f"{number}.zarr"
        path.mkdir()
        store = ProbabilityStore(path, _SIZE, len(names))
        values = np.arange(len(names) * _SIZE[0] * _SIZE[1]) // 3000 % 256
        store.write_rows(0, values.reshape(-1, *_SIZE[::-1]).astype(np.uint8))
        datasets, channels = [{"path": str(n)} for n in range(store.levels)], [{"label": name} for name in names]
        store.finish({"multiscales": [{"datasets": datasets}], "omero": {"channels": channels}})
        files = [one for one in sorted(path.rglob("*")) if one.is_file()]
        found.append(_packed({str(one.relative_to(path)): one.read_bytes() for one in files}))
        shutil.rmtree(path)
    return found


def mutate(data: bytes, random: Random) -> bytes:
    files = _files(data)
    if not files or random.random() < 0.1:
        return bytes_changed(data, random)
    texts = [one for one in files if one.endswith(_JSONS)]
    name = random.choice(texts if texts and random.random() < 0.5 else list(files))
    held = files[name]
    match random.randrange(9):
        case 0 | 1 if name.endswith(".zarray"):
            files[name] = _array_changed(held, random)
        case 0 | 1 | 2 | 3:
            files[name] = (json_changed if name.endswith(_JSONS) else _chunk_changed)(held, random)
        case 4:
            del files[name]
        case 5:
            files[random.choice(list(files))] = held
        case 6:
            files[f"{name}@"] = random.choice((*_LINKS, random.choice(list(files)))).encode("utf-8", "replace")
            del files[name]
        case 7:
            files[f"{name}/{random.choice((*_JSONS, '0', 'x'))}"] = files.pop(name)
        case _:
            files[random.choice((*_JSONS, "0/zarr.json", "0/0/1/0", "0/.zattrs"))] = held
    return _packed(files)


def parse(data: bytes, folder: Path) -> None:
    path = folder / "x.zarr"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    files = _files(data)
    for name in sorted(files, key=lambda one: one.endswith("@")):  # nothing is written through a link
        place = path.joinpath(*(part for part in name.removesuffix("@").split("/") if part not in ("", ".", "..")))
        with suppress(OSError, ValueError):
            place.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("@"):
                place.symlink_to(files[name].decode("utf-8", "surrogateescape"))
            else:
                place.write_bytes(files[name])
    opened = WrittenFile(path, _SIZE)
    for step in (1, 2, 40):
        across, down = np.arange(0, _SIZE[0], step)[-256:], np.arange(0, _SIZE[1], step)[:256]
        found = opened.read(across, down, "blue")
        assert found.shape == (len(down), len(across)) and found.dtype == np.uint8


def _array_changed(data: bytes, random: Random) -> bytes:
    """A codec, kind, size or order that somebody else may write."""
    try:
        told = json.loads(data)
        codec = {"id": random.choice(_CODECS), **random.choice(({}, {"level": 9}, {"dtype": "<u4"}))}
        told |= random.choice(
            (
                {"compressor": codec}, {"filters": [codec]}, {"compressor": None}, {"zarr_format": 3},
                {"dtype": random.choice(("|O", "<f8", "<U9", "|V9", "<M8[ns]", ">u2", [["a", "|u1"]]))},
                {"chunks": random.choice(([1, 1, 1], [1, 1 << 20, 1 << 20], [0, 0, 0], [2, 512, 512], [1, 512]))},
                {"shape": random.choice(([1, 1, 1], [2, 600, 1 << 40], [0, 600, 900], [1, 512, 512]))},
                {"fill_value": random.choice((None, 255, "NaN", 1e400))}, {"order": "F"},
                {"dimension_separator": random.choice((".", "../", ""))},
            )
        )  # fmt: skip
        return json.dumps(told).encode()
    except (ValueError, TypeError, RecursionError):
        return bytes_changed(data, random)


def _chunk_changed(data: bytes, random: Random) -> bytes:
    """Another chunk: changed behind its head, of another size, or by another codec."""
    match random.randrange(5):
        case 0:
            return data[:16] + bytes_changed(data[16:], random)
        case 1:
            return data[:16] + bytes_changed(data[16:], random)[: len(data) - 16].ljust(len(data) - 16, b"\0")
        case 2:
            codec = numcodecs.Blosc(random.choice(("zstd", "lz4", "zlib", "blosclz")), shuffle=random.randrange(3))
            return bytes(codec.encode(bytes(random.choice((0, 1, 1 << 18, 1 << 18, 1 << 24)))))
        case 3:
            return bytes(
                numcodecs.get_codec({"id": random.choice(("zlib", "gzip", "zstd"))}).encode(bytes(1 << 22))
            )
        case _:
            return bytes_changed(data, random)


def _packed(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name.encode("utf-8", "replace").decode()), content)
    return held.getvalue()


def _files(data: bytes) -> dict[str, bytes]:
    """What a ZIP holds, as far as it is whole."""
    found = {}
    with suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist()[:200]:
            if entry.compress_type == zipfile.ZIP_STORED and entry.file_size <= len(data):
                with suppress(Exception):  # one that is damaged is not there
                    found[entry.filename] = archive.read(entry)
    return found
