"""`lpdseg verify`: figures had again, and every change of weights, thresholds, data or record is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lpdseg.api import train
from lpdseg.cli.main import main
from lpdseg.data.importers import load_data
from lpdseg.data.records import Manifest
from lpdseg.data.seen import SEEN
from lpdseg.insight.verify import ELSEWHERE, Verified, verify
from lpdseg.tissue import TissueClasses, tissue_classes
from lpdseg.training.record import describe_data
from lpdseg.workflows.bundles.making import make_bundle


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_run, tmp_path / "run")


@pytest.fixture
def data(small_data: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_data, tmp_path / "data")


def change(path: Path, alter: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(path.read_text())
    alter(values)
    path.write_text(json.dumps(values))


def faults(found: Verified) -> str:
    assert not found.holds
    return "\n".join(found.faults)


def test_a_run_verifies_to_the_last_bit(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(run), "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["what"]: row for row in found["rows"]}
    assert found["holds"] and not found["faults"] and len(rows) == len(found["rows"])
    assert all(row["holds"] and row["tolerance"] == 0 and row["recorded"] == row["now"] for row in rows.values())
    state = json.loads((run / "checkpoints" / "best.json").read_text())
    assert rows["mIoU"]["now"] == state["best"] and rows["threshold pink"]["now"] == state["thresholds"][0]
    assert {"weights of best, SHA-256", "fingerprint of the data", "offset blue", "IoU blue"} <= rows.keys()
    assert main(["verify", str(run), "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert f"All that could be checked holds, {len(rows)} of {len(rows)}." in shown
    assert "training again with seed 0 on the same machine" in " ".join(shown.split())


def test_one_changed_bit_of_the_weights_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = next(run.glob("checkpoints/weights-*"))
    content = bytearray(weights.read_bytes())
    content[-4] ^= 1  # the last of a mantissa: it may move no pixel
    weights.write_bytes(content)
    assert main(["verify", str(run), "--device", "cpu"]) == 1
    assert "weights of best, SHA-256 was recorded as" in capsys.readouterr().out
    weights.unlink()
    assert "is missing" in faults(verify(run, device="cpu")) or "cannot read" in faults(verify(run, device="cpu"))


def test_counts_of_another_size_are_told(run: Path) -> None:
    change(run / "checkpoints" / "best.json", lambda values: values["valid"]["confusion"][1].pop())
    assert "pixels counted otherwise" in faults(verify(run, device="cpu"))


@pytest.mark.parametrize("also", [(), ("run.json",)])
def test_a_changed_threshold_is_told(also: tuple[str, ...], run: Path) -> None:
    def alter(values: dict[str, Any]) -> None:
        values["thresholds"][1] += 1e-9

    for name in ("checkpoints/best.json", *also):
        change(run / name, alter)
    told = faults(verify(run, device="cpu"))
    assert "threshold blue was recorded as" in told and ("run.json: thresholds" in told) != bool(also)


def test_a_changed_figure_is_told(run: Path) -> None:
    change(run / "checkpoints" / "best.json", lambda state: state["valid"]["classes"]["pink"].update(iou=99.9))
    assert "IoU pink was recorded as 99.9 and is" in faults(verify(run, device="cpu"))


def test_data_elsewhere_is_the_same_and_its_changes_are_told(run: Path, data: Path) -> None:
    assert verify(run, data, "cpu").holds
    mask = data / "valid" / "mask" / "v0_12.png"
    Image.fromarray(1 - (pixels := _pixels(mask)).clip(0, 1)).save(mask)
    told = faults(verify(run, data, "cpu"))
    assert "the mask valid/mask/v0_12.png has changed" in told and "fingerprint of the data" in told
    assert "mIoU was recorded as" in told and "the image" not in told
    Image.fromarray(pixels).save(mask)
    next((data / "train").glob("t0_0*")).unlink()
    (data / "valid" / "img" / "v1_13.png").unlink()
    told = faults(verify(run, data, "cpu"))
    assert "train/t0_0[" in told and told.count("is missing") == 2
    assert "valid/img/v1_13.png is missing" in told


def test_an_image_that_a_manifest_names_and_that_is_gone_is_told(
    small_data: Path,
    data: Path,
    small_settings: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(
        data, tmp_path / "run", classes="pink,blue", overrides=[*small_settings, "train.epochs=0.5"], device="cpu"
    )
    gone = next((data / "valid" / "img").iterdir())
    Image.new("RGB", (32, 32)).save(gone)
    gone.with_suffix(".txt").write_text("")
    (data / "valid" / "mask" / gone.name).write_bytes(b"no image")
    assert main(["verify", str(tmp_path / "run"), "--device", "cpu"]) == 1
    assert gone.name in capsys.readouterr().out


def test_what_an_earlier_version_did_not_record_is_said(run: Path) -> None:
    (run / SEEN).unlink()
    for name in ("best", "last"):
        change(run / "checkpoints" / f"{name}.json", lambda state: state.pop("weights_sha256"))
    found = verify(run, device="cpu")
    assert found.holds
    assert sum("no digest was recorded" in one for one in found.unknown) == 2
    assert any("recorded no list of them" in one for one in found.unknown)


def test_with_other_libraries_figures_may_differ_a_little(run: Path) -> None:
    change(run / "run.json", lambda record: record["versions"].update(torch="2.6.0"))
    found = verify(run, device="cpu")
    rows = {row.what: row for row in found.rows}
    assert found.holds and rows["mIoU"].tolerance == ELSEWHERE and "threshold pink" not in rows
    assert any("torch is" in one and "and was 2.6.0" in one for one in found.unknown)
    change(run / "checkpoints" / "best.json", lambda state: state["valid"].update(mdice=1.0))
    assert "mDice was recorded as 1 " in faults(verify(run, device="cpu"))


def test_a_run_without_validation_masks_has_no_figures_to_check(
    data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    shutil.rmtree(data / "valid" / "mask")
    train(
        data, tmp_path / "run", classes="pink,blue", overrides=[*small_settings, "train.epochs=0.4"], device="cpu"
    )
    found = verify(tmp_path / "run", device="cpu")
    assert found.holds and any("validation figures: none" in one for one in found.unknown)


def test_the_place_of_the_data_is_recorded_absolute(small_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_data.parent)
    source = load_data(Path(small_data.name), tissue_classes("pink,blue"))
    assert describe_data(source, "0")["source"] == str(small_data.absolute())
    assert describe_data(Manifest(TissueClasses(("a", "b")), (), Path()), "0")["source"] == str(small_data.parent)


def _pixels(path: Path) -> Any:
    import numpy as np

    return np.array(Image.open(path))


def test_the_files_of_a_bundle_are_held_against_their_sums(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(small_run, tmp_path / "bundle")
    found = verify(bundle, small_data, "cpu")
    rows = {row.what: row for row in found.rows}
    assert found.holds, found.faults
    assert {f"{name}, SHA-256" for name in ("bundle.json", "model.safetensors", "README.md")} <= rows.keys()
    assert {"mIoU", "IoU pink", "fingerprint of the data"} <= rows.keys()
    assert not [line for line in found.unknown if "SHA256SUMS" in line]
    (bundle / "code.py").write_text("")
    (bundle / "more").mkdir()
    assert [line for line in verify(bundle, small_data, "cpu").unknown if "SHA256SUMS" in line] == [
        "code.py and 1 more in the bundle's folder, which SHA256SUMS does not name: no command reads it"
    ]
    (bundle / "README.md").write_text("another card")
    (bundle / "model.safetensors").unlink()
    told = faults(verify(bundle, small_data, "cpu"))
    assert "README.md, SHA-256 was recorded as" in told
    assert "model.safetensors, SHA-256 was recorded as" in told and "and is nothing now" in told
    assert main(["verify", str(bundle), "--data", str(small_data), "--device", "cpu"]) == 1
    assert "README.md, SHA-256" in capsys.readouterr().out
    (bundle / "bundle.json").write_text("{}")
    assert main(["verify", str(bundle), "--data", str(small_data), "--device", "cpu"]) == 1
    assert "bundle.json has changed" in capsys.readouterr().err
