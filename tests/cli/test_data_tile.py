"""`lpdseg data tile`: from slides and regions to a data set that can be trained on."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from shapely.geometry import box, mapping

from lpdseg.alone import alone_in
from lpdseg.cli.main import main
from lpdseg.data.check import check_data
from lpdseg.data.importers import load_data
from lpdseg.data.patches import read_image
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import Bounds
from lpdseg.workflows import tile_slides

Run = Callable[..., str]


def write_regions(path: Path, *regions: tuple[str | None, tuple[float, float, float, float]]) -> None:
    colours = {"TUM": [200, 0, 0], "STR": [0, 200, 0]}
    features = [
        {
            "type": "Feature",
            "geometry": mapping(box(*corners)),
            "properties": {"classification": name and {"name": name, "color": colours.get(name, [9, 9, 9])}},
        }
        for name, corners in regions
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Two slides of 160 x 96 px, left half tumour and right half stroma, and a third without regions."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("s1", "s2", "s3"):
        Image.fromarray(rng.integers(0, 256, (96, 160, 3), np.uint8)).save(folder / f"{name}.png")
    (tmp_path / "regions").mkdir()
    for name in ("s1", "s2"):
        write_regions(
            tmp_path / "regions" / f"{name}.geojson", ("TUM", (0, 0, 80, 96)), ("STR", (80, 0, 160, 96)),
            (None, (0, 0, 9, 9)),
        )  # fmt: skip
    return folder


@pytest.fixture
def tile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command; gives what it says on standard output, or with `code` not 0 the one line of its error."""

    def run(*arguments: object, code: int = 0) -> str:
        out = ["--out", tmp_path / "out", "--mpp", "0.5", "--size", "32"]
        regions = [] if "--regions" in arguments else ["--regions", tmp_path / "regions"]
        assert main(["data", "tile", *map(str, [*arguments, *regions, *out])]) == code
        shown = capsys.readouterr()
        if code:
            assert shown.err.startswith("lpdseg: ") and shown.err.count("\n") == 1, shown.err
            return shown.err
        run.notes = shown.err  # type: ignore[attr-defined]
        return shown.out

    return run


def test_two_calls_make_one_data_set_that_passes_the_check(slides: Path, tile: Run, tmp_path: Path) -> None:
    told = tile(slides / "s1.png", slides / "s3.png")
    assert told == f"15 train patches of 32 px in {tmp_path / 'out'} (9 STR, 9 TUM)\n"
    notes: str = tile.notes  # type: ignore[attr-defined]
    assert f"{slides / 's3.png'} has no regions" in notes
    assert "s1.geojson: passed over features without a class (1)" in notes
    table = tmp_path / "table.csv"
    table.write_text(f"slide,patient\n{slides / 's2.png'},p2\n")
    assert "15 valid patches" in tile(table, "--split", "valid")
    manifest = load_data(tmp_path / "out")
    assert manifest.classes.names == ("STR", "TUM") and manifest.classes.colours == ((0, 200, 0), (200, 0, 0))
    assert {(record.split, record.patient, record.mpp) for record in manifest.records} == {
        ("train", "s1", 0.5),
        ("valid", "p2", 0.5),
    }
    first = manifest.split("train")[0]
    assert first.path == tmp_path / "out" / "patches" / "s1" / "s1_0_0.png" and first.labels == (0, 1)
    assert read_image(first.path).shape == (32, 32, 3)
    report = check_data(manifest, workers=1)
    assert report.ok and report.patches == {"train": 15, "valid": 15} and report.alone == (6, 6)


def test_classes_of_slides_have_a_background_since_patches_show_glass(
    slides: Path, tile: Run, tmp_path: Path
) -> None:
    tile(slides / "s1.png")
    assert load_data(tmp_path / "out").classes.background == 2
    tile(slides / "s2.png")
    assert load_data(tmp_path / "out").classes.background == 2


