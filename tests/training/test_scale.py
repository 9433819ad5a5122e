"""Patches of another magnification than the encoder's are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from lpdseg.data.records import PatchRecord
from lpdseg.model.encoders import build_encoder
from lpdseg.model.weights_folder import RECORD
from lpdseg.training.scale import scale_note


def patches(*mpps: float | None) -> list[PatchRecord]:
    return [PatchRecord(Path(f"{n}.png"), (1,), "train", "p", mpp=mpp) for n, mpp in enumerate(mpps)]


@pytest.mark.parametrize(
    ("weights", "mpps", "told"),
    [
        ("owkin/phikon", [0.5, 0.25, 1.0], False),  # the median counts
        ("owkin/phikon", [1.0], False),
        ("owkin/phikon", [1.01], True),
        ("owkin/phikon", [0.25], False),
        ("owkin/phikon", [0.24], True),
        ("paige-ai/Virchow2", [4.0], False),
        ("paige-ai/Virchow2", [4.1], True),
        ("owkin/phikon", [None, None], False),
        ("owkin/phikon", [None, 2.0], True),
        ("microsoft/resnet-18", [2.0], False),
        (None, [2.0], False),
    ],
)
def test_more_than_twofold_is_told(weights: str | None, mpps: list[float | None], told: bool) -> None:
    note = scale_note(weights, patches(*mpps))
    assert (note is not None) == told
    if note is not None:
        assert weights is not None and weights in note


def test_what_is_told() -> None:
    note = scale_note("owkin/phikon", patches(2.0))
    assert (
        note is not None and "the patches have 2 microns per pixel, but owkin/phikon has learned from 0.5" in note
    )
    note = scale_note("paige-ai/Virchow2", patches(8.0))
    assert note is not None and "learned from 0.25 to 2:" in note


def test_training_tells_and_records_it(small_data: Path, small_settings: tuple[str, ...], tmp_path: Path) -> None:
    from lpdseg.api import train

    build_encoder("resnet18", stages=3).backbone.save_pretrained(tmp_path / "weights")  # type: ignore[operator]
    (tmp_path / "weights" / RECORD).write_text(json.dumps({"hub": {"id": "lab/net"}, "mpp": 2.0}))
    rows = ["path,split,mpp,pink,blue"]
    rows += [
        f"{path},train,0.5,{path.stem[-3]},{path.stem[-2]}" for path in sorted((small_data / "train").iterdir())
    ]
    (tmp_path / "data.csv").write_text("\n".join(rows) + "\n")
    options: dict[str, Any] = {"classes": "pink,blue", "device": "cpu", "weights": str(tmp_path / "weights")}
    train(tmp_path / "data.csv", tmp_path / "run", overrides=(*small_settings, "train.epochs=0.1"), **options)
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert [note for note in record["data"]["notes"] if "has learned from 2" in note]
    assert record["weights"]["of"] == "lab/net"
