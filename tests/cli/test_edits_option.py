"""`--edits FILE` counts for patches, slides and figures alike, and its digest is in whatever they leave."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
from PIL import Image

from lpdseg import api
from lpdseg.cli.main import main
from lpdseg.data.importers import load_data
from lpdseg.data.patches import read_image
from lpdseg.errors import DataError, SettingsError
from lpdseg.segmenting.edits import Offsets, read_edits
from lpdseg.tissue import tissue_classes


@pytest.fixture
def edits(tmp_path: Path) -> Path:
    """All that was pink is blue."""
    path = tmp_path / "edits.yaml"
    path.write_text("pink 1: {move: blue, name: faded}\npink 2: {merge: pink 1}\n")
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_patches_and_their_record(prototype_run: Path, small_data: Path, edits: Path, tmp_path: Path) -> None:
    out, images = tmp_path / "out", small_data / "valid" / "img"
    digest = hashlib.sha256(edits.read_bytes()).hexdigest()
    segment = ["segment", str(prototype_run), str(images), "--out", str(out), "--device", "cpu"]
    assert main([*segment, "--edits", str(edits)]) == 0
    for path in images.iterdir():
        with Image.open(out / "masks" / path.name) as mask:
            assert (np.asarray(mask) == 1).all()
        wanted = api.load(prototype_run, device="cpu", edits=edits).segment(read_image(path))
        assert (wanted.mask == 1).all()
    assert json.loads((out / "segment.json").read_text())["edits_sha256"] == digest
    assert {row["edits"] for row in rows(out / "summary.csv")} == {digest[:12]}
    assert main(segment) == 0
    assert json.loads((out / "segment.json").read_text())["edits_sha256"] is None
    assert {row["edits"] for row in rows(out / "summary.csv")} == {""}


def test_figures_and_their_record(
    prototype_run: Path, small_data: Path, edits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(edits.read_bytes()).hexdigest()
    command = ["evaluate", str(prototype_run), "--data", str(small_data), "--device", "cpu", "--edits", str(edits)]
    assert (
        main([*command, "--gate", "none", "--json", str(tmp_path / "r.json"), "--csv", str(tmp_path / "r.csv")])
        == 0
    )
    assert f"edits {digest[:12]}" in " ".join(capsys.readouterr().out.split())
    [record] = json.loads((tmp_path / "r.json").read_text())
    assert record["edits"] == digest and [row["edits"] for row in rows(tmp_path / "r.csv")] == [digest]
    confusion = np.array(record["confusion"])
    assert confusion[:, 0].sum() == 0 and confusion[:, 1].sum() == 4 * 32 * 32
    segmenter = api.load(prototype_run, device="cpu")
    assert api.evaluate(segmenter, small_data, edits=edits, gates=["none"])[0] == record
    assert api.evaluate(segmenter, small_data)[0]["edits"] is None


def test_slides_are_made_again_under_other_edits(prototype_run: Path, edits: Path, tmp_path: Path) -> None:
    pixels = np.full((190, 250, 3), 245, np.uint8)
    noise = np.random.default_rng(0).integers(-20, 20, (120, 160, 3))
    pixels[40:160, 50:210] = np.where(np.arange(160)[None, :, None] < 70, (230, 120, 170), (80, 70, 160)) + noise
    slide, out = tmp_path / "a.tif", tmp_path / "out"
    tifffile.imwrite(
        slide, pixels, photometric="rgb", tile=(64, 64), resolution=(2e4, 2e4), resolutionunit="CENTIMETER"
    )

    def done(**options: object) -> api.SlideResult:
        options = {"to": "csv,geojson", "model_mpp": 0.5, "workers": 0, "device": "cpu"} | options
        return api.segment_slides(prototype_run, [slide], out, **options)[0]

    digest = read_edits(edits).sha256
    chosen = replace(read_edits(edits), offsets=Offsets((1.0, -1.0), "f" * 64, frozenset()))
    assert done(edits=chosen).offsets_data == "f" * 64
    state = json.loads((out / "states" / "a.json").read_text())
    assert state["settings"]["offsets"] == [1.0, -1.0] and state["settings"]["offsets_data"] == "f" * 64
    assert "offsets chosen on data ffffffffffff" in state["about"]
    assert rows(out / "summary.csv")[0]["offsets_data"] == "f" * 12
    assert done(edits=chosen).status == "kept"
    first = done(edits=edits)
    assert "of other settings (offsets, offsets_data)" in first.sentence
    pixels_of = {area.name: area.pixels for area in first.areas}
    assert first.status == "segmented" and pixels_of["pink"] == 0 and pixels_of["blue"] > 10_000
    state = json.loads((out / "states" / "a.json").read_text())
    assert state["settings"]["edits_sha256"] == digest and f"edits {digest[:12]}" in state["about"]
    assert rows(out / "summary.csv")[0]["edits"] == digest[:12]
    assert done(edits=read_edits(edits)).status == "kept"
    edits.write_text("pink 1: {name: faded}\n")
    again = done(edits=edits)
    assert again.status == "segmented" and f"of other edits ({digest[:12]})" in again.sentence
    without = done()
    assert without.status == "segmented" and "of other edits" in without.sentence and without.edits == ""
    assert "of no edits" in done(edits=edits).sentence
    edits.write_text("pink 1: {move: blue, name: faded}\npink 2: {merge: pink 1}\nblue 2: {merge: blue 1}\n")
    found = json.loads(done(edits=edits, prototypes=True).outputs["geojson of prototypes"].read_text())
    names = {feature["properties"]["classification"]["name"] for feature in found["features"]}
    assert names == {"blue: faded", "blue: 1"}


def test_offsets_that_are_chosen_anew_are_in_all_that_is_left(
    prototype_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edits, images = tmp_path / "edits.yaml", small_data / "valid" / "img"
    edits.write_text("pink 1: {move: blue}\nblue 1: {move: pink}\n")
    prototype_run = Path(shutil.copytree(prototype_run, tmp_path / "run"))
    state = prototype_run / "checkpoints" / "best.json"  # with both classes open, or offsets would change nothing
    state.write_text(json.dumps(json.loads(state.read_text()) | {"thresholds": [0.1, 0.125]}))
    data = load_data(small_data, tissue_classes("pink,blue")).fingerprint()
    said = ["--edits", str(edits), "--data", str(small_data), "--device", "cpu"]
    out = tmp_path / "out"
    assert main(["segment", str(prototype_run), str(images), "--out", str(out), *said]) == 0
    record, plain = json.loads((out / "segment.json").read_text()), api.load(prototype_run, device="cpu")
    assert record["offsets_data"] == data and record["edits_sha256"] == read_edits(edits).sha256
    assert list(record["thresholds"].values()) == plain.calibration.thresholds.tolist()
    offsets = record["offsets"]
    assert list(offsets.values()) != plain.calibration.offsets.tolist()
    assert {row["offsets_data"] for row in rows(out / "summary.csv")} == {data[:12]}

    chosen = api.choose_offsets(prototype_run, edits, small_data, device="cpu")
    assert chosen.offsets is not None and list(chosen.offsets.values) == list(offsets.values())
    segmenter = api.load(prototype_run, device="cpu", edits=chosen)
    for path in images.iterdir():
        with Image.open(out / "masks" / path.name) as mask:
            np.testing.assert_array_equal(np.asarray(mask), segmenter.segment(read_image(path)).mask)
    graph = tmp_path / "model.onnx"
    assert main(["export", str(prototype_run), "--out", str(graph), *said[:4]]) == 0
    told = json.loads(onnx.load(graph).metadata_props[-1].value)
    assert told["offsets"] == list(offsets.values()) and told["offsets_data"] == data

    capsys.readouterr()
    evaluate = ["evaluate", str(prototype_run), "--data", str(small_data), "--device", "cpu", "--edits", str(edits)]
    evaluate += ["--gate", "predicted", "--offsets-from", str(small_data), "--json", str(tmp_path / "r.json")]
    assert main([*evaluate, "--csv", str(tmp_path / "r.csv")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"offsets from {data[:12]}" in shown and "chosen under the edits, on the valid split" in shown
    [found] = json.loads((tmp_path / "r.json").read_text())
    assert (found["offsets"], found["offsets_data"]) == (offsets, data)
    assert [row["offsets_data"] for row in rows(tmp_path / "r.csv")] == [data]
    [kept] = api.evaluate(prototype_run, small_data, edits=edits, device="cpu")
    assert found["miou"] > kept["miou"] and kept["offsets_data"] is None


def test_offsets_are_not_chosen_on_what_is_compared(
    prototype_run: Path, small_data: Path, edits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tested = Path(shutil.copytree(small_data, tmp_path / "tested"))
    (tested / "valid").rename(tested / "test")
    chosen = api.choose_offsets(prototype_run, edits, small_data, device="cpu")
    with pytest.raises(
        DataError, match=r"chosen on 4 of the test patches of .*tested, whose figures would flatter"
    ):
        api.evaluate(prototype_run, tested, "test", edits=chosen, device="cpu")
    api.evaluate(prototype_run, small_data, "valid", edits=chosen, device="cpu")
    command = ["segment", str(prototype_run), str(small_data), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*command, "--data", str(small_data)]) == SettingsError.exit_code
    assert "--data names data to choose offsets on under edits" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--edits", str(edits), "--data", str(tested)]) == DataError.exit_code
    assert "has no 'valid' patches" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_runtime_under_edits_gives_the_masks_of_pytorch(prototype_run: Path, edits: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(prototype_run, tmp_path / "run"))
    edits.write_text("pink 1: {hide: true}\nblue 1: {move: pink}\n")
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), np.uint8)
    plain, wanted = (api.load(run, device="cpu", edits=said).segment_batch(images) for said in (None, edits))
    found = api.load(run, backend="onnx", edits=edits).segment_batch(images)
    for ours, theirs, before in zip(found, wanted, plain, strict=True):
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)
        assert abs(ours.probabilities - before.probabilities).max() > 0.01


def test_what_does_not_fit_is_a_sentence(
    prototype_run: Path, small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edits.yaml"
    path.write_text("red 1: {hide: true}\n")
    command = ["evaluate", str(prototype_run), "--data", str(small_data), "--device", "cpu", "--edits", str(path)]
    assert main(command) == DataError.exit_code
    told = " ".join(capsys.readouterr().err.split())
    assert "red 1 is no prototype of this run" in told and "Traceback" not in told
    path.write_text("pink 1: {hide: true}\n")
    command[1] = str(small_run)
    assert main(command) == SettingsError.exit_code
    assert "whose masks are not made of prototypes" in " ".join(capsys.readouterr().err.split())
