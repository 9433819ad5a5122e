import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lpdseg.evaluation import Protocol, Scores, record, score_images, table, write_csv
from lpdseg.evaluation.protocol import About, difference_text, interval_beside, interval_text
from lpdseg.files import write_json
from lpdseg.tissue import PRESETS, TissueClasses

KEYS = [
    "split", "gate", "background", "refine", "edits", "offsets_data", "offsets",
    "images", "patients", "unit", "classes_in_mean", "notes",
    "miou", "mdice", "fwiou", "pixel_accuracy",
    "classes", "background_class", "image_level", "interval", "confusion",
    "by_patient", "reliability",
]  # fmt: skip


def matrices(channels: int, patients: int = 6) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 40, (patients, channels, channels)) + 100 * np.eye(channels, dtype=np.int64)


def images(classes: int) -> object:
    truth = np.eye(classes, dtype=np.int64)
    truth[:, -1] = 0
    return score_images(truth * 0.8 + 0.1, truth, np.full(classes, 0.5))


def test_intervals_and_differences_are_told_in_one_form() -> None:
    assert interval_text((80.123, 85.25)) == "[80.1, 85.2]"
    assert interval_text([-0.44, 3.2], sign=True) == "[−0.4, +3.2]"
    assert interval_text(None) == interval_text((None, 1.0)) == ""
    assert difference_text(-0.7) == "−0.70" and difference_text(1.85, ".1f") == "+1.9"
    assert difference_text(None) == "–"
    entry = {"miou": 83.421, "mdice": None, "interval": {"miou": [80.0, 86.0]}}
    assert interval_beside(entry, "miou") == "83.42 [80.0, 86.0]" and interval_beside(entry, "mdice") == "–"
    found = record(Protocol("test"), PRESETS["bcss"], matrices(5), 42)
    low, high = found["interval"]["miou"]
    assert f"miou {found['miou']:.2f} [{low:.1f}, {high:.1f}]" in repr(found)


def test_record_holds_every_figure_in_per_cent(tmp_path: Path) -> None:
    classes, counts = PRESETS["bcss"], matrices(5)
    result = record(Protocol("test", refine="crf"), classes, counts, 42, images(4))
    assert list(result) == KEYS
    scores = Scores.of(counts.sum(0), 4)
    assert result["miou"] == round(100 * float(scores.miou), 4)
    assert result["classes"]["STR"] == {
        "iou": round(100 * float(scores.iou[1]), 4),
        "dice": round(100 * float(scores.dice[1]), 4),
    }
    assert list(result["classes"]) == ["TUM", "STR", "LYM", "NEC"]
    assert result["background_class"]["iou"] == round(100 * float(scores.iou[4]), 4)
    assert result["interval"]["miou"][0] < result["miou"] < result["interval"]["miou"][1]
    low, high = result["interval"]["classes"]["NEC"]["dice"]
    assert low < result["classes"]["NEC"]["dice"] < high
    assert result["image_level"]["f1"] == 100
    assert result["image_level"]["classes"]["NEC"] == {"f1": None, "auc": None}
    assert (result["images"], result["patients"], result["confusion"]) == (42, 6, counts.sum(0).tolist())
    assert result["by_patient"] is None
    named = record(Protocol("test", refine="crf"), classes, counts, 42, patients=list("fedcba"))["by_patient"]
    assert list(named) == list("fedcba") and named["e"] == counts[1].tolist()

    write_json(tmp_path / "scores.json", [result])
    assert json.loads((tmp_path / "scores.json").read_text()) == [result]


def test_background_that_does_not_count_is_none() -> None:
    ignored = record(Protocol("test", background="ignore"), PRESETS["bcss"], matrices(5), 1)
    without = record(Protocol("test"), PRESETS["glas"], matrices(3), 1)
    assert ignored["background_class"] is None
    assert without["background_class"] is None
    assert ignored["miou"] != record(Protocol("test"), PRESETS["bcss"], matrices(5), 1)["miou"]


def test_absent_class_and_single_patient_are_none(tmp_path: Path) -> None:
    counts = matrices(3, patients=1)
    counts[:, 1], counts[:, :, 1] = 0, 0
    result = record(Protocol("valid", gate="oracle"), PRESETS["glas"], counts, 1)
    assert result["interval"] is None
    assert result["image_level"] is None
    assert result["classes"]["BEN"] == {"iou": None, "dice": None}
    assert result["miou"] == pytest.approx(
        (result["classes"]["STR"]["iou"] + result["classes"]["MAL"]["iou"]) / 2, abs=1e-4
    )
    write_json(tmp_path / "scores.json", result)  # refuses NaN


def test_csv_has_one_row_per_record_and_the_union_of_classes(tmp_path: Path) -> None:
    first = record(Protocol("test"), PRESETS["bcss"], matrices(5), 42, images(4))
    second = record(Protocol("test", gate="oracle"), TissueClasses(("A", "B, c")), matrices(2, 1), 7)
    write_csv([first, second], tmp_path / "scores.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "scores.csv").read_text())))
    assert [row["gate"] for row in rows] == ["predicted", "oracle"]
    assert float(rows[0]["miou"]) == first["miou"]
    assert float(rows[0]["miou_low"]) == first["interval"]["miou"][0]
    assert float(rows[0]["iou_TUM"]) == first["classes"]["TUM"]["iou"]
    assert float(rows[0]["image_f1_TUM"]) == 100
    assert float(rows[1]["dice_B, c"]) == second["classes"]["B, c"]["dice"]
    assert rows[0]["iou_A"] == rows[1]["iou_TUM"] == rows[1]["miou_low"] == rows[1]["image_f1"] == ""


def test_table_shows_figures_with_two_decimals() -> None:
    first = record(Protocol("test"), PRESETS["bcss"], matrices(5), 42, images(4))
    second = record(Protocol("valid", gate="none"), PRESETS["glas"], matrices(3, 1), 7)
    console = Console(width=200, file=io.StringIO())
    console.print(table([first, second]))
    text = console.file.getvalue()
    low, high = first["interval"]["miou"]
    assert f"{first['miou']:.2f} [{low:.1f}, {high:.1f}]" in text
    assert f"{second['classes']['MAL']['iou']:.2f}" in text
    assert "IoU NEC" in text and "100.00" in text and "–" in text


def test_a_mean_says_over_which_classes_it_is() -> None:
    """A class that no mask shows is no reason for 100 per cent."""
    classes = TissueClasses(("A", "B", "C"))
    counts = np.zeros((2, 3, 3), np.int64)
    counts[:, 0, 0] = 5
    alone = record(Protocol("test"), classes, counts, 2)
    assert (alone["miou"], alone["classes_in_mean"]) == (100, 1)
    assert alone["notes"] == ["means are over 1 of 3 classes, for no mask shows B, C"]
    counts[:, 0, 1] = 5  # B is found where there is none
    found = record(Protocol("test"), classes, counts, 2, about=About("files", ("patients are unknown",)))
    assert (found["miou"], found["classes_in_mean"]) == (25, 2)
    assert "no mask shows B, C; 1 of these counts as IoU 0" in found["notes"][0]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table([found]))
    told = console.export_text()
    text = " ".join(told.split())
    assert "per cent [95 % interval over files, patients unknown]" in told  # on one line, however narrow the table
    assert "note: means are over 2 of 3 classes" in text and "note: patients are unknown" in text
    whole = record(Protocol("test"), classes, np.ones((2, 3, 3), np.int64), 2)
    assert whole["notes"] == [] and whole["unit"] == "patients"
