"""Masks as pictures: what other programs read in them is what was predicted."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from lpdseg.data.patches import read_mask
from lpdseg.errors import OutputError
from lpdseg.pictures.masks import area_shares, colour_mask, outlines, overlay_picture, tint, write_mask
from lpdseg.pictures.scale_bar import length_text, round_length
from lpdseg.tissue import IGNORE, TissueClasses

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


THREE = TissueClasses(("a", "b"), ((255, 0, 0), (0, 0, 255)), background=7, background_colour=(250, 251, 252))
INSIDE = np.array([[0, 1], [2, IGNORE]], np.uint8)


def test_masks_take_the_colours_of_internal_indices() -> None:
    expected = [[[255, 0, 0], [0, 0, 255]], [[250, 251, 252], [128, 128, 128]]]
    assert colour_mask(INSIDE, THREE).tolist() == expected


def test_overlay_leaves_background_and_left_out_pixels() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    assert tint(image, INSIDE, THREE, 0.5)[0, 0].tolist() == [178, 50, 50]
    assert (tint(image, INSIDE, THREE)[1] == 100).all()


@example(longest=999999.9999999999)
@given(longest=st.floats(1e-3, 1e6))
def test_a_scale_bar_has_a_round_length(longest: float) -> None:
    microns = round_length(longest)
    assert longest / 2.5 < microns <= longest * (1 + 1e-12)
    assert f"{microns:e}"[0] in "125" and float(f"{microns:.0e}") == pytest.approx(microns)


def test_an_overlay_of_known_resolution_has_a_bar_of_that_length() -> None:
    image = np.full((400, 400, 3), 200, np.uint8)
    mask = np.full((400, 400), 1, np.uint8)
    bare = np.asarray(overlay_picture(image, mask, CLASSES))
    barred = np.asarray(overlay_picture(image, mask, CLASSES, mpp=0.5))
    drawn = (bare != barred).any(-1)
    assert not drawn[:, 200:].any()
    black = (barred[:400] == 0).all(-1) & drawn[:400]
    assert max(row.sum() for row in black) == 41  # 20 um of 0.5, both ends included: at most a fifth of 400 px
    assert (length_text(20.0), length_text(2500.0)) == ("20 um", "2.5 mm")
