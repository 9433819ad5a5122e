import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpdseg.data.synthetic.noise import direction, generator, pick, slope, smooth_noise, softened


def test_streams_differ_by_any_part_of_their_key_and_repeat():
    keys = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    draws = [generator(*key).random() for key in keys]
    assert len(set(draws)) == len(keys)
    assert draws == [generator(*key).random() for key in keys]


def test_pick_follows_the_weights_and_never_takes_a_zero():
    rng = generator(3)
    drawn = np.bincount([pick(rng, (3.0, 0.0, 1.0)) for _ in range(2000)], minlength=3)
    assert drawn[1] == 0
    assert drawn[0] / 2000 == pytest.approx(0.75, abs=0.04)


@given(st.floats(-5, 5, width=32))
def test_directions_are_unit_vectors_at_the_angle_asked_for(turns):
    cosine, sine = direction(np.array([turns], np.float32))
    assert cosine[0] ** 2 + sine[0] ** 2 == pytest.approx(1, abs=1e-5)
    assert cosine[0] == pytest.approx(np.cos(2 * np.pi * turns), abs=2e-3)
    assert sine[0] == pytest.approx(np.sin(2 * np.pi * turns), abs=2e-3)


def test_smooth_noise_is_centred_smooth_and_about_one_strong():
    field = smooth_noise(generator(1), (600, 500), 6.0)
    assert field.shape == (600, 500) and field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=0.1)
    assert field.std() == pytest.approx(1, abs=0.25)
    assert np.abs(np.diff(field, axis=0)).max() < 1


@settings(max_examples=20)
@given(st.integers(0, 4), st.integers(0, 1000))
def test_soft_shares_of_a_divided_plane_add_up_to_one(radius, seed):
    parts = np.floor(3 * generator(seed).random((20, 17)))
    shares = sum(softened(parts == part, radius) for part in range(3))
    np.testing.assert_allclose(shares, 1, atol=1e-6)


def test_softening_spreads_a_pixel_by_twice_the_radius_and_no_further():
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    soft = softened(mask, 2)
    rows, columns = np.nonzero(soft)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 14, 6, 14)
    assert soft.sum() == pytest.approx(1)
    assert soft[10, 10] == soft.max()


def test_slope_points_uphill():
    y, x = np.mgrid[:9, :9].astype(np.float32)
    up_x, up_y = slope(3 * x + 4 * y)
    np.testing.assert_allclose(up_x[1:-1, 1:-1], 0.6, atol=1e-6)
    np.testing.assert_allclose(up_y[1:-1, 1:-1], 0.8, atol=1e-6)
    flat_x, flat_y = slope(np.zeros((4, 4), np.float32))
    assert (flat_x == 1).all() and (flat_y == 0).all()
