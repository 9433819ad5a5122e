"""Slides in, files out: whole, true to their state, made once, and the same after any interruption."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

import lpdseg
from lpdseg import api
from lpdseg.errors import LpdsegError, OutputError, SettingsError
from lpdseg.segmenting.prototype_classes import prototype_classes
from lpdseg.segmenting.slides.labels import LabelFile
from lpdseg.slides.slide import Slide, SlideError
from lpdseg.workflows.slides import kinds, many, one
from processes import program

ALL = "geojson,geojson.gz,ome-tiff,label-tiff,zarr,png,csv"
DrawSlide = Callable[..., Path]


@pytest.fixture
def segment(small_run: Path, tmp_path: Path) -> Callable[..., list[api.SlideResult]]:
    """Segments slides into `out`, in this process alone."""

    def run(*inputs: Path, **options: Any) -> list[api.SlideResult]:
        wanted = {"to": "geojson,csv", "model_mpp": 0.5, "workers": 0, "device": "cpu"} | options
        out, trained = wanted.pop("out", tmp_path / "out"), wanted.pop("run", small_run)
        results = api.segment_slides(trained, inputs or [tmp_path / "slides"], out, **wanted)
        return [replace(result, sentence=_of_the_slide(result.sentence)) for result in results]

    return run


def files(out: Path) -> dict[str, bytes]:
    """What a slide's outputs hold; what tells times is left out."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or name.startswith(("states/", "summary")):
            continue
        found[name] = path.read_bytes()
    return found


def half_written(out: Path) -> list[str]:
    """What has no name of its own yet; the stores of probabilities hold hidden files as well."""
    return [name for name in files(out) if any(part[0] == "." for part in name.split("/")[:2])]


def _of_the_slide(sentence: str) -> str:
    """Without what is told of the run, whose classes have no background."""
    return "; ".join(part for part in sentence.split("; ") if "background" not in part)


def statuses(results: list[api.SlideResult]) -> list[str]:
    return [result.status for result in results]


