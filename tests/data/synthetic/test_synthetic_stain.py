from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpdseg.data.synthetic.noise import generator
from lpdseg.data.synthetic.stain import densities, draw_stain, stained


def _clean(seed):
    return replace(draw_stain(generator(seed)), blur=0.0, grain=0.0, shade=0.0)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0, 1.25, width=32), st.floats(0, 1.0, width=32))
def test_densities_come_back_from_the_colours(seed, h, e):
    stain = _clean(seed)
    image = stained(np.full((2, 3), h, np.float32), np.full((2, 3), e, np.float32), stain)
    found_h, found_e = densities(image, stain)
    # Half a grey level of the darkest channel, and the condition of two dyes that overlap.
    tolerance = 6 * 0.6 / float(image.min())
    np.testing.assert_allclose(found_h, h, atol=tolerance)
    np.testing.assert_allclose(found_e, e, atol=tolerance)


@pytest.mark.parametrize("seed", range(5))
def test_colours_follow_beer_and_lambert(seed):
    stain = _clean(seed)
    h, e = 0.8, 0.5
    image = stained(np.full((1, 1), h, np.float32), np.full((1, 1), e, np.float32), stain)
    depth = h * stain.strength[0] * np.array(stain.haematoxylin) + e * stain.strength[1] * np.array(stain.eosin)
    np.testing.assert_allclose(image[0, 0], np.array(stain.white) * np.exp(-depth), atol=1)


@pytest.mark.parametrize("seed", range(20))
def test_every_drawn_stain_looks_like_haematoxylin_and_eosin(seed):
    stain = draw_stain(generator(seed))
    assert np.linalg.norm(stain.haematoxylin) == pytest.approx(1)
    assert np.linalg.norm(stain.eosin) == pytest.approx(1)
    one, none = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    blue, pink = stained(one, none, stain)[0, 0].astype(int), stained(none, one, stain)[0, 0].astype(int)
    assert blue[2] > blue[0] > blue[1]  # blue-purple
    assert pink[0] > pink[2] > pink[1]  # pink


def test_empty_glass_is_white_and_the_densest_pixel_is_no_overflow():
    stain = _clean(0)
    empty, full = np.zeros((3, 3), np.float32), np.full((3, 3), 50, np.float32)
    np.testing.assert_allclose(stained(empty, empty, stain)[1, 1], stain.white, atol=1)
    assert stained(full, full, stain).max() < 5


def test_blur_keeps_the_mean_and_lowers_the_contrast():
    stain = _clean(0)
    stripes = np.zeros((16, 16), np.float32)
    stripes[:, ::2] = 1
    sharp = stained(stripes, stripes, stain).astype(float)
    soft = stained(stripes, stripes, replace(stain, blur=1.0)).astype(float)
    assert soft[4:12, 4:12].std() < 0.8 * sharp[4:12, 4:12].std()
    assert soft[4:12, 4:12].mean() == pytest.approx(sharp[4:12, 4:12].mean(), abs=1)