@pytest.mark.parametrize("stem", ["case", "case.ome"])
def test_both_stems_of_an_ome_tiff_find_its_regions(stem: str, slides: Path, tile: Run, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    tifffile.imwrite(slides / "case.ome.tif", pixels, photometric="rgb", tile=(64, 64), ome=True)
    write_regions(tmp_path / "regions" / f"{stem}.geojson", ("TUM", (0, 0, 80, 96)), ("STR", (80, 0, 160, 96)))
    assert "15 train patches" in tile(slides / "case.ome.tif")


def test_no_patch_is_cut_from_an_ignored_area(slides: Path, tile: Run, tmp_path: Path) -> None:
    write_regions(tmp_path / "regions" / "s1.geojson", ("TUM", (0, 0, 160, 96)), ("Ignore*", (64, 32, 96, 64)))
    assert "14 train patches" in tile(slides / "s1.png")
    assert "cut the areas of the ignored class Ignore* out" in tile.notes  # type: ignore[attr-defined]
    assert load_data(tmp_path / "out").classes.names == ("TUM",)


def test_regions_and_patients_are_found_however_their_names_are_written(
    slides: Path, tile: Run, tmp_path: Path
) -> None:
    composed, decomposed = "Sch\u00e4fer", "Scha\u0308fer"
    (slides / "s1.png").rename(slides / f"{decomposed}.png")
    (tmp_path / "regions" / "s1.geojson").rename(tmp_path / "regions" / f"{composed}.geojson")
    (tmp_path / "slides.csv").write_text(f"slide,patient\nslides/{composed}.png,p7\n", encoding="utf-8")
    tile(tmp_path / "slides.csv")
    records = load_data(tmp_path / "out").records
    assert {record.patient for record in records} == {"p7"} and all(record.path.is_file() for record in records)


def test_a_table_tells_the_resolution_of_silent_slides(slides: Path, tmp_path: Path) -> None:
    words = ["data", "tile", slides, "--regions", tmp_path / "regions", "--out", tmp_path / "out", "--size", "32"]
    (tmp_path / "mpp.csv").write_text("slide,mpp\ns1.png,0.5\ns2,0.5\nother,1\n")
    assert main([str(word) for word in words]) == 1
    assert main([str(word) for word in (*words, "--mpp-table", tmp_path / "mpp.csv")]) == 0


def test_classes_whose_regions_give_no_patch_are_told(slides: Path, tile: Run, tmp_path: Path) -> None:
    file, s1 = tmp_path / "x.geojson", slides / "s1.png"
    write_regions(file, ("TUM", (0, 0, 80, 96)), ("STR", (900, 0, 990, 96)), ("DOT", (90, 0, 93, 3)))
    tile(s1, "--regions", file)
    assert f"{s1}: no patch shows DOT, STR, whose regions are too small" in tile.notes  # type: ignore[attr-defined]


def test_cutting_a_slide_again_replaces_its_patches(slides: Path, tile: Run, tmp_path: Path) -> None:
    tile(slides / "s1.png", slides / "s2.png")
    tile(slides / "s2.png", "--stride", "64", "--split", "test")
    splits = [(record.split, record.patient) for record in load_data(tmp_path / "out").records]
    assert splits == [("train", "s1")] * 15 + [("test", "s2")] * 6


def test_no_name_of_a_slide_replaces_the_whole_data_set(slides: Path, tile: Run, tmp_path: Path) -> None:
    tile(slides)
    before = (tmp_path / "out" / "manifest.csv").read_text()
    odd = slides / "...png"
    (slides / "s1.png").rename(odd)
    regions = tmp_path / "regions" / "s1.geojson"
    arguments = ["data", "tile", str(odd), "--regions", str(regions), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--size", "32", "--mpp", "0.5"]) == 0
    assert {path.name for path in (tmp_path / "out" / "patches").iterdir()} == {"__", "s1", "s2"}
    assert set(before.splitlines()) < set((tmp_path / "out" / "manifest.csv").read_text().splitlines())


def test_a_folder_of_something_else_is_not_replaced_by_patches(slides: Path, tile: Run, tmp_path: Path) -> None:
    own = tmp_path / "out" / "patches" / "s1" / "mine.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"of the user")
    assert "mine.png is no patch that was cut from s1, and its folder would be replaced" in tile(slides, code=1)
    assert own.read_bytes() == b"of the user"
    own.rename(own.with_name("s1_0_0.png"))  # as a run leaves it that was killed before it wrote the manifest
    tile(slides)


def test_no_split_is_emptied_and_a_slide_that_leaves_one_is_told(slides: Path, tile: Run, tmp_path: Path) -> None:
    tile(slides)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    told = tile(slides, "--split", "valid", code=1)
    assert "s2.png: to cut it for valid would take the last patches out of the split train of" in told
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    tile(slides / "s1.png", "--split", "valid")
    assert "s1.png: its 15 patches have left the split train for valid\n" in tile.notes  # type: ignore[attr-defined]


def test_a_slide_whose_name_differs_in_case_alone_is_refused(slides: Path, tile: Run, tmp_path: Path) -> None:
    tile(slides / "s1.png")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    (tmp_path / "p2").mkdir()
    other = tmp_path / "p2" / "S1.png"
    other.write_bytes((slides / "s1.png").read_bytes())
    (regions,) = (path for path in tmp_path.rglob("s1.geojson"))
    regions.with_name("S1.geojson").write_bytes(regions.read_bytes())
    assert f"of {slides / 's1.png'}, whose name differs from that of {other} in case alone" in tile(other, code=1)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_another_slide_of_a_name_does_not_replace_the_first_ones_patches(
    slides: Path, tile: Run, tmp_path: Path
) -> None:
    tile(slides / "s1.png")
    (tmp_path / "p2").mkdir()
    other = tmp_path / "p2" / "s1.png"
    other.write_bytes((slides / "s2.png").read_bytes())
    told = tile(other, code=1)
    assert f"has patches of another slide of that name, {slides / 's1.png'}; {other} would replace them" in told
    other.write_bytes((slides / "s1.png").read_bytes())
    assert "15 train patches" in tile(other)  # a copy of the same slide
    [(stem, noted)] = json.loads((tmp_path / "out" / "slides.json").read_text()).items()
    assert stem == "s1" and noted["origin"] == [0, 0] and len(noted["scale"]) == 2  # for what is drawn on it later


def test_a_call_that_cuts_nothing_leaves_the_data_set_as_it_was(slides: Path, tile: Run, tmp_path: Path) -> None:
    tile(slides / "s1.png")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    write_regions(tmp_path / "regions" / "s1.geojson", ("TUM", (0, 0, 9, 9)), ("STR", (80, 0, 89, 9)))
    assert "no patch of 32 px" in tile(slides / "s1.png", code=1)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_nothing_is_cut_for_a_class_that_no_manifest_can_have(slides: Path, tile: Run, tmp_path: Path) -> None:
    write_regions(tmp_path / "regions" / "s1.geojson", ("path", (0, 0, 80, 96)), ("STR", (80, 0, 160, 96)))
    assert "a class cannot be named 'path'" in tile(slides / "s1.png", code=1)
    assert not (tmp_path / "out").exists()


def test_the_resolution_of_patches_is_the_one_asked_for(slides: Path, tile: Run, tmp_path: Path) -> None:
    assert "2 train patches" in tile(slides / "s1.png", "--patch-mpp", "1.0")
    records = load_data(tmp_path / "out").records
    assert [(record.path.name, record.mpp) for record in records] == [("s1_0_0.png", 1.0), ("s1_64_0.png", 1.0)]


def test_glass_is_left_out_where_asked(slides: Path, tile: Run, tmp_path: Path) -> None:
    white = np.full((512, 800, 3), 255, np.uint8)
    white[:, :160] = 120
    Image.fromarray(white).save(slides / "s1.png")
    write_regions(tmp_path / "regions" / "s1.geojson", ("TUM", (0, 0, 800, 512)), ("STR", (0, 0, 800, 512)))
    assert "400 train patches" in tile(slides / "s1.png")
    # Tissue ends at 160; a patch beside it still touches it.
    assert "96 train patches" in tile(slides / "s1.png", "--skip-glass")


def test_regions_count_from_the_scanned_part_as_in_qupath(
    slides: Path, tile: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_bounds(path: Path) -> Any:
        slide = open_slide(path)
        object.__setattr__(slide.facts, "bounds", Bounds(64, 32, 96, 64))
        return slide

    monkeypatch.setattr(tile_slides, "open_slide", with_bounds)
    write_regions(tmp_path / "regions" / "s1.geojson", ("TUM", (0, 0, 32, 32)), ("STR", (0, 0, 32, 32)))
    tile(slides / "s1.png")
    assert "was scanned from (64, 32) on" in tile.notes  # type: ignore[attr-defined]
    assert [record.path.name for record in load_data(tmp_path / "out").records] == ["s1_64_32.png"]
    tile(slides / "s1.png", "--origin", "slide")
    assert [record.path.name for record in load_data(tmp_path / "out").records] == ["s1_0_0.png"]


@pytest.mark.skipif("LPDSEG_DATA" not in os.environ, reason="LPDSEG_DATA does not name the folder of real slides")
def test_a_real_slide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(os.environ["LPDSEG_DATA"], "slides", "cmu-1-small-region.svs")
    write_regions(tmp_path / "x.geojson", ("TUM", (600, 600, 1500, 1500)), ("STR", (600, 1500, 1500, 2900)))
    out = tmp_path / "out"
    words = ["data", "tile", path, "--regions", tmp_path / "x.geojson", "--out", out, "--patch-mpp", "0.998"]
    assert main([*map(str, words), "--size", "100"]) == 0
    records = load_data(out).records
    assert {record.labels for record in records} == {(0, 1), (1, 0), (1, 1)}
    slide = open_slide(path)
    for record in records:
        x, y = (int(part) for part in record.path.stem.split("_")[1:])
        reduced = Image.fromarray(slide.read(0, x, y, 200, 200)).resize((100, 100), Image.Resampling.BOX)
        patch = read_image(record.path).astype(float)
        assert np.abs(patch - np.asarray(reduced)).mean() < 6  # another filter, the same place
    slide.close()


def test_regions_that_cannot_be_used(slides: Path, tile: Run, tmp_path: Path) -> None:
    s1 = slides / "s1.png"
    file = tmp_path / "x.geojson"
    assert "does not exist" in tile(s1, "--regions", file, code=1)
    write_regions(file, ("TUM", (1000, 0, 2000, 96)))
    assert "none of the 1 regions of s1 lies on the slide" in tile(s1, "--regions", file, code=1)
    assert "holds the regions of one slide, and there are 2" in tile(
        s1, slides / "s2.png", "--regions", file, code=1
    )
    assert "has the class 'TUM', but the classes are A, B" in tile(
        s1, "--regions", file, "--classes", "A,B", code=1
    )
    write_regions(file, (None, (0, 0, 96, 96)))
    assert "no region of a class that is not ignored (" in tile(s1, "--regions", file, code=1)
    write_regions(file, ("Ignore*", (0, 0, 96, 96)))
    assert "cut the areas of the ignored class Ignore* out" in tile(s1, "--regions", file, code=1)
    write_regions(file, ("TUM", (0, 0, 20, 96)))
    assert "no patch of 32 px" in tile(s1, "--regions", file, code=1)
    assert "holds no regions for any slide, such as s3.geojson" in tile(slides / "s3.png", code=1)
    (tmp_path / "regions" / "s1.json").write_text("[]")
    assert "both hold the regions of" in tile(s1, code=1)
    assert not (tmp_path / "out").exists() or not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_a_data_set_of_other_classes_or_resolution(slides: Path, tile: Run, tmp_path: Path) -> None:
    tile(slides / "s1.png")
    before = (tmp_path / "out" / "manifest.csv").read_text()
    write_regions(tmp_path / "regions" / "s2.geojson", ("NEC", (0, 0, 80, 96)))
    assert "has the class 'NEC', but the classes are STR, TUM" in tile(slides / "s2.png", code=1)
    assert "has the classes STR, TUM, not NEC, STR" in tile(slides / "s2.png", "--classes", "NEC,STR", code=1)
    assert "patches of 0.5 microns per pixel, not 1" in tile(slides / "s1.png", "--patch-mpp", "1", code=1)
    assert (tmp_path / "out" / "manifest.csv").read_text() == before


def test_slides_and_options_that_cannot_be_used(slides: Path, tile: Run, tmp_path: Path) -> None:
    assert "does not exist" in tile(slides / "none.png", code=1)
    assert "the part of a patch that a class must cover is in 0..1 and not 0" in tile(
        slides / "s1.png", "--share", "0", code=2
    )
    assert "use a positive number" in tile(slides / "s1.png", "--patch-mpp", "0", code=2)
    (tmp_path / "out").write_text("")
    assert "cannot write" in tile(slides / "s1.png", code=1)


def test_help_needs_no_image_library() -> None:
    code = "import sys, lpdseg.cli.tile; sys.exit(any(name in sys.modules for name in ('PIL', 'numpy', 'shapely')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_second_process_leaves_the_data_set_alone(slides: Path, tile: Run, tmp_path: Path) -> None:
    with alone_in(tmp_path / "out", "trying"):
        assert "another process is cutting patches in" in tile(slides, code=1)
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    assert "30 train patches" in tile(slides)


def test_a_slide_that_changes_while_it_is_cut_is_told_and_not_noted(
    slides: Path, tile: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise patches of one file would be noted as those of another."""
    write = tile_slides.write_tiles

    def cut_short(*arguments: Any, **options: Any) -> Any:
        made = write(*arguments, **options)
        os.truncate(slides / "s1.png", 999)
        return made

    whole = (slides / "s1.png").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(tile_slides, "write_tiles", cut_short)
        told = tile(slides, code=1)
    assert "s1.png has changed while it was read" in told and not (tmp_path / "out" / "slides.json").exists()
    (slides / "s1.png").write_bytes(whole)
    assert "30 train patches" in tile(slides)
    assert check_data(load_data(tmp_path / "out"), workers=1).ok
