"""A slide as a stream: what comes out, the same for any number of processes, and no grid to be seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drawn_slide import DrawnSource
from lpdseg.errors import DataError
from lpdseg.maps.labelling import likeliest
from lpdseg.model.lpd import LPD
from lpdseg.segmenting.prediction import Prediction
from lpdseg.segmenting.segmenter import Evidence, Segmenter
from lpdseg.segmenting.slides.blend import Band
from lpdseg.segmenting.slides.engine import Job, LocalEngine
from lpdseg.segmenting.slides.labels import LabelFile
from lpdseg.segmenting.slides.meter import Pace
from lpdseg.segmenting.slides.plan import plan_segments
from lpdseg.segmenting.slides.stream import (
    band_labels,
    band_probabilities,
    band_prototypes,
    first_highest,
    stream_labels,
)
from lpdseg.slides.grid import Grid

WINDOW = 32


class Rows:
    """Keeps rows of probabilities."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        self.array = np.full((channels, size[1], size[0]), 77, np.uint8)

    def write_rows(self, top: int, probabilities: np.ndarray) -> None:
        self.array[:, top : top + probabilities.shape[1]] = probabilities


def streamed(
    segmenter: Segmenter,
    source: DrawnSource,
    folder: Path,
    *,
    overlap: int = 16,
    readers: int = 0,
    tissue: Callable[[int, int, int, int], bool] = lambda *_: True,
    progress: Callable[[Pace], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, Pace]:
    """Labels, probabilities and pace of a drawn slide."""
    size = source.view.size
    grid = Grid(size, WINDOW, overlap)
    job = Job(source, plan_segments(grid, tissue, 3), WINDOW, grid.weights())
    labels, store = LabelFile(folder, size, 2), Rows(3, size)
    with LocalEngine(segmenter, readers) as engine:
        pace = stream_labels(engine, job, size, labels, classes=2, background=True, store=store, progress=progress)
    return labels.array[:], store.array, pace


def test_labels_and_probabilities_against_the_whole_slide_at_once(
    segmenter: Segmenter, drawn: Callable[..., Any], tmp_path: Path
) -> None:
    source = drawn(75, 90)
    labels, probabilities, pace = streamed(segmenter, source, tmp_path / "x")
    grid = Grid((75, 90), WINDOW, 16)
    sums, total, weights = np.zeros((3, 90, 75), np.float32), np.zeros((90, 75), np.float32), grid.weights()
    for row in range(grid.rows):
        for column in range(grid.columns):
            x, y = grid.origin(row, column)
            found = segmenter.segment(source.view.read(x, y, WINDOW, WINDOW)).probabilities
            sums[:, y : y + WINDOW, x : x + WINDOW] += found * weights
            total[y : y + WINDOW, x : x + WINDOW] += weights
    mean = sums / total
    second, first = np.sort(mean, 0)[-2:]
    clear = first - second > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(labels[clear], mean.argmax(0)[clear])
    np.testing.assert_allclose(probabilities / 255, mean, atol=0.5 / 255 + 1e-5)
    assert pace.done == pace.total == grid.rows * grid.columns


def test_any_number_of_processes_gives_the_same_bits(
    segmenter: Segmenter, drawn: Callable[..., Any], tmp_path: Path
) -> None:
    source = drawn(130, 75, seed=3)
    plain = streamed(segmenter, source, tmp_path / "0")
    for readers in (1, 2):
        found = streamed(segmenter, source, tmp_path / str(readers), readers=readers)
        np.testing.assert_array_equal(found[0], plain[0])
        np.testing.assert_array_equal(found[1], plain[1])


def test_prototypes_divide_the_labels_and_change_nothing_of_them(
    segmenter: Segmenter, tiny_lpd: Callable[..., LPD], drawn: Callable[..., Any], tmp_path: Path
) -> None:
    network = tiny_lpd(head=8).eval()
    network.bank.weight.data.mul_(50)  # prototypes that differ
    with_head, size = segmenter.computed_by(network).with_settings(gate="none"), (130, 75)
    source = drawn(*size, seed=3)
    grid = Grid(size, WINDOW, 16)
    plain = streamed(with_head, source, tmp_path / "plain")
    found = []
    for readers in (0, 2):
        job = Job(source, plan_segments(grid, lambda x, *_: x != 64, 3), WINDOW, grid.weights(), prototypes=True)
        labels, won = (
            LabelFile(tmp_path / name / str(readers), size, background) for name, background in (("c", 2), ("p", 5))
        )
        with LocalEngine(with_head, readers) as engine:
            stream_labels(engine, job, size, labels, classes=2, background=True, prototypes=won)
        found.append((labels.array[:], won.array[:]))
    (labels, won), (again, won_again) = found
    np.testing.assert_array_equal(labels, again)
    np.testing.assert_array_equal(won, won_again)
    np.testing.assert_array_equal(np.array([0, 0, 1, 1, 1, 2], np.uint8)[won], labels)
    assert len(np.unique(won)) > 3
    np.testing.assert_array_equal(labels[:, :48], plain[0][:, :48])  # where the same windows were computed


def test_a_class_without_prototypes_has_none() -> None:
    winners = np.array([[[3, 3]], [[255, 255]]], np.uint8)
    flat = np.ones((1, 2), np.float32)
    band = Band(0, np.zeros((3, 1, 2), np.float32), flat, [slice(0, 2)], winners)
    assert band_prototypes(band, np.array([[0, 1]], np.uint8), 5).tolist() == [[3, 5]]


@pytest.mark.parametrize("size", [(1, 1), (20, 31), (32, 32), (33, 5)])
def test_slides_smaller_than_a_window(
    segmenter: Segmenter, drawn: Callable[..., Any], tmp_path: Path, size: tuple[int, int]
) -> None:
    source = drawn(*size)
    labels, probabilities, _ = streamed(segmenter, source, tmp_path / "x")
    assert labels.shape == size[::-1] and labels.max() <= 2
    assert (abs(probabilities.astype(int).sum(0) - 255) <= 1).all()


def test_glass_is_not_computed_and_is_background(
    segmenter: Segmenter, drawn: Callable[..., Any], tmp_path: Path
) -> None:
    told: list[Pace] = []
    labels, probabilities, pace = streamed(
        segmenter, drawn(96, 96), tmp_path / "x", overlap=0, tissue=lambda x, y, *_: y == 32, progress=told.append
    )
    assert (labels[:32] == 2).all() and (labels[64:] == 2).all()
    assert (probabilities[2, :32] == 255).all() and not probabilities[:2, 64:].any()
    assert pace.done == pace.total == 3 and told[-1].done == 3


def test_a_slide_without_tissue_is_background(
    segmenter: Segmenter, drawn: Callable[..., Any], tmp_path: Path
) -> None:
    labels, _, pace = streamed(segmenter, drawn(50, 60), tmp_path / "x", tissue=lambda *_: False)
    assert (labels == 2).all() and (pace.done, pace.total, pace.left) == (0, 0, None)


def test_a_read_error_in_the_middle_ends_the_stream(
    segmenter: Segmenter, drawn: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"drawn\.svs cannot be read at x 0, y 48"):
        streamed(segmenter, drawn(75, 90, damaged=79), tmp_path / "x", readers=1)


def test_what_was_not_computed_has_no_class_and_equals_go_to_the_first() -> None:
    sums = np.array([[[0.0, 0.5, 0.2]], [[0.0, 0.5, 0.3]]], np.float32)
    weights = np.array([[0.0, 1.0, 0.5]], np.float32)
    band = Band(0, sums, weights, [slice(0, 3)])
    np.testing.assert_array_equal(band_labels(band, 2), [[2, 0, 1]])
    np.testing.assert_array_equal(band_probabilities(band, background=False), [[[0, 128, 102]], [[0, 128, 153]]])
    np.testing.assert_array_equal(band_probabilities(band, background=True), [[[0, 128, 102]], [[255, 128, 153]]])


class Moody(Segmenter):
    """Errs as networks do: by a mood of its own in each window, and more towards the window's edges."""

    def observe(self, images: torch.Tensor) -> Evidence:
        return Evidence({}, torch.zeros(len(images), 2), (WINDOW, WINDOW), (WINDOW, WINDOW))

    def decide(self, evidence: Evidence, images: torch.Tensor, labels: Any = None) -> Prediction:
        places = torch.arange(WINDOW)
        depth = torch.minimum(places, places.flip(0))
        edge = torch.exp(-torch.minimum(depth[:, None], depth[None]) / 4.0) * 0.3
        mood = images.float().mean((1, 2, 3)) * 7 % 1 * 0.2
        first = (0.3 + edge + mood[:, None, None])[:, None]
        probabilities = torch.cat([first, 0.9 - first, torch.full_like(first, 0.1)], 1)
        nothing = torch.zeros(len(images), 2, dtype=torch.bool)
        return Prediction(
            probabilities.argmax(1).to(torch.uint8), probabilities, probabilities, probabilities[:, :2], nothing
        )


@pytest.mark.parametrize(("overlap", "hidden"), [(0, False), (16, True)])
def test_no_grid_is_visible(
    segmenter: Segmenter, drawn: Callable[..., Any], tmp_path: Path, overlap: int, hidden: bool
) -> None:
    """Steps from column to column on the borders of windows are as large as steps elsewhere."""
    moody = Moody(
        segmenter.model, segmenter.classes, segmenter.settings, segmenter.calibration, (0.0, 0.1, 1.0), "mean"
    )
    _, probabilities, _ = streamed(moody, drawn(400, 400), tmp_path / "x", overlap=overlap)
    steps = np.abs(np.diff(probabilities[0, WINDOW:-WINDOW].astype(float), axis=1)).mean(0)
    starts = np.arange(0, 400 - WINDOW, WINDOW - overlap)[1:-1]
    borders = np.union1d(starts, starts + WINDOW)
    borders = borders[(borders > WINDOW) & (borders < 400 - WINDOW)] - 1  # step i lies between columns i and i + 1
    inside = np.setdiff1d(np.arange(WINDOW, 400 - WINDOW), borders)
    assert bool(steps[borders].mean() <= steps[inside].mean() * 1.05) is hidden


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_the_first_highest_is_the_likeliest_of_tensors(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.integers(-1, 3, (channels, 7, 9)).astype(np.float32)  # many are equal
    sums[rng.random(sums.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(first_highest(sums), likeliest(torch.from_numpy(sums[None]))[0].numpy())
