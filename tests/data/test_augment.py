import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.data.augment import apply_density_map, draw_orientation, draw_stains, turned

SEEDS = st.integers(0, 2**32 - 1)


def noise(seed: int, height: int = 6, width: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_orientation(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return turned(image, draw_orientation(rng))


def stain_jitter(image: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    return apply_density_map(image, draw_stains(spread, rng))


def test_all_eight_orientations_of_a_square_occur_equally_often() -> None:
    image = noise(0)
    wanted = {turned.tobytes() for k in range(4) for turned in (np.rot90(image, k), np.rot90(image, k)[:, ::-1])}
    rng = np.random.default_rng(0)
    found = [random_orientation(image, rng).tobytes() for _ in range(800)]
    assert set(found) == wanted
    assert min(found.count(one) for one in wanted) > 60


@given(SEEDS)
def test_oblong_patches_keep_their_shape(seed: int) -> None:
    image = noise(1, 4, 7)
    turned = random_orientation(image, np.random.default_rng(seed))
    assert turned.shape == image.shape
    assert any(np.array_equal(turned, one) for one in (image, image[::-1], image[:, ::-1], image[::-1, ::-1]))


def test_the_same_generator_gives_the_same_variation() -> None:
    image = noise(2)
    first, again, other = (
        stain_jitter(random_orientation(image, rng), 0.3, rng)
        for rng in (np.random.default_rng(seed) for seed in (5, 5, 6))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@given(SEEDS)
def test_no_spread_changes_nothing_but_rounding(seed: int) -> None:
    image = noise(seed)
    found = stain_jitter(image, 0.0, np.random.default_rng(seed))
    assert np.abs(found.astype(int) - image).max() <= 1


@given(SEEDS, st.floats(0, 1))
def test_white_stays_white(seed: int, spread: float) -> None:
    white = np.full((3, 3, 3), 255, np.uint8)
    np.testing.assert_array_equal(stain_jitter(white, spread, np.random.default_rng(seed)), white)


@given(SEEDS, st.floats(0, 5), st.sampled_from([0, 1, 128, 250, 254]))
def test_no_patch_is_too_pale_too_dark_or_too_colourful(seed: int, spread: float, value: int) -> None:
    """Overflow would be a warning, and warnings are errors here."""
    for image in (np.full((3, 3, 3), value, np.uint8), noise(seed), np.eye(3, dtype=np.uint8)[None] * 255):
        found = stain_jitter(image, spread, np.random.default_rng(seed))
        assert found.dtype == np.uint8
        assert found.shape == image.shape


def test_the_map_of_densities_is_that_of_beer_and_lambert() -> None:
    image = np.array([[[200, 100, 50]]], np.uint8)
    matrix = np.array([[1.2, 0.1, 0.0], [0.0, 0.9, 0.0], [0.05, 0.0, 1.0]])
    density = -np.log(np.array([200, 100, 50]) / 255)
    expected = np.rint(255 * np.exp(-density @ matrix))
    np.testing.assert_array_equal(apply_density_map(image, matrix)[0, 0], expected.astype(np.uint8))


def test_twice_the_density_is_the_square_of_the_transmission() -> None:
    image = noise(3)
    found = apply_density_map(image, 2 * np.eye(3))
    expected = np.maximum(image, 1).astype(float) ** 2 / 255
    assert np.abs(found - expected).max() <= 0.51


@pytest.mark.parametrize(("stain", "colour"), [(0, (0.650, 0.704, 0.286)), (1, (0.072, 0.990, 0.105))])
def test_a_pure_stain_only_grows_stronger_or_weaker(stain: int, colour: tuple[float, ...]) -> None:
    density = np.array(colour) / np.linalg.norm(colour)
    image = np.rint(255 * np.exp(-0.7 * density)).astype(np.uint8)[None, None]
    rng = np.random.default_rng(4)
    factor = np.exp(0.2 * np.random.default_rng(4).standard_normal(3))[stain]
    found = stain_jitter(image, 0.2, rng)[0, 0]
    np.testing.assert_allclose(found, 255 * np.exp(-0.7 * factor * density), atol=2)
