import numpy as np
import pytest

from lpdseg.data.geometry import Size, common_size, fit_image, fit_mask
from lpdseg.tissue import IGNORE


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ([(5, 8)] * 4, None),
        ([(522, 775)] * 8 + [(433, 574)], (522, 775)),  # one odd patch changes nothing for the others
        ([(4, 8)] * 2 + [(9, 9)] * 2, (9, 9)),
        ([(210, 230), (224, 200), (210, 260), (250, 240), (210, 215)], (210, 210)),
        ([(100, 200), (110, 190), (90, 230), (120, 210), (100, 260)], (100, 210)),
    ],
)
def test_the_size_that_patches_are_brought_to(sizes: list[Size], found: Size | None) -> None:
    assert common_size(sizes) == found
    assert common_size(sizes[::-1]) == found


def disc(height: int, width: int, radius: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    image = np.full((height, width, 3), 230, np.uint8)
    image[(y - height // 2) ** 2 + (x - width // 2) ** 2 <= radius**2] = (120, 30, 120)
    return image


def run(line: np.ndarray, place: int) -> int:
    """Length of the run of true values around a place."""
    light = np.flatnonzero(~line)
    return int(light[light > place].min(initial=len(line)) - light[light < place].max(initial=-1) - 1)


@pytest.mark.parametrize("shape", [(100, 140), (60, 60), (40, 90), (90, 40), (300, 310), (20, 400)])
def test_round_stays_round_and_whole(shape: Size) -> None:
    radius = min(shape) // 3
    fitted = fit_image(disc(*shape, radius), (100, 160), turn=False)
    assert fitted.shape == (100, 160, 3)
    dark = fitted[..., 1] < 130
    # Mirror images of the disc lie beside it.
    wide, high = run(dark[50], 80), run(dark[:, 80], 50)
    scale = min(100 / shape[0], 160 / shape[1])
    assert abs(wide - high) <= 3 and abs(wide - 2 * radius * scale) <= 4


def test_a_patch_across_is_turned_where_that_may_be() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 5, 3), np.uint8)
    np.testing.assert_array_equal(fit_image(image, (5, 8), turn=True), np.rot90(image))
    assert fit_image(image, (5, 8), turn=False).shape == (5, 8, 3)


def test_a_mask_follows_its_image_and_leaves_out_what_is_mirrored() -> None:
    mask = np.array([[0, 1], [0, 1]], np.uint8).repeat(4, 0).repeat(4, 1)
    fitted = fit_mask(mask, (8, 16), turn=True)
    image = fit_image(np.stack([mask * 255] * 3, -1), (8, 16), turn=True)
    assert (fitted[:, :4] == IGNORE).all() and (fitted[:, 12:] == IGNORE).all()
    np.testing.assert_array_equal(image[:, 4:12, 0], fitted[:, 4:12] * 255)
    assert (image[:, :4, 0] == 0).all() and (image[:, 12:, 0] == 255).all()  # no class that the patch lacks
    assert fit_mask(mask, (8, 8), turn=True) is mask
