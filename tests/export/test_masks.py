"""Files of a segmentation: what other programs read in them is what was predicted."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from lpdseg.data.patches import read_mask
from lpdseg.errors import OutputError
from lpdseg.export.masks import area_shares, outlines, overlay_picture, write_mask, write_probabilities
from lpdseg.segmenting.segmenter import Segmentation
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("tumour", "stroma"), colours=((255, 0, 0), (0, 200, 0)), indices=(3, 9), background=1)
DISK = np.array([3, 9, 1], np.uint8)
MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from(DISK.tolist()))


@given(mask=MASKS)
def test_a_mask_comes_back_and_shows_its_colours(
    mask: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("mask") / "sub" / "x.png"
    write_mask(path, mask, CLASSES)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), mask)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), CLASSES.palette()[mask])
    np.testing.assert_array_equal(CLASSES.to_disk()[read_mask(path, CLASSES, mask.shape)], mask)


@given(mask=MASKS)
def test_shares_count_pixels(mask: np.ndarray) -> None:
    shares = area_shares(mask, CLASSES)
    assert list(shares) == ["tumour", "stroma", "background"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["stroma"] == (mask == 9).mean()


@given(mask=MASKS)
def test_outlines_are_where_a_neighbour_differs(mask: np.ndarray) -> None:
    padded = np.pad(mask, 1, mode="edge")
    height, width = mask.shape
    neighbours = [
        padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
    ]
    np.testing.assert_array_equal(outlines(mask), np.any([part != mask for part in neighbours], axis=0))


def test_probabilities_keep_shapes_and_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), (4, 5)).transpose(2, 0, 1).astype(np.float32)
    scores = rng.random((2, 4, 5), np.float32)
    segmentation = Segmentation(DISK[probabilities.argmax(0)], probabilities, scores, np.ones(2, np.float32))
    write_probabilities(tmp_path / "x.npz", segmentation, CLASSES)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as found:
        assert found["classes"].tolist() == ["tumour", "stroma", "background"]
        assert found["probabilities"].dtype == np.float16
        np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-3)
        np.testing.assert_allclose(found["scores"], scores, atol=1e-3)


def test_an_overlay_tints_tissue_outlines_it_and_leaves_background() -> None:
    image = np.full((400, 400, 3), 200, np.uint8)
    mask = np.full((400, 400), 1, np.uint8)
    mask[100:300, 100:300] = 3
    picture = np.asarray(overlay_picture(image, mask, CLASSES))
    assert picture.shape[1] == 400 and picture.shape[0] > 400  # the legend is below
    assert picture[50, 50].tolist() == [200, 200, 200]
    assert picture[100, 200].tolist() == [255, 0, 0]
    tinted = picture[200, 200].astype(int)
    assert tinted[0] > 200 > tinted[1] == tinted[2] > 0
    legend = picture[400:].reshape(-1, 3)
    assert (legend == (255, 0, 0)).all(1).any() and (legend == (0, 200, 0)).all(1).any()


def test_small_images_are_enlarged_and_the_legend_is_never_cut() -> None:
    names = TissueClasses(tuple(f"a rather long name {number}" for number in range(6)))
    picture = overlay_picture(np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint8), names)
    assert picture.width >= 320
    narrow = overlay_picture(np.zeros((400, 4, 3), np.uint8), np.zeros((400, 4), np.uint8), names)
    assert narrow.width > 100 and narrow.height > 400 + 6 * 11


def test_a_mask_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_mask(tmp_path / "file" / "x.png", np.full((2, 2), 3, np.uint8), CLASSES)
