import numpy as np
import pytest

from lpdseg.data.synthetic.noise import generator
from lpdseg.data.synthetic.patient import draw_patient
from lpdseg.data.synthetic.places import mosaic, nearest, place
from lpdseg.data.synthetic.scene import Scene, depth


@pytest.fixture
def scene():
    return Scene(generator(5), draw_patient(0, "train", 0), (160, 120), 0.5)


def _everywhere(scene):
    return np.ones(scene.shape, bool)


def test_places_keep_their_distance(scene):
    places = place(scene, _everywhere(scene), (8.0, 8.0), (1.0, 1.0), 1.0)
    assert len(places) > 35
    gaps = np.hypot(places.x[:, None] - places.x, places.y[:, None] - places.y) * scene.mpp
    np.fill_diagonal(gaps, np.inf)
    assert gaps.min() > 8.0


def test_places_stay_in_their_area_and_off_earlier_ones(scene):
    left = _everywhere(scene)
    left[:, 60:] = False
    first = place(scene, left, (9.0, 11.0), (0.8, 1.0), 0.5)
    assert left[first.rows(), first.columns()].all()
    second = place(scene, _everywhere(scene), (9.0, 11.0), (0.8, 1.0), 0.5)
    gaps = np.hypot(first.x[:, None] - second.x, first.y[:, None] - second.y) * scene.mpp
    assert gaps.min() > 7.0
    assert (second.x >= 60).mean() > 0.9


def test_places_are_as_many_as_asked_for_where_there_is_room():
    counts = []
    for seed in range(8):
        scene = Scene(generator(seed), draw_patient(0, "train", 0), (400, 400), 0.5)  # 0.04 mm²
        counts.append(len(place(scene, _everywhere(scene), (3.0, 3.0), (1.0, 1.0), 0.0, per_mm2=800)))
    assert np.mean(counts) == pytest.approx(32, abs=6)


def test_long_axes_follow_the_field(scene):
    down = np.zeros(scene.shape, np.float32), np.ones(scene.shape, np.float32)
    places = place(scene, _everywhere(scene), (14.0, 18.0), (0.2, 0.3), 0.5, along=down, straying=0.05)
    assert np.abs(places.sine).min() > np.cos(2 * np.pi * 0.06)


def test_free_places_neither_block_nor_are_blocked(scene):
    scene.taken[:] = True
    assert len(place(scene, _everywhere(scene), (9.0, 9.0), (1.0, 1.0), 0.5)) == 0
    assert len(place(scene, _everywhere(scene), (9.0, 9.0), (1.0, 1.0), 0.5, blocking=False)) > 0


def test_nowhere_to_go_gives_no_places(scene):
    nowhere = ~_everywhere(scene)
    assert len(place(scene, nowhere, (9.0, 9.0), (1.0, 1.0), 0.5)) == 0


def test_mosaic_gives_each_nucleus_a_cell_of_one_shade(scene):
    places = place(scene, _everywhere(scene), (9.0, 9.0), (1.0, 1.0), 4.0)
    shade, border = mosaic(scene, places)
    assert len(np.unique(shade)) == len(places)
    assert 0.02 < border.mean() < 0.5
    assert not mosaic(scene, places[:0])[1].any()


def test_nearest_ranks_the_centres(scene):
    places = place(scene, _everywhere(scene), (20.0, 20.0), (1.0, 1.0), 4.0)
    x, y = scene.grid()
    ranked, first = nearest(scene, places, x, y, 3)
    gaps = np.hypot(places.x[:, None, None] * 0.5 - x, places.y[:, None, None] * 0.5 - y)
    np.testing.assert_allclose(np.stack(ranked), np.sort(gaps, axis=0)[:3], atol=1e-3)
    np.testing.assert_allclose(np.take_along_axis(gaps, first[None], 0)[0], ranked[0], atol=1e-3)


def test_depth_is_in_microns_and_large_without_an_outside(scene):
    inside = _everywhere(scene)
    assert (depth(scene, inside) > 500).all()
    inside[:, 0] = False
    assert depth(scene, inside)[7, 10] == pytest.approx(10 * scene.mpp)
