"""`lpdseg prototypes` as a user runs it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lpdseg import api
from lpdseg.cli.main import main
from lpdseg.cli.prototypes import summary
from lpdseg.data.importers import load_data
from lpdseg.insight.coverage import measure_coverage
from lpdseg.tissue import TissueClasses
from lpdseg.training.regions import read_regions


def test_a_run_becomes_an_atlas_a_picture_and_measures(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, picture, measures = tmp_path / "a.html", tmp_path / "a.png", tmp_path / "a.json"
    options = ["--out", str(page), "--png", str(picture), "--json", str(measures), "--patches", "1"]
    assert main(["prototypes", str(small_run), "--data", str(small_data), *options, "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert f"open {page}" in shown.out
    found = json.loads(measures.read_text())
    data = load_data(small_data, TissueClasses(("pink", "blue")))
    expected = measure_coverage(api.load(small_run, device="cpu"), data, "valid")
    assert found == json.loads(json.dumps(expected))
    for name, one in found["classes"].items():
        assert name in shown.out
        assert f"{one['effective_prototypes']:.2f}" in shown.out
    assert summary(found) in shown.out
    with Image.open(picture) as image:
        assert image.format == "PNG"
    text = page.read_text(encoding="utf-8")
    assert "small: what the prototypes have become" in text
    assert "Method lpd, encoder resnet18, seed 0." in text


def test_what_is_wrong_is_one_line_and_leaves_nothing(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "a.html"
    for changed, code, told in (
        (["--split", "test"], 1, "'test'"),
        (["--classes", "red,blue"], 1, "trained for the classes pink, blue"),
        (["--patches", "0"], 2, "--patches"),
    ):
        wanted = ["prototypes", str(small_run), "--data", str(small_data), "--out", str(page), *changed]
        assert main(wanted) == code
        shown = capsys.readouterr()
        assert shown.err.startswith("lpdseg: ")
        assert shown.err.count("\n") == 1
        assert told in shown.err
    assert not page.exists()


@pytest.fixture(scope="module")
def taught_run(small_data: Path, small_settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose prototypes were taught morphologies."""
    run = tmp_path_factory.mktemp("taught") / "run"
    taught = ("loss.composite.weight=1", "model.head_width=8", "loss.morphology.encoder=stain", "train.epochs=1")
    api.train(small_data, run, classes="pink,blue", overrides=(*small_settings, *taught), device="cpu")
    return run


def test_a_run_alone_becomes_an_atlas_of_training_regions(
    taught_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = read_regions(taught_run)
    assert kept is not None
    first = next(f"{one.name} {one.number}" for one in kept.prototypes if not one.retired)
    edits, page = tmp_path / "edits.yaml", tmp_path / "a.html"
    edits.write_text(f"{first}: {{name: flat}}")
    wanted = ["prototypes", str(taught_run), "--out", str(page), "--device", "cpu", "--patches", "2"]
    assert main([*wanted, "--edits", str(edits)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    regions = sum(len(one.regions[:2]) for one in kept.prototypes)
    assert f"{regions} training regions show what the prototypes stand for" in shown.out
    text = page.read_text()
    assert f"{first}: flat" in text
    assert text.count("<figcaption>") == regions
    bare = tmp_path / "bare"
    shutil.copytree(small_data / "valid" / "img", bare / "valid" / "img")
    shutil.copytree(small_data / "train", bare / "train")
    measures = tmp_path / "m.json"
    assert main([*wanted, "--data", str(bare), "--json", str(measures)]) == 0
    assert json.loads(measures.read_text())["masks"] == "predicted"
    shown = capsys.readouterr().out
    assert "by predicted masks" in shown
    assert "claimed" not in shown


def test_measures_without_data_are_refused(
    prototype_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "a.html"
    assert main(["prototypes", str(prototype_run), "--out", str(page), "--json", str(tmp_path / "m.json")]) == 2
    assert "name them with --data" in capsys.readouterr().err
    assert not page.exists()


def test_a_run_without_regions_asks_for_data(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prototypes", str(small_run), "--out", str(tmp_path / "a.html"), "--device", "cpu"]) == 1
    assert "name them with --data" in capsys.readouterr().err


def test_a_method_without_prototypes_is_refused(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, page = tmp_path / "run", tmp_path / "a.html"
    api.train(
        small_data, run, classes="pink,blue", method="cam", overrides=small_settings, epochs=0.5, device="cpu"
    )
    assert main(["prototypes", str(run), "--data", str(small_data), "--out", str(page)]) == 2
    assert "no prototypes" in capsys.readouterr().err
    assert not page.exists()


def test_summary_names_the_dead_and_the_least_covered() -> None:
    coverage: dict[str, Any] = {
        "prototypes": 8,
        "retired_prototypes": 2,
        "dead": [{"class": "TUM", "prototype": 2, "share": 0.0}],
        "worst_subtype": {"name": "spindle", "class": "TUM", "claimed": 0.25},
        "subtype_coverage": 0.5,
        "subtype_coverage_interval": [0.4, 0.625],
        "region_information": 1.125,
        "normalised_region_information": 0.75,
        "region_by_chance": 0.05,
        "classes": {
            "TUM": {"normalised_region_information": 0.52},
            "GLA": {"normalised_region_information": 0.98},
            "NEC": {"normalised_region_information": None},
        },
    }
    assert summary(coverage) == (
        "1 of 6 prototypes is dead: TUM 2. Sub-type coverage 50.0 % [40.0, 62.5] (95 % interval over patients), "
        "least spindle with 25.0 %. The winner of a region tells 1.12 bits of its sub-type, 75 % of what there is "
        "to tell (TUM 52 %, GLA 98 %); by chance 0.05."
    )
    assert (
        summary(coverage | {"dead": [], "worst_subtype": None, "region_information": None})
        == "None of 6 prototypes is dead."
    )
