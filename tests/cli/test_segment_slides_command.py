"""`lpdseg segment --to …` as a user runs it, and how slides and patches are told apart."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

import lpdseg
from lpdseg.cli.main import main
from lpdseg.cli.slide_options import OPTIONS, asked_settings
from lpdseg.segmenting.slides.meter import Pace
from lpdseg.slides.inputs import SlideFile
from lpdseg.workflows.slides import many
from lpdseg.workflows.slides.one import Stage, Work
from lpdseg.workflows.slides.result import SlideResult


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A folder with two small slides of 0.5 microns per pixel."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for number, name in enumerate(("a[1].tif", "b.tif")):
        pixels = np.full((190, 250, 3), 245, np.uint8)
        pixels[40:160, 50:210] = (230 - 40 * number, 120, 170)
        tifffile.imwrite(
            folder / name,
            pixels,
            photometric="rgb",
            tile=(64, 64),
            resolution=(2e4, 2e4),
            resolutionunit="CENTIMETER",
        )
    return folder


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Callable[..., int]:
    """Runs `lpdseg segment` on inputs and options; output goes to `out`."""

    def call(*words: object) -> int:
        options = ["--out", tmp_path / "out", "--device", "cpu"]
        return main([str(word) for word in ("segment", small_run, *words, *options)])

    return call


SLIDE = ("--model-mpp", "0.5", "--workers", "0")


def test_prototypes_of_slides_are_written_where_asked_for(
    small_run: Path, prototype_run: Path, slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(slides / "b.tif"), "--out", str(tmp_path / "out"), "--device", "cpu", "--prototypes", *SLIDE]
    assert main(["segment", str(small_run), *words, "--to", "csv"]) == 2
    assert "leave --prototypes out" in capsys.readouterr().err
    assert main(["segment", str(prototype_run), *words, "--to", "zarr"]) == 2
    assert "no prototypes in --to zarr" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["segment", str(prototype_run), *words, "--to", "csv"]) == 0
    with (tmp_path / "out" / "prototypes" / "b.prototypes.csv").open(newline="") as table:
        assert {row["class"].split(":")[0] for row in csv.DictReader(table)} == {"pink", "blue"}


def test_slides_become_what_is_asked_for(
    run: Callable[..., int], slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(
            slides,
            "--to",
            "geojson,png",
            "--to",
            "csv",
            *SLIDE,
            "--overlap",
            "0.25",
            "--gate",
            "none",
            "--min-area",
            "0",
        )
        == 0
    )
    shown, out = capsys.readouterr(), tmp_path / "out"
    lines = shown.err.splitlines()
    assert lines[0].startswith("a[1].tif segmented in ") and lines[1].startswith("b.tif segmented in ")
    assert "pink %" in shown.out and "a[1].tif" in shown.out
    assert shown.out.splitlines()[-1] == f"Outputs in {out}; the table is in {out / 'summary.csv'}."
    for place in ("geojson/a[1].geojson", "overlays/b.png", "areas/b.csv", "states/b.json"):
        assert (out / place).is_file()
    state = json.loads((out / "states" / "b.json").read_text())
    assert state["settings"]["overlap"] == 8 and state["settings"]["predict"]["gate"] == "none"
    assert (
        run(
            slides / "*.tif",
            "--to",
            "csv",
            *SLIDE,
            "--overlap",
            "0.25",
            "--gate",
            "none",
            "--min-area",
            "0",
            "--shard",
            "2/2",
        )
        == 0
    )
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == ["b.tif kept"]
    assert run(slides, "--to", "csv", *SLIDE, "--shard", "3/3") == 0
    assert capsys.readouterr().out.splitlines()[0] == "This shard holds no slide."


def test_failed_slides_are_listed_and_the_exit_code_tells(
    run: Callable[..., int], slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (slides / "c.svs").write_text("no slide")
    assert run(slides, "--to", "csv", *SLIDE, "--on-error", "skip") == 1
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-2] == "1 of 3 slides failed:" and "c.svs" in shown.err.splitlines()[-1]
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["segmented", "segmented", "failed"]
    assert run(slides, "--to", "csv", *SLIDE) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("lpdseg: ")


def test_slides_and_patches_are_never_taken_for_one_another(
    run: Callable[..., int], slides: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (slides / "c.svs").write_text("")
    patches = small_data / "valid" / "img"
    refused = [
        ([slides], "c.svs is a whole slide; say with --to what it shall become"),
        ([slides / "c.svs"], "c.svs is a whole slide; say with --to"),
        ([patches, "--mpp", "0.5"], "--mpp is for whole slides; say with --to"),
        ([patches, "--redo"], "--redo is for whole slides"),
        ([patches, "--engine", "local"], "--engine is for whole slides"),
        ([slides, "--to", "csv", "--overlay"], "--overlay is for patches; for whole slides use --to png"),
        (
            [slides, "--to", "csv", "--probabilities"],
            "--probabilities is for patches; for whole slides use --to zarr",
        ),
        ([slides, "--to", "csv", "--no-recurse"], "--no-recurse is for patches"),
        ([slides, "--to", "csv", "--address", "auto"], "--address is of a Ray cluster; add --engine ray"),
        ([slides, "--to", "svg"], "no output 'svg'"),
        ([slides, "--to", "csv", "--shard", "3"], "write it as 2/8"),
        ([slides, "--to", "csv"], "--model-mpp"),
    ]
    for words, told in refused:
        assert run(*words) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and told in line
    assert not (tmp_path / "out").exists()


def test_every_option_of_the_table_reaches_the_run() -> None:
    fields = set(lpdseg.SlideOptions.__dataclass_fields__)
    assert set(OPTIONS) <= fields
    asked = dict.fromkeys(OPTIONS) | {"from_bounds": "slide", "shard": "2/8", "engine": "local"}
    assert asked_settings(asked) == {"from_bounds": False, "shard": (2, 8), "engine": "local"}
    lpdseg.SlideOptions(**asked_settings(asked))


def test_ctrl_c_says_how_to_go_on(
    run: Callable[..., int],
    slides: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = many.do_slide

    def stopped_at_the_second(
        slide: SlideFile, work: Work, told: Callable[[Stage, Pace | None], None]
    ) -> SlideResult:
        def tell(stage: Stage, pace: Pace | None) -> None:
            if slide.path.name == "b.tif" and stage == "writing":
                raise KeyboardInterrupt
            told(stage, pace)

        return whole(slide, work, tell)

    monkeypatch.setattr(many, "do_slide", stopped_at_the_second)
    assert run(slides, "--to", "csv", *SLIDE) == 130
    told = f"lpdseg: stopped; slides finished in {tmp_path / 'out'}: 1; run the same command again"
    assert capsys.readouterr().err.splitlines()[-1].startswith(told)
    assert not (tmp_path / "out" / ".work").exists()
    monkeypatch.undo()
    assert run(slides, "--to", "csv", *SLIDE) == 0
    assert capsys.readouterr().err.splitlines()[0].partition(":")[0] == "a[1].tif kept"
