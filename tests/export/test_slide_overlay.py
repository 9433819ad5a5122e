"""The picture of a slide under its mask: size, colours, legend, and how much is read at once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.errors import OutputError
from lpdseg.export.slide_overlay import write_slide_overlay
from lpdseg.slides.label_map import LabelMap
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour", "stroma"), colours=((255, 0, 0), (0, 200, 0)), background=2)


class FakeView:
    """A grey slide; outside it is white. Remembers the most rows that were asked for."""

    def __init__(self, size: tuple[int, int], scale: float) -> None:
        self.size, self.scale, self.wanted, self.rows = size, (scale, scale), scale / 4, 0

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        self.rows = max(self.rows, height)
        pixels = np.full((height, width, 3), 255, np.uint8)
        pixels[: max(self.size[1] - y, 0), : max(self.size[0] - x, 0)] = 200
        return pixels


def label_map(mask: np.ndarray, scale: float, size: tuple[int, int]) -> LabelMap:
    return LabelMap(mask, (scale, scale), (scale / 4, scale / 4), size, CLASSES)


def shown(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def square(side: int) -> np.ndarray:
    """Tumour in the middle of background."""
    mask = np.full((side, side), 2, np.uint8)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = 0
    return mask


@pytest.mark.parametrize("view_scale", [1.0, 3.1, 8.0])
def test_tissue_is_tinted_and_outlined_whatever_the_view(view_scale: float, tmp_path: Path) -> None:
    cells = -(-1600 // view_scale)
    view = FakeView((int(cells), int(cells)), view_scale)
    write_slide_overlay(view, label_map(square(800), 2.0, (1600, 1600)), tmp_path / "x.png", longest=400)
    picture = shown(tmp_path / "x.png")
    assert picture.shape[1] == 400 and picture.shape[0] > 400  # the legend is below
    assert picture[50, 50].tolist() == [200, 200, 200]
    assert picture[200, 100].tolist() == [255, 0, 0] and picture[200, 98].tolist() == [200, 200, 200]
    tinted = picture[200, 200].astype(int)
    assert tinted[0] > 200 > tinted[1] == tinted[2] > 0
    legend = picture[400:].reshape(-1, 3)
    assert (legend == (255, 0, 0)).all(1).any() and (legend == (0, 200, 0)).all(1).any()


def test_the_pixels_of_the_picture_are_means_and_commonest_labels(tmp_path: Path) -> None:
    mask = np.full((640, 640), 2, np.uint8)
    mask[:, 3::4] = 0  # a quarter of each pixel of the picture: too little to be shown
    mask[:40, 1::4] = mask[:40, 2::4] = 1

    class Stripes(FakeView):
        def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
            columns = (np.arange(x, x + width) % 4 == 0) * np.uint8(80) + np.uint8(100)
            return np.broadcast_to(columns[None, :, None], (height, width, 3)).copy()

    write_slide_overlay(Stripes((640, 640), 1.0), label_map(mask, 1.0, (640, 640)), tmp_path / "x.png", longest=160)
    picture = shown(tmp_path / "x.png")[:, 80:160]
    assert (picture[:9] == np.round(0.65 * 120 + 0.35 * np.array([0, 200, 0]))).all()
    assert (picture[9] == (0, 200, 0)).all()
    assert (picture[10:160] == 120).all()


def test_small_slides_are_not_enlarged(tmp_path: Path) -> None:
    write_slide_overlay(FakeView((300, 200), 1.0), label_map(square(200), 1.0, (300, 200)), tmp_path / "x.png")
    assert shown(tmp_path / "x.png").shape[1] == 300


def test_slides_are_read_in_bands(tmp_path: Path) -> None:
    view = FakeView((8, 9000), 1.0)

    class Labels:
        shape = (4500, 4)

        def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
            assert place[0].stop - place[0].start <= 512
            return np.full((place[0].stop - place[0].start, 4), 2, np.uint8)[:, place[1]]

    write_slide_overlay(
        view, LabelMap(Labels(), (2.0, 2.0), (0.5, 0.5), (8, 9000), CLASSES), tmp_path / "x.png", 900
    )
    assert view.rows <= 257


def test_a_slide_without_tissue_has_a_legend_of_zeros(tmp_path: Path) -> None:
    write_slide_overlay(
        FakeView((50, 50), 1.0), label_map(np.full((50, 50), 2, np.uint8), 1.0, (50, 50)), tmp_path / "x.png"
    )
    assert shown(tmp_path / "x.png").shape[0] > 50


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_slide_overlay(FakeView((9, 9), 1.0), label_map(square(9), 1.0, (9, 9)), tmp_path / "file" / "x.png")
