"""Training regions of prototypes: what is kept with a run, and what it is made of."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pink_and_blue
from interrupted import StopAfter
from lpdseg.data.importers import load_data
from lpdseg.data.patches import read_image
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.errors import CheckpointError
from lpdseg.model.head import PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.settings import load_settings
from lpdseg.tissue import TissueClasses
from lpdseg.training.loop import train
from lpdseg.training.regions import (
    FILE,
    Region,
    find_regions,
    keep_regions,
    of_one_class,
    read_regions,
    turns,
    winners_of_class,
)

CLASSES = TissueClasses(("pink", "blue"))


@pytest.fixture
def records(tmp_path: Path) -> list[PatchRecord]:
    """Blue, pink and mixed patches by turns, of three patients."""
    rng, found = np.random.default_rng(0), []
    for number in range(18):
        pixels, mask = pink_and_blue.draw(number, rng)
        Image.fromarray(pixels).save(tmp_path / f"{number:02d}.png")
        labels = (int((mask == 0).any()), int((mask == 1).any()))
        found.append(PatchRecord(tmp_path / f"{number:02d}.png", labels, "train", f"p{number // 6}"))
    return found


@pytest.fixture
def dense(tiny_lpd: Callable[..., LPD]) -> Segmenter:
    settings = PredictSettings(fusion=(0, 0.4, 0.6), refine="crf", views=("plain",), background="none")
    model = tiny_lpd(counts=(2, 3), head=8).eval()
    assert isinstance(model.head, PrototypeHead)
    model.head.live[4] = False
    return Segmenter(model, CLASSES, settings, Calibration.plain(2), (0.0, 0.1, 1.0), "mean")


def grown(won: np.ndarray) -> list[set[tuple[int, int]]]:
    """Connected areas, by growing each from a pixel."""
    left, areas = set(zip(*(places.tolist() for places in np.nonzero(won)), strict=True)), []
    while left:
        area, edge = set[tuple[int, int]](), [left.pop()]
        while edge:
            y, x = edge.pop()
            area.add((y, x))
            near = {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)} & left
            left -= near
            edge += near
        areas.append(area)
    return areas


def test_regions_are_the_largest_areas_in_patches_of_the_morphology(
    dense: Segmenter, records: list[PatchRecord], tmp_path: Path
) -> None:
    shares = np.zeros((18, 3), np.float32)
    shares[:, 0], shares[:, 1] = 0.7, 0.3
    shares[np.arange(18) // 3 % 2 == 1] = (0.2, 0.8, 0.0)
    found = find_regions(dense, records, shares, tmp_path)
    assert [(one.name, one.number, one.retired) for one in found] == [
        ("pink", 1, False), ("pink", 2, False), ("blue", 1, False), ("blue", 2, False), ("blue", 3, True),
    ]  # fmt: skip
    assert sum(one.share or 0 for one in found[:2]) == pytest.approx(1)
    assert found[4].regions == ()
    assert sum(len(one.regions) for one in found) >= 3
    by_name = {record.path.name: (index, record) for index, record in enumerate(records)}
    for k, one in enumerate(found):
        c = CLASSES.names.index(one.name)
        assert len({region.path for region in one.regions}) == len(one.regions)
        for region in one.regions:
            index, record = by_name[region.path]
            assert record.labels == ((1, 0), (0, 1))[c]
            assert shares[index, one.number - 1] >= 0.5
            winners, values = winners_of_class(of_one_class(dense), read_image(record.path), c)
            area = max(grown(winners == k), key=len)
            ys, xs = zip(*area, strict=True)
            assert region.box == (min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1)
            assert region.share == pytest.approx(len(area) / 32**2)
            assert region.strength == pytest.approx(np.mean([values[k, y, x] for y, x in area]), rel=1e-4)
            assert region.patient == record.patient


def test_siblings_share_the_class_and_the_retired_win_nothing(dense: Segmenter, records: list[PatchRecord]) -> None:
    winners, values = winners_of_class(of_one_class(dense), read_image(records[0].path), 1)
    assert set(np.unique(winners)) <= {2, 3}
    np.testing.assert_array_equal(winners, 2 + values[2:4].argmax(0))


def test_no_patient_comes_again_before_all_others_have() -> None:
    assert turns(["a", "a", "b", "a", "b", "c"]) == [0, 1, 0, 2, 1, 0]


TAUGHT = ("loss.composite.weight=1", "model.head_width=8", "loss.morphology.encoder=stain", "train.epochs=1")


def data_in(folder: Path) -> Manifest:
    return load_data(folder, CLASSES)


def test_a_run_keeps_its_regions_and_one_that_goes_on_the_same(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    settings, data = load_settings(None, [*small_settings, *TAUGHT]), data_in(small_data)
    train(settings, data, tmp_path / "whole")
    train(settings, data, tmp_path / "cut", reporter=StopAfter(2))
    assert not (tmp_path / "cut" / FILE).exists()
    train(settings, data, tmp_path / "cut", resume=True)
    kept = read_regions(tmp_path / "whole")
    assert kept is not None
    assert (tmp_path / "whole" / FILE).read_text() == (tmp_path / "cut" / FILE).read_text()
    assert kept.root == small_data
    regions = [region for one in kept.prototypes for region in one.regions]
    assert regions
    for region in regions:
        with Image.open(small_data / region.path) as image:
            x, y, width, height = region.box
            assert 0 <= x < x + width <= image.width
            assert 0 <= y < y + height <= image.height
    for name in CLASSES.names:
        own = [one for one in kept.prototypes if one.name == name and not one.retired]
        assert sum(one.share or 0 for one in own) == pytest.approx(1)


def test_runs_that_were_taught_no_morphologies_keep_none(small_run: Path, small_data: Path) -> None:
    assert read_regions(small_run) is None
    assert keep_regions(small_run, data_in(small_data), "cpu") is None
    assert not (small_run / FILE).exists()


def test_an_image_that_is_gone_costs_the_regions_alone(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    data = data_in(small_data)
    train(load_settings(None, [*small_settings, *TAUGHT]), data, tmp_path / "run")
    (tmp_path / "run" / FILE).unlink()
    moved = tuple(replace(one, path=tmp_path / one.path.name) for one in data.records)
    told = keep_regions(tmp_path / "run", replace(data, records=moved), "cpu")
    assert told is not None
    assert told.startswith("no regions are kept")
    assert str(tmp_path) in told
    assert not (tmp_path / "run" / FILE).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "root": "a", "prototypes": [{}]}'])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CheckpointError, match=FILE):
        read_regions(tmp_path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    region = {"path": "a.png", "patient": "p", "box": [1, 2, 3, 4], "share": 0.5, "strength": 0.25}
    one = {"name": "pink", "number": 1, "retired": False, "share": None, "regions": [region]}
    (tmp_path / FILE).write_text(json.dumps({"format": 1, "root": "/data", "prototypes": [one]}))
    kept = read_regions(tmp_path)
    assert kept is not None
    assert kept.prototypes[0].regions == (Region("a.png", "p", (1, 2, 3, 4), 0.5, 0.25),)
