"""Settings that mean nothing for some classes are dropped, told and recorded; channels have one set of names."""

import json
from pathlib import Path

import numpy as np

from lpdseg import api
from lpdseg.export.masks import write_probabilities
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.effective import effective
from lpdseg.segmenting.patches import find_images
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.settings import as_yaml, load_settings
from lpdseg.tissue import TissueClasses
from lpdseg.workflows.patches import export_patches


def test_a_rule_for_background_needs_one() -> None:
    glass = PredictSettings(background="glass")
    assert effective(glass, TissueClasses(("a",), background=3)) == (glass, ())
    settings, notes = effective(glass, TissueClasses(("a",)))
    assert settings.background == "none" and settings.views == glass.views
    assert len(notes) == 1 and notes[0].startswith("predict.background = glass is left out: the classes have no ")
    assert effective(settings, TissueClasses(("a",))) == (settings, ())


def test_it_is_told_wherever_a_run_is_used(small_run: Path, small_data: Path, tmp_path: Path) -> None:
    segmenter = api.load(small_run, device="cpu", background="glass")
    assert len(segmenter.notes) == 1 and segmenter.settings.background == "none"
    assert segmenter.with_settings(gate="none").notes == segmenter.notes
    assert set(segmenter.notes) <= set(api.evaluate(segmenter, small_data, classes="pink,blue")[0]["notes"])
    told = export_patches(segmenter, find_images([small_data / "valid" / "img"]), tmp_path)
    assert told.notes == segmenter.notes
    record = json.loads((tmp_path / "segment.json").read_text("utf-8"))
    assert record["notes"] == list(segmenter.notes) and record["predict"]["background"] == "none"


def test_settings_are_written_with_what_does_not_act(tmp_path: Path) -> None:
    settings = load_settings(None, ["predict.background=glass"])
    notes = effective(settings.predict, TissueClasses(("a",)))[1]
    (tmp_path / "settings.yaml").write_text(as_yaml(settings, notes), "utf-8")
    assert (tmp_path / "settings.yaml").read_text("utf-8").startswith("# predict.background = glass is left out: ")
    assert load_settings(tmp_path / "settings.yaml") == settings


def test_without_the_rule_the_channels_are_the_classes_everywhere(segmenter: Segmenter, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for one, names in (
        (segmenter, ("a", "b", "background")),
        (segmenter.with_settings(background="none"), ("a", "b")),
    ):
        found = one.segment(image)
        assert one.channel_names == found.channels == names and len(found.probabilities) == len(names)
        write_probabilities(tmp_path / "x.npz", found)
        with np.load(tmp_path / "x.npz") as stored:
            assert tuple(stored["classes"]) == names and len(stored["probabilities"]) == len(names)
