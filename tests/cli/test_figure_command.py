"""`lpdseg figure`: a figure for a paper from runs alone."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.cli.main import main
from lpdseg.tissue import COLOUR_BLIND


def words(path: Path) -> list[str]:
    return re.findall(r">([^<>]+)</text>", path.read_text(encoding="utf-8"))


def test_a_grid_of_two_runs_shows_masks_and_prototypes(
    small_run: Path, prototype_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "below" / "grid.svg"
    asked = ["--prototypes", "--patches", "2", "--palette", "colour-blind", "--width-mm", "120", "--device", "cpu"]
    assert main(["figure", "grid", str(prototype_run), str(small_run), "--out", str(out), *asked]) == 0
    shown = words(out)
    assert [word for word in shown if word in ("image", "truth", "mask", "prototypes", "small")] == [
        "image", "truth", "mask", "prototypes", "prototypes", "mask", "small",
    ]  # fmt: skip
    assert {"best", "worst", "pink", "blue"} <= set(shown) and len([w for w in shown if w.endswith(" %")]) == 4
    assert "#{:02x}{:02x}{:02x}".format(*COLOUR_BLIND[0]) in out.read_text(encoding="utf-8")
    told = capsys.readouterr().out
    assert "2 of 4 valid patches" in told and "at even ranks of the pixel accuracy of prototypes" in told


def test_a_grid_goes_from_the_best_of_all_patches_to_the_worst_as_the_report_does(
    small_run: Path, small_data: Path
) -> None:
    from lpdseg import api
    from lpdseg.data.opening import open_data
    from lpdseg.evaluation.worst import worst_together
    from lpdseg.insight.paper.gather import gather_grid
    from lpdseg.insight.report_parts import look_at_each

    model, data = api.load(small_run, device="cpu"), open_data(small_data, chosen="pink,blue")
    told: list[tuple[int, int]] = []
    found = gather_grid([("small", model)], data, "valid", count=2, progress=lambda *now: told.append(now))
    known = len(data.with_masks("valid"))
    assert told[-1] == (known, known)
    ranked = worst_together([look_at_each(model, data, "valid")])
    rights = [f"{100 * (1 - one.error):.0f} %" for (one,) in (ranked[-1], ranked[0])]
    assert [row.tiles[2].under for row in found.rows] == rights


def test_a_grid_of_masks_that_must_be_misread_is_refused(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "g.png"
    shutil.copytree(small_data, data)
    for path in (data / "valid" / "mask").iterdir():
        Image.fromarray(np.where(np.arange(32)[:, None] < 16, 0, 255).astype(np.uint8).repeat(32, 1)).save(path)
    asked = ["figure", "grid", str(small_run), "--data", str(data), "--out", str(out), "--device", "cpu"]
    assert main(asked) != 0
    assert "255" in capsys.readouterr().err and not out.exists()


def test_patches_can_be_named(small_run: Path, small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "grid.svg"
    asked = ["figure", "grid", str(small_run), "--out", str(out), "--device", "cpu"]
    assert main([*asked, "--patch", "v0_12.png"]) == 0
    assert words(out).count("image") == 1 and "best" not in words(out)
    shutil.copytree(small_data / "train", tmp_path / "bare" / "train")
    bare = ["--data", str(tmp_path / "bare"), "--classes", "pink,blue", "--split", "train", "--patches", "3"]
    assert main([*asked, *bare]) == 0
    assert "truth" not in words(out)  # no mask says it


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--patch", "no.png"], "none of the valid patches of"),
        (["--prototypes"], "are made by class maps, so no pixel of them has a prototype"),
    ],
)
def test_what_a_grid_cannot_show_is_said(
    asked: list[str], said: str, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "g.png"
    assert main(["figure", "grid", str(small_run), "--out", str(out), "--device", "cpu", *asked]) != 0
    assert said in capsys.readouterr().err and not out.exists()


def test_prototypes_have_the_names_that_edits_give(prototype_run: Path, small_data: Path, tmp_path: Path) -> None:
    edits, out = tmp_path / "edits.yaml", tmp_path / "p.svg"
    edits.write_text("pink 1: {name: <b>foam</b>}\n", encoding="utf-8")
    asked = ["--data", str(small_data), "--edits", str(edits), "--device", "cpu"]
    assert main(["figure", "prototypes", str(prototype_run), "--out", str(out), *asked]) == 0
    shown = words(out)
    assert "1: &lt;b&gt;foam&lt;/b&gt;" in shown and {"pink", "blue", "2"} <= set(shown)


def test_curves_and_a_matrix_need_no_more_than_a_run(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.svg"
    assert main(["figure", "curves", str(small_run), "--parts", "--out", str(out)]) == 0
    assert {"validation mIoU, %", "total loss", "classification, L_cls"} <= set(words(out))
    assert main(["figure", "confusion", str(small_run), "--out", str(out), "--device", "cpu"]) == 0
    assert {"truth", "predicted", "pink", "blue"} <= set(words(out))


def test_the_ending_is_checked_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("grid", "prototypes", "curves", "confusion"):
        assert main(["figure", what, "no-run", "--out", str(tmp_path / "f.gif")]) == 1
        assert "f.gif must end in .png, .svg or .pdf" in capsys.readouterr().err
