"""The verbs in Python: what they leave behind, and that they refuse what does not belong together."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from lpdseg import api
from lpdseg.data.importers import load_data
from lpdseg.data.manifest import write_manifest
from lpdseg.data.patches import read_image
from lpdseg.data.records import Manifest
from lpdseg.errors import CheckpointError, DataError, SettingsError
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.settings import load_settings
from lpdseg.tissue import TissueClasses, tissue_classes
from noting import Notes


def test_results_name_the_weights_that_made_them_or_there_are_none(
    small_run: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training beside it may save others between the reading of the weights and of their digest."""
    run, out = shutil.copytree(small_run, tmp_path / "run"), tmp_path / "out"
    load, states = api.load, run / "checkpoints" / "best.json"

    def load_late(*words: Any, **options: Any) -> Segmenter:
        found = load(*words, **options)
        states.write_text(json.dumps(json.loads(states.read_text()) | {"step": 99}))
        return found

    monkeypatch.setattr(api, "load", load_late)
    with pytest.raises(CheckpointError, match="has saved other weights meanwhile; try again"):
        api.segment_files(run, [small_data / "valid" / "img"], out, device="cpu")
    assert not out.exists()


def test_options_stand_above_overrides_and_overrides_above_the_preset(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    settings = load_settings(None, [*small_settings, "train.seed=1"])
    notes = Notes()
    result = api.train(
        small_data, tmp_path / "run", preset=settings, overrides=["train.seed=2", "train.lr=0.5"], seed=3,
        epochs=1 / 3, device="cpu", reporter=notes,
    )  # fmt: skip
    assert (result.steps, result.total, result.interrupted) == (1, 1, False)
    written = load_settings(tmp_path / "run" / "settings.yaml")
    assert (written.train.seed, written.train.lr, written.train.epochs) == (3, 0.5, 1 / 3)
    assert any("class_0, class_1" in line for line in notes.notes)  # what the data set could not tell


def test_resuming_needs_no_settings_again(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    api.train(small_data, run, classes="pink,blue", overrides=small_settings, device="cpu", epochs=1)
    again = api.train(small_data, run, resume=True, device="cpu")
    assert again.steps == again.total == 3
    with pytest.raises(CheckpointError, match=r"started with another train\.lr"):
        api.train(small_data, run, resume=True, overrides=["train.lr=0.1"], device="cpu")
    with pytest.raises(CheckpointError, match="already holds a run"):
        api.train(small_data, run, classes="pink,blue", overrides=small_settings, device="cpu")


def test_a_run_from_before_prototypes_made_the_mask_goes_on_as_it_was(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    run, before = tmp_path / "run", ["model.head=linear", "loss.morphology.weight=0", "loss.diversity.pixels=class"]
    api.train(small_data, run, classes="pink,blue", overrides=[*small_settings, *before], device="cpu", epochs=1)
    checkpoints = [run / "checkpoints" / f"{name}.json" for name in ("last", "best")]
    for path in (run / "settings.yaml", *checkpoints):
        told = yaml.safe_load(path.read_text())
        settings = told.get("settings", told)
        del settings["model"]["head"], settings["model"]["head_merge"], settings["loss"]["morphology"]
        del settings["loss"]["contrast"]["source"], settings["loss"]["diversity"]["source"]
        path.write_text(json.dumps(told))
    again = api.train(small_data, run, resume=True, device="cpu")
    assert again.steps == again.total == 3
    assert json.loads((run / "run.json").read_text())["settings"]["model"]["head"] == "linear"


def test_every_gate_and_rule_comes_from_one_pass(
    small_run: Path, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    observe = Segmenter.observe

    def counted(self: Segmenter, images: object) -> object:
        seen.append(1)
        return observe(self, images)

    monkeypatch.setattr(Segmenter, "observe", counted)
    api.load(small_run, device="cpu")
    tried = len(seen)  # loading tries a network
    told: list[str] = []
    records = api.evaluate(
        small_run, small_data, gates=("predicted", "oracle"), backgrounds=("keep", "ignore"), device="cpu",
        progress=lambda what, done, total: told.append(f"{what} {done}/{total}"),
    )  # fmt: skip
    assert [(entry["gate"], entry["background"]) for entry in records] == [
        ("predicted", "keep"), ("predicted", "ignore"), ("oracle", "keep"), ("oracle", "ignore"),
    ]  # fmt: skip
    assert len(seen) == 2 * tried + 1
    assert told[0] == "predicting 1/1" and told[-1] == "scoring, gate oracle 1/1"
    assert 1 < records[0]["miou"] <= 100 and records[0]["refine"] == "none"


def test_a_preset_s_classes_give_way_to_those_of_the_data(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    write_manifest(load_data(small_data, TissueClasses(("pink", "blue"))), tmp_path / "data" / "manifest.csv")
    preset = load_settings(None, [*small_settings, "data.classes=bcss", "train.epochs=1"])
    notes = Notes()
    api.train(tmp_path / "data", tmp_path / "run", preset=preset, device="cpu", reporter=notes)
    assert "classes of its own, pink, blue; those of the preset, TUM, STR, LYM, NEC, are not used" in notes.notes[0]
    assert load_settings(tmp_path / "run" / "settings.yaml", []).data.classes is None
    assert api.load(tmp_path / "run", device="cpu").classes.names == ("pink", "blue")
    assert api.train(tmp_path / "data", tmp_path / "run", resume=True, device="cpu").steps > 0
    for chosen in ({"classes": "bcss"}, {"overrides": ["data.classes=bcss"]}):
        with pytest.raises(DataError, match=r"the class columns are pink, blue, but .* TUM.* with --classes"):
            api.train(tmp_path / "data", tmp_path / "no", preset=preset, device="cpu", **chosen)


def test_data_of_other_classes_is_refused(small_run: Path, small_data: Path, tmp_path: Path) -> None:
    both = r"classes pink, blue, but .* has red, blue"
    with pytest.raises(CheckpointError, match=both):
        api.evaluate(small_run, small_data, classes="red,blue", device="cpu")
    manifest = load_data(small_data, tissue_classes("red,blue"))
    with pytest.raises(CheckpointError, match=both):
        api.evaluate(small_run, manifest, device="cpu")
    write_manifest(manifest, tmp_path / "manifest.csv")
    with pytest.raises(CheckpointError, match=both):
        api.evaluate(small_run, tmp_path, device="cpu")
    background = Manifest(TissueClasses(("pink", "blue"), background=2), manifest.records, small_data)
    with pytest.raises(CheckpointError, match="has pink, blue, background"):
        api.evaluate(small_run, background, device="cpu")


def test_labels_that_look_like_a_published_set_are_not_taken_for_the_run_s(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "train" / "p1[1 0 0 1].png")
    with pytest.raises(DataError, match=r"4 digits, but 2 are expected"):
        api.evaluate(small_run, tmp_path, device="cpu")


def test_masks_are_read_by_the_data_s_own_values(small_run: Path, small_data: Path, tmp_path: Path) -> None:
    """The same masks with other values on disk give the same figures."""
    for source in sorted(small_data.rglob("valid/*/*.png")):
        target = tmp_path / source.relative_to(small_data)
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(source) as image:
            values = np.asarray(image)
        Image.fromarray(values + 7 if target.parent.name == "mask" else values).save(target)
    manifest = load_data(tmp_path, TissueClasses(("pink", "blue"), indices=(7, 8)))
    plain = api.evaluate(small_run, small_data, device="cpu")
    moved = api.evaluate(small_run, manifest, device="cpu")
    assert plain == moved


def test_one_image_by_path_array_run_or_segmenter(small_run: Path, small_data: Path) -> None:
    path = next(iter(sorted((small_data / "valid" / "img").glob("*.png"))))
    segmenter = api.load(small_run, device="cpu")
    by_path, by_array = api.segment(small_run, path), api.segment(segmenter, read_image(path))
    np.testing.assert_array_equal(by_path.mask, by_array.mask)
    assert by_path.mask.shape == (32, 32)


def test_files_need_a_gate_without_ground_truth(small_run: Path, small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="oracle gate needs ground-truth"):
        api.segment_files(small_run, [small_data], tmp_path / "out", gate="oracle")
    with pytest.raises(DataError, match="does not exist"):
        api.segment_files(small_run, [tmp_path / "none"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_start_that_left_no_checkpoint_does_not_block_the_next(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    record = {"status": "running", "settings": {}, "data": {}, "versions": {}}  # killed before the first step
    (run / "run.json").write_text(json.dumps(record))
    assert api.train(small_data, run, overrides=small_settings, epochs=1 / 3, device="cpu").steps == 1
