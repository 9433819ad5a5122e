"""`lpdseg segment` and `lpdseg evaluate` as a user runs them."""

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lpdseg import api
from lpdseg.cli.evaluate import what_was_compared, what_was_rescaled
from lpdseg.cli.main import main
from lpdseg.data.patches import read_image
from lpdseg.workflows import patches


def test_a_folder_becomes_masks_with_a_record(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, images = tmp_path / "out", small_data / "valid" / "img"
    options = ["--probabilities", "--overlay", "--batch", "3", "--device", "cpu", "--gate", "none"]
    whole = ["segment", str(small_run), str(small_data / "valid"), "--out", str(tmp_path / "whole"), *options]
    assert main(whole) == 0  # a folder of a data set holds masks as well
    shown = capsys.readouterr()
    assert shown.err.startswith("passed over masks and such beside the images: mask/") and "4 masks in" in shown.out
    assert main(["segment", str(small_run), str(images), "--out", str(out), *options]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and shown.out.startswith(f"4 masks in {out / 'masks'}; mean area: pink ")
    segmenter = api.load(small_run, device="cpu", gate="none")
    names = sorted(path.stem for path in images.iterdir())
    for name in names:
        wanted = segmenter.segment(read_image(images / f"{name}.png"))
        with Image.open(out / "masks" / f"{name}.png") as mask:
            assert mask.mode == "P"
            np.testing.assert_array_equal(np.asarray(mask), wanted.mask)
        with np.load(out / "probabilities" / f"{name}.npz") as found:
            assert found["probabilities"].shape == (2, 32, 32)
        with Image.open(out / "overlays" / f"{name}.png") as picture:
            assert picture.mode == "RGB" and picture.width >= 320
    about = json.loads((out / "segment.json").read_text())
    weights = json.loads((small_run / "checkpoints" / "best.json").read_text())["files"]["weights"]
    digest = hashlib.sha256((small_run / "checkpoints" / weights).read_bytes()).hexdigest()
    assert about["weights_sha256"] == digest
    assert (about["images"], about["segmented"], about["skipped"]) == (4, 4, [])
    assert about["predict"]["gate"] == "none" and about["classes"]["names"] == ["pink", "blue"]
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["image"]).stem for row in rows] == names
    for row in rows:
        assert float(row["share_pink"]) + float(row["share_blue"]) == pytest.approx(1, abs=1e-5)
        assert 0 <= float(row["probability_pink"]) <= 1
        assert (out / row["mask"]).is_file()


