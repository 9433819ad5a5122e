"""How sure the labels of a slide are: of the blended probabilities before refinement, as of a patch."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn_slide import DrawnSource
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides.blend import Band
from lpdseg.segmenting.slides.engine import Job, LocalEngine
from lpdseg.segmenting.slides.labels import LabelFile
from lpdseg.segmenting.slides.plan import plan_segments
from lpdseg.segmenting.slides.stream import stream_labels
from lpdseg.segmenting.slides.unsure import UnsureRows
from lpdseg.segmenting.uncertainty import Uncertainty
from lpdseg.slides.grid import Grid

WINDOW, SIZE = 32, (75, 90)


def streamed(
    segmenter: Segmenter, source: DrawnSource, folder: Path, asked: bool = True
) -> tuple[np.ndarray, UnsureRows]:
    """Labels of a drawn slide, and how sure they are."""
    grid = Grid(SIZE, WINDOW, 16)
    unrefined = asked and segmenter.settings.refine != "none"
    segments = plan_segments(grid, lambda x, *_: x != 0, 3)
    job = Job(source, segments, WINDOW, grid.weights(), unrefined=unrefined)
    labels = LabelFile(folder / "labels", SIZE, 2)
    unsure = UnsureRows(LabelFile(folder / "grey", SIZE, 0), *segmenter.how_sure.values())
    with LocalEngine(segmenter, 0) as engine:
        given = unsure if asked else None
        stream_labels(engine, job, SIZE, labels, classes=2, background=True, unsure=given)
    return labels.array[:], unsure


@pytest.mark.parametrize("refine", ["none", "crf"])
def test_a_slide_is_as_sure_as_its_blended_probabilities_before_refinement(
    segmenter: Segmenter, drawn: Callable[..., Any], tmp_path: Path, refine: str
) -> None:
    plain = segmenter.calibrated(replace(segmenter.calibration, temperature=1.5)).with_settings(
        unsure=0.5, gate="none"
    )
    refined, source, grid = plain.with_settings(refine=refine), drawn(*SIZE), Grid(SIZE, WINDOW, 16)
    labels, unsure = streamed(refined, source, tmp_path / "x")
    np.testing.assert_array_equal(labels, streamed(refined, source, tmp_path / "y", asked=False)[0])
    sums, total, weights = np.zeros((3, 90, 75), np.float32), np.zeros((90, 75), np.float32), grid.weights()
    for row in range(grid.rows):
        for column in range(1, grid.columns):
            x, y = grid.origin(row, column)
            window = np.s_[y : y + WINDOW, x : x + WINDOW]
            sums[:, *window] += plain.segment(source.view.read(x, y, WINDOW, WINDOW)).probabilities * weights
            total[window] += weights
    known = total > 0
    wanted = Uncertainty(np.where(known, sums, 1) / np.where(known, total, 3), 1.5, 0.5)
    apart = unsure.file.array[:].astype(int) - wanted.grey
    assert abs(apart[known]).max() <= 1 and not unsure.file.array[:][~known].any()
    tissue = labels != 2
    assert unsure.share == pytest.approx(wanted.unsure[tissue].mean(), abs=2e-3)
    assert 0.02 < wanted.unsure[tissue].mean() < 0.98


def test_glass_that_the_tissue_mask_finds_is_sure_and_no_tissue(tmp_path: Path) -> None:
    unsure = UnsureRows(LabelFile(tmp_path / "x", (4, 1), 0), 2.0, 0.2)
    sums = np.array([[[0.0, 0.5, 0.55, 1.0]], [[0.0, 0.5, 0.45, 0.0]]], np.float32)
    band = Band(0, sums, sums.sum(0), [slice(0, 4)])
    unsure.append(band, np.array([[2, 2, 0, 0]], np.uint8), 2)  # not computed; glass; unsure; sure
    assert unsure.file.array[:].tolist() == [[0, 0, 242, 0]] and unsure.share == 0.5


def test_without_tissue_there_is_no_share(tmp_path: Path) -> None:
    unsure = UnsureRows(LabelFile(tmp_path / "x", (2, 1), 0), 1.0, 0.2)
    unsure.append(
        Band(0, np.zeros((2, 1, 2), np.float32), np.zeros((1, 2), np.float32), []), np.full((1, 2), 2, np.uint8), 2
    )
    assert unsure.share is None
