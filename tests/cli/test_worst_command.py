"""`lpdseg evaluate --worst`: which patches and patients to look at first."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from lpdseg import api
from lpdseg.cli.main import main
from lpdseg.evaluation.worst import PatchFigures


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def evaluate(small_run: Path, small_data: Path) -> Any:
    return lambda *more: main(["evaluate", str(small_run), "--data", str(small_data), "--device", "cpu", *more])


def test_the_worst_patches_are_listed_and_tables_hold_all(
    evaluate: Any, small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patches, patients = tmp_path / "a.csv", tmp_path / "b.csv"
    assert evaluate("--worst", "2", "--patches", str(patches), "--patients", str(patients)) == 0
    shown = capsys.readouterr().out
    rows = rows_of(patches)
    assert "the worst 2 of 4 patches by error" in " ".join(shown.split())
    listed = [Path(row["patch"]).name for row in rows]
    assert [name in shown for name in listed] == [True, True, False, False]
    assert [float(row["error"]) for row in rows] == sorted((float(row["error"]) for row in rows), reverse=True)
    told: list[PatchFigures] = []
    (record,) = api.evaluate(small_run, small_data, device="cpu", patches=told.extend)
    assert {str(one.record.path): f"{100 * (one.error or 0):.4f}" for one in told} == {
        row["patch"]: f"{float(row['error']):.4f}" for row in rows
    }
    assert sum(one.confusion for one in told).tolist() == record["confusion"]  # type: ignore[union-attr]
    people = rows_of(patients)
    assert {row["patient"]: int(row["patches"]) for row in people} == dict.fromkeys(record["by_patient"], 2)
    assert sum(int(row["pixels"]) for row in people) == sum(map(sum, record["confusion"]))


def test_runs_are_compared_and_a_folder_holds_some(evaluate: Any, prototype_run: Path, tmp_path: Path) -> None:
    members = tmp_path / "benchmark"
    shutil.copytree(prototype_run, members / "generated" / "LPD" / "0" / "run")
    paths = tmp_path / "a.csv", tmp_path / "b.csv"
    assert evaluate("--patches", str(paths[0]), "--against", str(prototype_run)) == 0
    assert evaluate("--patches", str(paths[1]), "--against", str(members), "--by", "disagreement") == 0
    apart = [float(row["disagreement"]) for row in rows_of(paths[0])]
    assert apart == sorted(apart, reverse=True) and apart[0] > 0
    assert rows_of(paths[0]) == rows_of(paths[1])


def test_what_cannot_be_is_told(evaluate: Any, small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--by", "error") == 2
    assert "add --worst N, --patches or --patients" in capsys.readouterr().err
    assert evaluate("--worst", "1", "--by", "disagreement") == 2
    assert "without another run to compare with" in capsys.readouterr().err
    assert evaluate("--worst", "1", "--against", str(small_run.parent)) == 1  # which holds the run itself alone
    assert f"{small_run.parent} is no other run for the classes pink, blue, and" in capsys.readouterr().err
