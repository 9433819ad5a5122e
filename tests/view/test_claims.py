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


def test_a_pyramid_without_smaller_levels_is_not_read_at_once(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="the extra slides is not installed")
    path, size = tmp_path / "a.tif", (6000, 6000)
    tifffile.imwrite(path, np.ones(size[::-1], np.uint8), compression="zlib", tile=(512, 512))
    file = WrittenFile(path, size)
    assert file.read(np.arange(0, 512, 2), np.arange(0, 512, 2)).all()
    with pytest.raises(LpdsegError, match="would be read at once, for it lacks its smaller levels"):
        file.read(np.arange(0, 6000, 50), np.arange(0, 6000, 50))
