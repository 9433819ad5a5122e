"""Files that a folder of results may hold, and that claim more than their image has."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.errors import LpdsegError
from lpdseg.view.written import WrittenFile

SIZE = (96, 64)


def refused(path: Path) -> str:
    with pytest.raises(LpdsegError) as caught:
        WrittenFile(path, SIZE)
    return str(caught.value)


def test_a_picture_is_as_large_as_its_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.ones((64, 96), np.uint8)).save(path)
    assert WrittenFile(path, SIZE).read(np.arange(4), np.arange(3)).tolist() == [[1] * 4] * 3
    Image.fromarray(np.ones((6000, 6000), np.uint8)).save(path)
    assert "it has 6000 x 6000 pixels, and its image 96 x 64" in refused(path)


def test_an_archive_is_no_larger_than_its_image(tmp_path: Path) -> None:
    path, names = tmp_path / "a.npz", np.array(["pink", "blue"])
    probabilities = np.ones((2, 64, 96), np.float16)
    np.savez_compressed(path, probabilities=probabilities, classes=names)
    assert WrittenFile(path, SIZE).read(np.arange(4), np.arange(3), "blue").shape == (3, 4)
    np.savez_compressed(path, probabilities=np.zeros((2, 3000, 3000), np.float16), classes=names)
    assert "it claims 36,0" in refused(path)
    np.savez_compressed(path, probabilities=probabilities, classes=np.array(["a" * (1 << 19)]))
    assert "more than its image can have" in refused(path)
    np.save(tmp_path / "b.npy", np.zeros((3000, 3000)))
    (tmp_path / "b.npy").rename(path)
    assert "cannot be read" in refused(path)


@pytest.mark.parametrize(
    ("shape", "options", "told"),
    [
        ((64, 96), {"compression": "zlib", "tile": (32, 32)}, None),
        ((640, 96), {"compression": "zlib", "tile": (32, 32)}, r"shape (640, 96)"),
        ((64, 96), {"compression": "zlib", "tile": (8192, 8192)}, "67,108,864 of its numbers"),
        ((64, 96), {"compression": "png"}, "its compression is none"),
    ],
)
def test_a_tiff_is_as_this_program_writes_it(
    shape: tuple[int, int], options: dict[str, object], told: str | None, tmp_path: Path
) -> None:
    tifffile = pytest.importorskip("tifffile", reason="the extra slides is not installed")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones(shape, np.uint8), **options)
    if told is None:
        assert WrittenFile(path, SIZE).read(np.arange(4), np.arange(3)).all()
    else:
        assert told in refused(path)


@pytest.mark.parametrize(
    ("shape", "chunks", "told"),
    [
        ((2, 64, 96), (1, 64, 96), None),
        ((2, 64, 960), (1, 64, 96), "shape (64, 960)"),
        ((2, 64, 96), (1, 8192, 8192), "67,108,864 of its numbers"),
    ],
)
def test_so_is_a_store(shape: tuple[int, ...], chunks: tuple[int, ...], told: str | None, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="the extra slides is not installed")
    path = tmp_path / "a.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.create_array("0", shape=shape, chunks=chunks, dtype="f4")
    group.attrs["multiscales"] = [{"datasets": [{"path": "0"}]}]
    group.attrs["omero"] = {"channels": [{"label": "pink"}, {"label": "blue"}]}
    if told is None:
        assert WrittenFile(path, SIZE).read(np.arange(4), np.arange(3), "blue").shape == (3, 4)
    else:
        assert told in refused(path)