def test_the_prototypes_of_masks_are_written_where_asked_for(
    small_run: Path, prototype_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, images = tmp_path / "out", small_data / "valid" / "img"
    words = [str(images), "--out", str(out), "--prototypes", "--device", "cpu"]
    assert main(["segment", str(small_run), *words]) == 2
    assert "masks of this run are made by class maps" in capsys.readouterr().err and not out.exists()
    assert main(["segment", str(prototype_run), *words]) == 0
    assert f"Maps of prototypes in {out / 'prototypes'}." in capsys.readouterr().out
    segmenter = api.load(prototype_run, device="cpu")
    for path in images.iterdir():
        wanted = segmenter.segment(read_image(path))
        assert wanted.prototypes is not None and wanted.prototype_names == ("pink 1", "pink 2", "blue 1", "blue 2")
        with Image.open(out / "prototypes" / path.name) as won, Image.open(out / "masks" / path.name) as mask:
            np.testing.assert_array_equal(np.asarray(won), wanted.prototypes.clip(max=255))
            np.testing.assert_array_equal(np.asarray(won) // 2, np.asarray(mask))


def test_how_sure_masks_are_is_written_where_asked_for(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, images = tmp_path / "out", small_data / "valid" / "img"
    words = ["segment", str(small_run), str(images), "--out", str(out), "--uncertainty", "--device", "cpu"]
    assert main(words) == 0
    assert f"{out / 'uncertainty'}, 0 sure to 255 wholly unsure." in capsys.readouterr().out
    assert {path.name for path in (out / "uncertainty").iterdir()} == {path.name for path in images.iterdir()}
    assert main([*words, "--to", "csv"]) == 2
    assert "--uncertainty is for patches; for whole slides use --to uncertainty" in capsys.readouterr().err


def test_bad_images_are_skipped_where_asked_for_and_listed(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = Path(shutil.copytree(small_data / "valid" / "img", tmp_path / "images"))
    bad = sorted(images.iterdir())[1]
    bad.write_bytes(b"no image")
    arguments = ["segment", str(small_run), str(images), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*arguments, "--on-error", "skip"]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("3 masks in")
    title, sentence = shown.err.splitlines()
    assert title == "Skipped 1 of 4 images:" and str(bad) in sentence
    assert not (tmp_path / "out" / "masks" / bad.name).exists()
    about = json.loads((tmp_path / "out" / "segment.json").read_text())
    assert about["segmented"] == 3 and len(about["skipped"]) == 1


def test_evaluate_writes_what_it_shows(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", str(tmp_path / "e.json"), "--csv", str(tmp_path / "e.csv")]
    gates = ["--gate", "predicted", "--gate", "oracle", "--gate", "predicted"]
    assert main(["evaluate", str(small_run), "--data", str(small_data), "--device", "cpu", *gates, *files]) == 0
    shown = capsys.readouterr()
    records = json.loads((tmp_path / "e.json").read_text())
    assert [entry["gate"] for entry in records] == ["predicted", "oracle"]
    assert f"{records[0]['miou']:.2f}" in shown.out and "IoU pink" in shown.out
    compared, rescaled = shown.out.splitlines()[-2:]
    assert compared.startswith("4 images of 2 patients, split valid.")
    reliability = records[0]["reliability"]
    assert f"temperature {reliability['temperature']:g} of training, found on this very split" in rescaled
    assert f"{reliability['ece']:.2f}" in shown.out and f"{reliability['ece_unscaled']:.2f}" in shown.out
    assert reliability["temperature"] == api.load(small_run, device="cpu").calibration.temperature != 1
    assert len((tmp_path / "e.csv").read_text().splitlines()) == 3
    assert shown.err == ""


def test_the_line_below_the_table_says_where_thresholds_come_from() -> None:
    record = {"images": 1, "patients": 1, "unit": "patients", "split": "test", "gate": "predicted"}
    assert "1 patient, split test" in what_was_compared([record], True)
    assert "come from the valid split" in what_was_compared([record], True)
    assert "chosen on this very split" in what_was_compared([record | {"split": "valid"}], True)
    for split in ("valid", "test"):
        assert "are 0.5, since training had no masks" in what_was_compared([record | {"split": split}], False)
    assert "thresholds" not in what_was_compared([record | {"gate": "none"}], True)
    assert "only for comparison with papers" in what_was_compared([record | {"gate": "oracle"}], True)


def test_the_line_below_says_where_the_temperature_comes_from() -> None:
    record = {"split": "test", "reliability": {"temperature": 1.25}}
    assert "the temperature 1.25 of training, found on the valid split" in what_was_rescaled([record], True)
    assert "temperature 1, since the run has none" in what_was_rescaled([record], False)


def test_evaluating_a_run_without_validation_masks_says_so(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(small_data, tmp_path / "data"))
    shutil.rmtree(data / "valid")
    settings = (*small_settings, "train.epochs=0.4", "predict.gate=none")
    api.train(data, tmp_path / "run", classes="pink,blue", overrides=settings, device="cpu")
    arguments = ["evaluate", str(tmp_path / "run"), "--data", str(small_data), "--device", "cpu"]
    assert main(arguments) == 0
    assert "are 0.5, since training had no masks" in capsys.readouterr().out
    # The same run asks for no gate; masks follow it unless another is named.
    for words, gate in (([], "none"), (["--gate", "predicted"], "predicted")):
        out, images = tmp_path / gate, small_data / "valid" / "img"
        arguments = ["segment", str(tmp_path / "run"), str(images), "--out", str(out), "--device", "cpu"]
        assert main([*arguments, *words]) == 0
        assert json.loads((out / "segment.json").read_text())["predict"]["gate"] == gate


def test_headers_are_checked_before_the_first_mask(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = Path(shutil.copytree(small_data / "valid" / "img", tmp_path / "images")), tmp_path / "out"
    last = sorted(images.iterdir())[-1]
    Image.new("RGBA", (32, 32)).save(last)
    arguments = ["segment", str(small_run), str(images), "--out", str(out), "--device", "cpu", "--batch", "1"]
    assert main(arguments) == 1
    assert f"{last} has mode RGBA" in capsys.readouterr().err
    assert not out.exists()


def test_ctrl_c_counts_the_masks_that_are_there(
    small_run: Path,
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, out = Path(shutil.copytree(small_data / "valid" / "img", tmp_path / "images")), tmp_path / "out"
    sorted(images.iterdir())[0].write_bytes(b"no image")
    write, written = patches.write_mask, list[Path]()

    def stopped_at_the_third(path: Path, *rest: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(patches, "write_mask", stopped_at_the_third)
    arguments = ["segment", str(small_run), str(images), "--out", str(out), "--device", "cpu"]
    assert main([*arguments, "--on-error", "skip"]) == 130
    assert capsys.readouterr().err == f"lpdseg: stopped; the 2 masks in {out / 'masks'} are whole\n"
