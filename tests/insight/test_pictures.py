import base64
import io

import numpy as np
from PIL import Image

from lpdseg.insight import pictures
from lpdseg.pictures.masks import class_palette, colour_mask
from lpdseg.tissue import IGNORE, TissueClasses

CLASSES = TissueClasses(("a", "b"), ((255, 0, 0), (0, 0, 255)), background=7, background_colour=(250, 251, 252))
MASK = np.array([[0, 1], [2, IGNORE]], np.uint8)


def decode(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(body, validate=True)))


def test_heat_rises_in_lightness() -> None:
    lightness = pictures.heat_palette().astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -0.6).all()
    assert lightness[-1] - lightness[0] > 200


def test_quantise_clips() -> None:
    assert pictures.quantise(np.array([[-1.0, 0.0, 0.5, 1.0, 2.0]])).tolist() == [[0, 0, 128, 255, 255]]


def test_uris_hold_the_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(decode(pictures.rgb_uri(image))), image)
    shown = decode(pictures.indexed_uri(MASK, class_palette(CLASSES)))
    assert np.array_equal(np.asarray(shown.convert("RGB")), colour_mask(MASK, CLASSES))


def test_large_masks_shrink_without_new_colours() -> None:
    mask = np.random.default_rng(0).integers(0, 2, (300, 400), dtype=np.uint8)
    shown = decode(pictures.indexed_uri(mask, class_palette(CLASSES), side=100))
    assert shown.size == (100, 75)
    assert set(np.unique(np.asarray(shown))) <= {0, 1}


def test_sheet_shows_truth_above_prediction() -> None:
    image = np.full((8, 8, 3), 10, np.uint8)
    example = pictures.Example(image, np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8))
    sheet = pictures.example_sheet([example, example], CLASSES, tile=40)
    column = [sheet.getpixel((84 + 20, 30 + row * 46 + 20)) for row in range(3)]
    assert column == [(10, 10, 10), (255, 0, 0), (0, 0, 255)]
