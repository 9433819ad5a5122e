"""Which slides a person means, and two that cannot be told apart."""

import os
from pathlib import Path

import pytest

from lpdseg.errors import DataError
from lpdseg.slides.readers import SlideFile, find_slides, open_slide
from lpdseg.slides.slide import SlideError


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder of files that are slides by name."""
    folder = tmp_path / "scans"
    for name in ("b.svs", "a.SVS", "below/c.ndpi", "below/d.png", ".hidden/e.svs", ".f.svs", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(slides: list[SlideFile]) -> list[str]:
    return [slide.path.name for slide in slides]


def test_files_folders_and_patterns(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(find_slides([scans])) == ["a.SVS", "b.svs", "c.ndpi"]
    assert names(find_slides([scans / "b.svs", str(scans / "a.SVS")])) == ["a.SVS", "b.svs"]
    assert names(find_slides([str(scans / "*.svs")])) == ["b.svs"]
    assert names(find_slides([str(scans / "**" / "*")])) == ["a.SVS", "b.svs", "c.ndpi"]
    monkeypatch.chdir(scans)
    assert find_slides(["below/*.ndpi"]) == [SlideFile(Path("below/c.ndpi"), None)]


def test_a_slide_named_twice_comes_once(scans: Path) -> None:
    assert names(find_slides([scans, scans / "b.svs", scans / "below" / ".." / "b.svs"])).count("b.svs") == 1


def test_a_name_with_signs_of_a_pattern_is_a_name_first(scans: Path) -> None:
    (scans / "x[1].svs").write_bytes(b"x")
    assert names(find_slides([scans / "x[1].svs"])) == ["x[1].svs"]


def test_tables(scans: Path, tmp_path: Path) -> None:
    table = tmp_path / "slides.csv"
    table.write_text(f"patient,slide,mpp\n1,scans/b.svs,0.5\n2,scans/a.SVS,\n\n3,{scans}/below/c.ndpi,0.25\n")
    assert find_slides([table]) == [
        SlideFile(scans / "a.SVS", None),
        SlideFile(scans / "b.svs", (0.5, 0.5)),
        SlideFile(scans / "below" / "c.ndpi", (0.25, 0.25)),
    ]
    table.write_text("\ufeffslide,mpp_x,mpp_y\nscans/b.svs,0.5,0.51\nscans/a.SVS,,\n")
    assert find_slides([table])[1].mpp == (0.5, 0.51)
    for inputs in ([scans, table], [table, scans]):  # the table's figure counts, whatever comes first
        assert {slide.path.name: slide.mpp for slide in find_slides(inputs)}["b.svs"] == (0.5, 0.51)
    table.write_text("slide\nscans/b.svs\n")
    assert find_slides([table]) == [SlideFile(scans / "b.svs", None)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: no column 'slide'"),
        ("path,mpp\na.svs,1\n", "line 1: no column 'slide'"),
        ("slide,mpp\n", "lists no slides"),
        ("slide,mpp_x\nscans/b.svs,1\n", "either mpp or mpp_x and mpp_y"),
        ("slide,mpp,mpp_x,mpp_y\nscans/b.svs,1,1,1\n", "either mpp or mpp_x and mpp_y"),
        ("slide,slide\nscans/b.svs,1\n", "line 1: the columns are slide, slide"),
        ("slide,mpp\nscans/b.svs,fine\n", "line 2: 'fine' is no number"),
        ("slide,mpp\nscans/b.svs,nan\n", "line 2: 'nan' is no number"),
        ("slide,mpp_x,mpp_y\nscans/b.svs,0.5,\n", "line 2: only one of mpp_x and mpp_y"),
        ("slide,mpp\nscans/b.svs\n", "line 2: 1 cells"),
        ("slide,mpp\n,0.5\n", "line 2: the cell 'slide' is empty"),
        ("slide,mpp\nscans/b.svs,0.5\nscans/gone.svs,0.5\n", "line 3: "),
        ("slide\nscans/notes.txt\n", "is no slide by its name"),
        ("slide,mpp\nscans/b.svs,0.5\nscans/b.svs,0.25\n", "is listed with 0.5 x 0.5 and with 0.25 x 0.25 microns"),
    ],
)
def test_tables_that_cannot_be_used(text: str, told: str, scans: Path, tmp_path: Path) -> None:
    table = tmp_path / "slides.csv"
    table.write_text(text)
    with pytest.raises(DataError) as error:
        find_slides([table])
    assert told in str(error.value) and "\n" not in str(error.value)


def test_two_slides_of_one_name(scans: Path) -> None:
    (scans / "below" / "b.tif").write_bytes(b"x")
    with pytest.raises(SlideError, match=r"b\.svs and .*b\.tif are both named b"):
        find_slides([scans])


def test_names_that_differ_in_case_alone_are_one(tmp_path: Path) -> None:
    for name in ("a/Case-1.svs", "b/case-1.tif"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SlideError, match=r"are both named case-1, but for upper and lower case, and so would be"):
        find_slides([tmp_path])


def test_names_that_differ_in_how_letters_are_composed_alone_are_one(tmp_path: Path) -> None:
    for folder, name in (("a", "Sch\u00e4fer.svs"), ("b", "Scha\u0308fer.svs")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"x")
    with pytest.raises(SlideError, match="are both named"):
        find_slides([tmp_path])


def test_inputs_without_slides(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for source, told in {
        tmp_path / "none": "holds no slides (.svs",
        tmp_path / "gone": "does not exist",
        tmp_path / "gone.svs": "does not exist",
        scans / "notes.txt": "is no slide by its name",
        f"{scans}/*.mrxs": "matches no slides",
    }.items():
        with pytest.raises(SlideError) as error:
            find_slides([source])
        assert str(error.value).startswith(f"{source} ") and told in str(error.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(scans: Path) -> None:
    (scans / "below").chmod(0)
    try:
        with pytest.raises(SlideError, match=r"below cannot be read .*change its rights"):
            find_slides([scans])
    finally:
        (scans / "below").chmod(0o755)


def test_pictures_beside_slides_are_passed_over_with_a_note(scans: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "a_thumb.jpg", "below/c_macro.tif", "below/own_macro.tif"):
        (scans / name).write_bytes(b"x")
    for source in (scans, f"{scans}/**/*"):
        caplog.clear()
        assert names(find_slides([source])) == ["a.SVS", "b.svs", "c.ndpi", "own_macro.tif"]
        assert "passed over pictures beside slides: " in caplog.text
        assert all(name in caplog.text for name in ("a.png", "a_thumb.jpg", "(4 in all)"))
    assert names(find_slides([scans / "a_thumb.jpg"])) == ["a_thumb.jpg"]
    assert names(find_slides([f"{scans}/*.jpg"])) == ["a_thumb.jpg"]


def test_pictures_alone_are_slides(tmp_path: Path) -> None:
    for name in ("x.png", "y.jpg"):
        (tmp_path / name).write_bytes(b"x")
    assert names(find_slides([tmp_path])) == ["x.png", "y.jpg"]


def test_results_of_earlier_runs_are_no_slides(scans: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("states/b.json", "masks/b.ome.tif", "overlays/b.png"):
        (scans / "out-1" / name).parent.mkdir(parents=True)
        (scans / "out-1" / name).write_bytes(b"x")
    assert names(find_slides([scans])) == ["a.SVS", "b.svs", "c.ndpi"]
    assert "results of earlier runs: out-1/masks, out-1/overlays, out-1/states" in caplog.text
    with pytest.raises(SlideError, match="matches no slides"):
        find_slides([f"{scans}/**/*.tif"])


def test_links(scans: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked.svs").write_bytes(b"x")
    (elsewhere / "circle").symlink_to(scans)
    (scans / "more").symlink_to(elsewhere)
    (scans / "gone.svs").symlink_to(tmp_path / "nowhere.svs")
    assert names(find_slides([scans])) == ["a.SVS", "b.svs", "c.ndpi", "gone.svs", "linked.svs"]
    with pytest.raises(SlideError, match=r"gone\.svs does not exist"):
        open_slide(scans / "gone.svs")


def test_formats_that_are_not_read_are_named(scans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (scans / "h.vms").write_bytes(b"x")
    assert len(find_slides([scans])) == 3
    assert "formats that are not read: h.vms; convert such slides to OME-TIFF" in caplog.text
    for call in (lambda: find_slides([scans / "h.vms"]), lambda: open_slide(scans / "h.vms")):
        with pytest.raises(SlideError, match=r"h\.vms is of a format that is not read; convert"):
            call()
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x.czi").write_bytes(b"x")
    with pytest.raises(SlideError, match=r"holds no slides .*x\.czi cannot be read, convert"):
        find_slides([tmp_path / "only"])