def test_everything_that_a_slide_becomes_agrees(segment: Any, draw_slide: DrawSlide, tmp_path: Path) -> None:
    slide, out = draw_slide("a.tif"), tmp_path / "out"
    [result] = segment(to=ALL, gate="none", minimum_um2=0.0)
    assert result.status == "segmented" and result.sentence == "" and result.windows > 0
    assert {path.relative_to(out).as_posix() for path in result.outputs.values()} == {
        "geojson/a.geojson", "geojson/a.geojson.gz", "masks/a.ome.tif", "probabilities/a.ome.zarr",
        "overlays/a.png", "areas/a.csv", "labels/a.labels.tif",
    }  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == [
        "areas", "geojson", "labels", "masks", "overlays", "probabilities", "states", "summary.csv",
    ]  # fmt: skip
    labels = tifffile.imread(out / "masks" / "a.ome.tif")
    assert labels.shape == (190, 250)
    np.testing.assert_array_equal(tifffile.imread(out / "labels" / "a.labels.tif"), labels)
    assert set(np.unique(labels)) <= {0, 1, 255}
    assert (labels[48:144, 64:192] != 255).all() and (labels[:16] == 255).all()
    tissue = sum(area.mm2 for area in result.areas)
    assert tissue == pytest.approx((labels != 255).sum() * 0.25e-6)
    features = json.loads((out / "geojson" / "a.geojson").read_text())["features"]
    assert sum(feature["properties"]["measurements"]["Area mm^2"] for feature in features) == pytest.approx(tissue)
    probabilities = zarr.open_group(out / "probabilities" / "a.ome.zarr", mode="r")["0"][:]
    computed = labels != 255
    assert (probabilities.argmax(0)[computed] == labels[computed]).mean() > 0.98  # but for ties of rounding
    state = json.loads((out / "states" / "a.json").read_text())
    assert state["status"] == "finished" and state["path"] == str(slide)
    assert state["settings"]["slide_mpp"] == [0.5, 0.5] and state["settings"]["window"] == 32
    assert set(state["outputs"]) == set(ALL.split(",")) and state["versions"]["openslide-python"]
    with (out / "summary.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["status"] == "segmented" and row["mpp_x"] == "0.5"
    assert float(row["mm2_pink"]) + float(row["mm2_blue"]) == pytest.approx(tissue, abs=2e-6)


def test_prototypes_are_written_as_classes_are(
    segment: Any, prototype_run: Path, draw_slide: DrawSlide, tmp_path: Path
) -> None:
    draw_slide("a.tif")
    asked, out = {"run": prototype_run, "to": ALL, "minimum_um2": 0.0}, tmp_path / "out"
    segment(**asked)
    plain = files(out)
    [result] = segment(**asked, prototypes=True)
    assert result.status == "segmented" and statuses(segment(**asked, prototypes=True)) == ["kept"]
    assert statuses(segment(**asked)) == ["kept"]
    written = files(out)
    assert {name: written[name] for name in plain} == plain
    assert set(written) - set(plain) == {
        "prototypes/a.prototypes.geojson", "prototypes/a.prototypes.geojson.gz", "prototypes/a.prototypes.ome.tif",
        "prototypes/a.prototypes.labels.tif", "prototypes/a.prototypes.png", "prototypes/a.prototypes.csv",
    }  # fmt: skip
    labels = tifffile.imread(out / "labels" / "a.labels.tif")
    with tifffile.TiffFile(out / "prototypes" / "a.prototypes.ome.tif") as file:
        won, told = file.asarray(), file.ome_metadata
    np.testing.assert_array_equal(tifffile.imread(out / "prototypes" / "a.prototypes.labels.tif"), won)
    names = prototype_classes(api.load(prototype_run, device="cpu")).names
    assert set(np.unique(won)) <= {0, 1, 2, 3, 255} and told is not None and f'<M K="3">{names[3]}</M>' in told
    np.testing.assert_array_equal(np.where(won == 255, 255, won // 2), labels)
    with (out / "prototypes" / "a.prototypes.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(row["slide"], row["class"]) for row in rows] == [("a", name) for name in names]
    assert [int(row["pixels"]) for row in rows] == [(won == value).sum() for value in range(4)]
    features = json.loads((out / "prototypes" / "a.prototypes.geojson").read_text())["features"]
    areas = dict.fromkeys((row["class"] for row in rows), 0.0)
    for feature in features:
        areas[feature["properties"]["classification"]["name"]] += feature["properties"]["measurements"]["Area mm^2"]
    assert areas == pytest.approx({row["class"]: float(row["mm2"]) for row in rows}, rel=1e-4)


def test_prototypes_of_masks_that_none_make_are_refused(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path
) -> None:
    draw_slide("a.tif")
    with pytest.raises(SettingsError, match="made by class maps, so no pixel of them has a prototype"):
        segment(prototypes=True)
    assert not (tmp_path / "out").exists()


def test_how_sure_a_mask_is_goes_beside_it_and_changes_nothing_of_it(
    segment: Any, prototype_run: Path, draw_slide: DrawSlide, tmp_path: Path
) -> None:
    draw_slide("a.tif")
    run = Path(shutil.copytree(prototype_run, tmp_path / "run"))
    best = run / "checkpoints" / "best.json"
    best.write_text(json.dumps(json.loads(best.read_text("utf-8")) | {"temperature": None}), "utf-8")
    asked, out = {"run": run, "to": "ome-tiff,zarr"}, tmp_path / "out"
    [plain] = segment(**asked)
    before = files(out)
    [result] = segment(**asked | {"to": "ome-tiff,zarr,uncertainty"})
    assert (plain.unsure, result.status) == (None, "segmented")
    written = files(out)
    assert {name: written[name] for name in before} == before
    assert set(written) - set(before) == {"uncertainty/a.uncertainty.ome.tif"}
    with tifffile.TiffFile(out / "uncertainty" / "a.uncertainty.ome.tif") as file:
        grey, told = file.asarray(), file.ome_metadata
    assert told is not None and '<M K="unsure_above">204.0</M>' in told and 'Name="uncertainty"' in told
    labels = tifffile.imread(out / "masks" / "a.ome.tif")
    probabilities = np.sort(zarr.open_group(out / "probabilities" / "a.ome.zarr", mode="r")["0"][:].astype(int), 0)
    tissue = labels != 255
    assert abs(255 - (probabilities[-1] - probabilities[-2]) - grey)[tissue].max() <= 2 and not grey[~tissue].any()
    assert result.unsure == pytest.approx((grey[tissue] > 204).mean(), abs=0.01) and result.unsure > 0
    with (out / "summary.csv").open(newline="") as table:
        [row] = csv.DictReader(table)
    assert float(row["unsure_share"]) == pytest.approx(result.unsure, abs=1e-6)
    [kept] = segment(**asked)
    assert (kept.status, kept.unsure) == ("kept", result.unsure)
    [again] = segment(**asked | {"to": "csv"})  # another kind: the share is still that of the file
    assert (again.status, again.unsure) == ("segmented", result.unsure)
    best.write_text(json.dumps(json.loads(best.read_text("utf-8")) | {"temperature": 2.0}), "utf-8")
    [hotter] = segment(**asked | {"to": "ome-tiff,zarr,uncertainty"})
    assert hotter.status == "segmented" and (hotter.unsure or 0) > result.unsure
    assert {name: files(out)[name] for name in before} == before
    assert (tifffile.imread(out / "uncertainty" / "a.uncertainty.ome.tif") >= grey).all()


def test_a_state_that_knows_of_no_uncertainty_is_read(segment: Any, draw_slide: DrawSlide, tmp_path: Path) -> None:
    draw_slide("a.tif")
    segment(to="csv")
    path = tmp_path / "out" / "states" / "a.json"
    assert "unsure" not in path.read_text("utf-8")  # as a version that did not know of it left it
    assert [(one.status, one.unsure) for one in segment(to="csv")] == [("kept", None)]
    [result] = segment(to="unsure", gate="none")
    assert result.status == "segmented" and result.unsure is not None
    squares = json.loads((tmp_path / "out" / "uncertainty" / "a.unsure.geojson").read_text("utf-8"))["features"]
    mm2 = sum(square["properties"]["measurements"]["Unsure mm^2"] for square in squares)
    tissue = sum(area.mm2 for area in result.areas)
    assert 0 < mm2 == pytest.approx(result.unsure * tissue, rel=0.05)
    assert segment(to="csv", gate="none")[0].unsure == result.unsure


def test_options_may_come_together_or_one_by_one(segment: Any, draw_slide: DrawSlide, tmp_path: Path) -> None:
    draw_slide("a.tif")
    together = lpdseg.SlideOptions(to="csv", model_mpp=0.5, workers=0, device="cpu", overlap=0.0)
    assert statuses(segment(options=together)) == ["segmented"]  # for the single ones go before it
    assert statuses(segment(overlap=0.0)) == ["kept"]
    with pytest.raises(TypeError, match="ovrlap"):
        segment(ovrlap=0.25)


def test_finished_slides_are_kept_and_others_are_not(segment: Any, draw_slide: DrawSlide, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        draw_slide(name)
    out = tmp_path / "out"
    assert statuses(segment()) == ["segmented", "segmented"]
    before = files(out)
    kept = segment(to="csv")
    assert statuses(kept) == ["kept", "kept"] and kept[0].areas
    (out / "geojson" / "a.geojson").write_text("{}")
    assert statuses(segment()) == ["segmented", "kept"]
    assert statuses(segment(redo=True)) == ["segmented", "segmented"]
    assert files(out) == before
    assert statuses(segment(to="csv", overlap=0.25)) == ["segmented", "segmented"]
    assert {path.parts[0] for path in map(Path, files(out))} == {"areas", "geojson"}
    draw_slide("b.tif", seed=1)
    assert statuses(segment(to="csv", overlap=0.25)) == ["kept", "segmented"]


def test_outputs_of_another_backend_are_not_those_of_this_one(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    draw_slide("a.tif")
    for backend, status in (
        ("torch", "segmented"),
        ("onnx", "segmented"),
        ("onnx", "kept"),
        ("torch", "segmented"),
    ):
        assert statuses(segment(to="csv", backend=backend)) == [status]


def test_a_further_scene_and_lost_tiles_are_told(segment: Any, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    pixels = np.full((256, 256, 3), 245, np.uint8)
    pixels[50:200, 50:200] = (230, 120, 170)
    told = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(tmp_path / "slides" / "a.ome.tif", ome=True) as tiff:
        for side in (256, 200):
            tiff.write(pixels[:side, :side], tile=(64, 64), photometric="rgb", metadata=told)
    for status in ("segmented", "kept"):
        [result] = segment(to="csv")
        assert result.status == status and "holds 2 scenes; only the largest, 256 x 256" in result.sentence
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["note"].endswith(result.sentence)


def test_another_kind_is_added_and_leaves_the_others(segment: Any, draw_slide: DrawSlide, tmp_path: Path) -> None:
    draw_slide("a.tif")
    segment(to="geojson,csv")
    before = files(tmp_path / "out")
    assert statuses(segment(to="png")) == ["segmented"]
    assert before.items() <= files(tmp_path / "out").items()
    assert statuses(segment(to="geojson,csv,png")) == ["kept"]


def test_outputs_of_other_settings_stay_and_are_told(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_slide("a.tif")
    segment(to="geojson,png")
    before = files(tmp_path / "out")

    def break_off(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lpdseg.workflows.slides.one.stream_labels", break_off)
        with pytest.raises(KeyboardInterrupt):
            segment(to="csv", overlap=0.75)
    for status in ("segmented", "kept"):
        [result] = segment(to="csv", overlap=0.25)
        assert result.status == status
        assert result.sentence == (
            "geojson, png was left as it was, of other settings (overlap); name it with --to to make it again"
        )
    assert before.items() <= files(tmp_path / "out").items()
    state = json.loads((tmp_path / "out" / "states" / "a.json").read_text())
    assert set(state["outputs"]) == {"csv"} and state["earlier"]["png"]["settings"]["overlap"] == 16
    [result] = segment(to="png", overlap=0.25)
    assert "made again: what was there before was of other settings (overlap)" in result.sentence
    assert "geojson was left as it was, of other settings (overlap)" in result.sentence
    [result] = segment(to="geojson")  # as at first, so that geojson alone is of now
    assert "csv, png was left as it was" in result.sentence


def test_a_slide_that_was_touched_moved_or_copied_keeps_its_outputs(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path
) -> None:
    slide = draw_slide("a.tif")
    segment()
    os.utime(slide, ns=(1, 1))
    assert statuses(segment()) == ["kept"]
    (tmp_path / "elsewhere").mkdir()
    moved = slide.rename(tmp_path / "elsewhere" / "a.tif")
    assert statuses(segment(moved)) == ["kept"]
    assert json.loads((tmp_path / "out" / "states" / "a.json").read_text())["path"] == str(moved)


@pytest.mark.parametrize("name", ["HE.tif", "HE.tiff"])
def test_another_slide_of_a_name_does_not_replace_the_first_ones_results(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, name: str
) -> None:
    first, second = tmp_path / "p1" / "HE.tif", tmp_path / "p2" / name
    for number, path in enumerate((first, second)):
        path.parent.mkdir()
        draw_slide("HE.tif", seed=number).rename(path)
    segment(first)
    before = files(tmp_path / "out")
    for redo in (False, True):
        [result] = segment_skipping(segment, second, redo=redo)
        assert result.status == "failed"
        assert result.sentence == (
            f"{tmp_path / 'out'} has results of another slide of that name, {first}; {second} would replace them: "
            "choose another folder, or rename the slide"
        )
    assert files(tmp_path / "out") == before
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["slide"], row["status"]) for row in rows] == [(str(first), "segmented"), (str(second), "failed")]
    assert len(rows[0]["model"]) == 12 and float(rows[0]["mm2_pink"]) >= 0
    draw_slide("HE.tif", seed=5).replace(first)  # scanned anew: the same slide in other words
    assert statuses(segment(first)) == ["segmented"]


def segment_skipping(segment: Any, *slides: Path, **options: Any) -> list[api.SlideResult]:
    with pytest.raises(OutputError, match="another slide of that name"):
        segment(*slides, **options)
    found: list[api.SlideResult] = segment(*slides, skip_bad=True, **options)
    return found


def test_a_table_of_something_else_is_not_written_over(segment: Any, draw_slide: DrawSlide, tmp_path: Path) -> None:
    draw_slide("a.tif")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").write_text("image,mask\na.png,masks/a.png\n")
    with pytest.raises(OutputError, match=r"summary\.csv has a row per .+, and this run would write one per slide"):
        segment()


def test_a_name_that_is_too_long_is_refused_before_anything_is_computed(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_slide("x" * 228 + ".tif")
    monkeypatch.setattr(one, "find_tissue", None)
    with pytest.raises(OutputError, match="bytes too long; shorten the name"):
        segment()


def test_results_below_the_slides_are_no_slides(segment: Any, draw_slide: DrawSlide, tmp_path: Path) -> None:
    slide = draw_slide("a.tif")
    out = slide.parent / "results"
    for status in ("segmented", "kept"):
        assert statuses(segment(to="png,ome-tiff", out=out)) == [status]


def test_a_run_that_stops_keeps_what_the_table_said(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.tif", "b.tif"):
        draw_slide(name)
    segment(to="csv")

    def break_off(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lpdseg.workflows.slides.one.stream_labels", break_off)
    with pytest.raises(KeyboardInterrupt):
        segment(to="csv", redo=True)
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["slide"]).name for row in rows] == ["a.tif", "b.tif"]
    assert all(row["status"] == "segmented" and float(row["windows"]) > 0 for row in rows)


def test_more_processes_and_shards_make_the_same(segment: Any, draw_slide: DrawSlide, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif", "c.tif"):
        draw_slide(name, seed=ord(name[0]))
    segment()
    plain = files(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert [result.path.name for result in segment(shard=(1, 2), workers=1)] == ["a.tif", "c.tif"]
    assert [result.path.name for result in segment(shard=(2, 2), workers=1)] == ["b.tif"]
    assert files(tmp_path / "out") == plain
    assert {path.name for path in (tmp_path / "out").glob("*.csv")} == {"summary-1-of-2.csv", "summary-2-of-2.csv"}


def test_slides_that_are_done_at_once_become_the_same_in_the_same_order(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.tif", "b.tif", "c.tif"):
        draw_slide(name, seed=ord(name[0]), tissue=name != "a.tif")
    monkeypatch.setattr(many, "MOST_SLIDES", 1)
    segment(to="geojson,ome-tiff,zarr,csv")
    plain, told = files(tmp_path / "out"), list[tuple[int, str]]()
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(many, "MOST_SLIDES", 3)
    monkeypatch.setattr(many, "allowed_cores", lambda: 12)
    results = segment(
        to="geojson,ome-tiff,zarr,csv",
        progress=lambda number, of, path, stage, pace: told.append((number, path.name)),
    )
    assert [result.path.name for result in results] == ["a.tif", "b.tif", "c.tif"]
    assert told == sorted(told)
    assert files(tmp_path / "out") == plain


def test_a_slide_that_fails_ends_those_that_are_done_beside_it_without_half_a_file(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.tif", "b.tif", "c.tif"):
        draw_slide(name)
    monkeypatch.setattr(many, "allowed_cores", lambda: 12)
    (tmp_path / "slides" / "a.tif").write_bytes(b"no slide")
    with pytest.raises(SlideError, match=r"a\.tif"):
        segment(to="geojson,zarr,csv")
    assert not half_written(tmp_path / "out")
    (tmp_path / "slides" / "a.tif").unlink()
    assert len(segment(to="geojson,zarr,csv")) == 2


@pytest.mark.parametrize("stage", ["segmenting", "writing"])
def test_ctrl_c_ends_all_slides_that_are_done_at_once_and_the_next_run_makes_the_same(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    for name in ("a.tif", "b.tif", "c.tif"):
        draw_slide(name, seed=ord(name[0]))
    asked = {"to": "geojson,ome-tiff,zarr,csv", "overlap": 0.0}
    segment(**asked)
    plain = files(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(many, "allowed_cores", lambda: 12)

    def told(number: int, of: int, path: Path, what: str, pace: Any) -> None:
        if what == stage:
            assert number == 1
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)  # so that it goes on only once the others are told

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start what is behind without one
    try:
        with pytest.raises(KeyboardInterrupt):
            segment(**asked, progress=told)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lpdseg-slide")]
    out = tmp_path / "out"
    assert not half_written(out) and not (out / "areas" / "a.csv").exists()
    with (out / "summary.csv").open(newline="") as table:
        assert list(csv.DictReader(table)) == []
    assert statuses(segment(**asked))[0] == "segmented"
    assert files(out) == plain


def test_one_slide_that_fails_among_others_that_are_done_at_once_is_skipped(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.tif", "b.tif", "c.tif", "d.tif"):
        draw_slide(name)
    monkeypatch.setattr(many, "allowed_cores", lambda: 12)
    (tmp_path / "slides" / "b.tif").write_bytes(b"no slide")
    told: list[str] = []
    results = segment(to="csv", skip_bad=True, ended=lambda result: told.append(result.path.name))
    assert statuses(results) == ["segmented", "failed", "segmented", "segmented"]
    assert told == ["a.tif", "b.tif", "c.tif", "d.tif"] == [result.path.name for result in results]
    with (tmp_path / "out" / "summary.csv").open(newline="") as table:
        assert [row["status"] for row in csv.DictReader(table)] == statuses(results)


@pytest.mark.parametrize(("cores", "asked", "readers"), [(1, None, 1), (16, None, 8), (16, 3, 3), (16, 0, 0)])
def test_half_of_the_allowed_cores_read(
    small_run: Path, monkeypatch: pytest.MonkeyPatch, cores: int, asked: int | None, readers: int
) -> None:
    monkeypatch.setattr(many, "allowed_cores", lambda: cores)
    assert many.local_engine(lpdseg.load(small_run, device="cpu"), asked).readers == readers


def test_a_slide_without_tissue_has_empty_outputs(segment: Any, draw_slide: DrawSlide, tmp_path: Path) -> None:
    draw_slide("glass.tif", tissue=False)
    [result] = segment(to=ALL)
    assert result.status == "segmented" and result.windows == 0 and result.tissue == 0
    assert result.sentence.endswith("glass.tif shows no tissue; its outputs are empty")
    assert json.loads((tmp_path / "out" / "geojson" / "glass.geojson").read_text())["features"] == []
    assert (tifffile.imread(tmp_path / "out" / "masks" / "glass.ome.tif") == 255).all()
    assert statuses(segment(to=ALL)) == ["kept"]


def test_one_figure_for_all_slides_is_told_where_they_say_another(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path
) -> None:
    draw_slide("a.tif", mpp=1.0), draw_slide("b.tif", mpp=0.5), draw_slide("c.tif", mpp=None)
    [plain, *_] = segment(tmp_path / "slides" / "a.tif", out=tmp_path / "plain")
    for status in ("segmented", "kept"):
        results = segment(mpp=0.5, to="csv")
        assert statuses(results) == [status] * 3 and [result.sentence for result in results[1:]] == ["", ""]
        assert results[0].sentence.startswith(
            f"{tmp_path / 'slides' / 'a.tif'}: 0.5 microns per pixel from --mpp was"
        )
        assert results[0].sentence.endswith("; areas are 4 times smaller than by that")
    assert sum(area.mm2 for area in plain.areas) == pytest.approx(
        4 * sum(area.mm2 for area in results[0].areas), 0.1
    )
    told = json.loads((tmp_path / "out" / "states" / "a.json").read_text())["slide_mpp_told"]
    assert told["x"] == 1.0 and "resolution tags" in told["source"]
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        assert [(row["mpp_x"], row["mpp_told"]) for row in csv.DictReader(file)] == [
            ("0.5", "1"), ("0.5", "0.5"), ("0.5", ""),
        ]  # fmt: skip


def test_lines_of_a_table_that_match_nothing_are_told(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw_slide("a.tif", mpp=None)
    table = tmp_path / "mpp.csv"
    table.write_text("slide,mpp\na.tif,0.5\nA2.tif,0.25\n")
    assert statuses(segment(to="csv", mpp_table=table)) == ["segmented"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{table}: 1 of 2 lines name none of the 1 slides: A2.tif"
    ]


def test_bad_slides_are_told_and_others_go_on(segment: Any, draw_slide: DrawSlide, tmp_path: Path) -> None:
    good, no_mpp, bad = draw_slide("a.tif"), draw_slide("b.tif", mpp=None), draw_slide("c.tif")
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    (tmp_path / "slides" / "d.svs").write_text("no slide")
    results = segment(skip_bad=True)
    assert statuses(results) == ["segmented", "failed", "failed", "failed"]
    sentences = [result.sentence for result in results]
    assert str(no_mpp) in sentences[1] and "--mpp" in sentences[1]
    assert str(bad) in sentences[2] and "d.svs" in sentences[3]
    assert {Path(name).name.partition(".")[0] for name in files(tmp_path / "out")} == {"a"}
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["segmented", "failed", "failed", "failed"]
    with pytest.raises(SlideError, match=r"b\.tif does not say how many microns"):
        segment()
    table = tmp_path / "mpp.csv"
    table.write_text("slide,mpp\nb.tif,0.5\n")
    assert statuses(segment(good, no_mpp, mpp_table=table)) == ["kept", "segmented"]
    table.write_text("slide,mpp\na.tif,100\n")
    with pytest.raises(SlideError, match=r"100 microns per pixel, from the table of slides, cannot be right"):
        segment(good, mpp_table=table)


def test_a_read_error_in_the_middle_leaves_nothing(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_slide("a.tif"), draw_slide("b.tif")
    opened = one.open_slide

    class Damaged:
        def __init__(self, slide: Slide) -> None:
            self._slide, self.path, self.facts = slide, slide.path, slide.facts

        def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
            if height == 32 and width < 250 and y > 60:
                raise SlideError(f"{self.path} is damaged at level {level}, x {x}, y {y}")
            return self._slide.read(level, x, y, width, height)

        def close(self) -> None:
            self._slide.close()

    def open_damaged(path: Path) -> Any:
        return Damaged(opened(path)) if path.stem == "a" else opened(path)

    monkeypatch.setattr("lpdseg.segmenting.slides.view.open_slide", open_damaged)
    results = segment(skip_bad=True, to=ALL)
    assert statuses(results) == ["failed", "segmented"] and "is damaged at level 0" in results[0].sentence
    assert {Path(name).name.partition(".")[0] for name in files(tmp_path / "out") if ".zarr" not in name} == {"b"}
    state = json.loads((tmp_path / "out" / "states" / "a.json").read_text())
    assert state["status"] == "failed" and state["reason"] == results[0].sentence
    assert not (tmp_path / "out" / ".work").exists()
    monkeypatch.undo()
    assert statuses(segment(to=ALL)) == ["segmented", "kept"]


@pytest.mark.parametrize("where", ["labels", "geojson", "areas"])
def test_a_full_disk_is_told_and_leaves_nothing(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    draw_slide("a.tif")

    def full(*_: Any, **__: Any) -> Iterator[None]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place, name = {"labels": (LabelFile, "append"), "geojson": (kinds, "write_geojson"),
                   "areas": (kinds, "write_areas")}[where]  # fmt: skip
    monkeypatch.setattr(place, name, full)
    with pytest.raises(OutputError, match=r"a\.tif below .*No space left on device; free space"):
        segment()
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert left - {"a.geojson"} == {"a.json", "summary.csv"}
    monkeypatch.undo()
    assert statuses(segment()) == ["segmented"]


def test_what_cannot_be_is_refused_before_anything_is_written(
    segment: Any, draw_slide: DrawSlide, tmp_path: Path
) -> None:
    draw_slide("a.tif")
    refused: list[tuple[dict[str, Any], type[LpdsegError], str]] = [
        ({"model_mpp": None}, SettingsError, "--model-mpp"),
        ({"to": "tiff"}, SettingsError, "no output 'tiff'"),
        ({"window": 3}, SettingsError, "a window of 3 pixels"),
        ({"overlap": 1.0}, SettingsError, "windows cannot overlap"),
        ({"gate": "oracle"}, SettingsError, "oracle gate"),
        ({"simplify_um": -1.0}, SettingsError, "--simplify"),
        ({"device": "cuda:77"}, SettingsError, "no device"),
        ({"mpp_table": tmp_path / "none.csv"}, LpdsegError, "does not exist"),
    ]
    for options, kind, told in refused:
        with pytest.raises(kind, match=told):
            segment(**options)
    with pytest.raises(SlideError, match="none does not exist"):
        segment(tmp_path / "none")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write below"):
        segment()


_PROGRAM = """
import sys
import torch
import lpdseg
from lpdseg import api
run, slides, out, stop = sys.argv[1:]

def told(number, of, path, stage, pace):
    if stage == stop and (pace is None or pace.done > pace.total // 2):
        print("there", flush=True)
        sys.stdin.read()

if __name__ == "__main__":
    torch.set_num_threads(1)  # as the tests: otherwise sums are rounded in another order
    api.segment_slides(run, [slides], out, to="geojson,ome-tiff,zarr,csv", model_mpp=0.5, device="cpu", overlap=0.0,
                       workers=1, prototypes=True, progress=told)
"""


def test_a_process_that_is_killed_leaves_nothing_half_written(
    segment: Any, prototype_run: Path, draw_slide: DrawSlide, tmp_path: Path
) -> None:
    draw_slide("a.tif"), draw_slide("b.tif", seed=1)
    out, wanted = tmp_path / "out", {"to": "geojson,ome-tiff,zarr,csv", "overlap": 0.0, "prototypes": True}
    wanted["run"] = prototype_run
    segment(**wanted)
    plain = files(out)
    shutil.rmtree(out)
    segment(tmp_path / "slides" / "a.tif", **wanted)
    first = files(out)
    script = tmp_path / "program.py"
    script.write_text(_PROGRAM)
    for stage in ("segmenting", "writing"):
        words = [sys.executable, str(script), str(prototype_run), str(tmp_path / "slides"), str(out), stage]
        with program(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
            assert killed.stdout is not None and killed.stdout.readline() == "there\n"
        assert (out / ".work" / "b.parts").is_dir()
        assert json.loads((out / "states" / "b.json").read_text())["status"] == "running"
        whole = {name: held for name, held in files(out).items() if name not in half_written(out)}
        new = {name for name in whole if name not in first}
        assert stage == "writing" or not new
        assert all(name.startswith("probabilities/b.ome.zarr/") and whole[name] == plain[name] for name in new)
        assert {name: whole[name] for name in first} == first
    assert statuses(segment(**wanted)) == ["kept", "segmented"]
    assert files(out) == plain  # and nothing else is left
