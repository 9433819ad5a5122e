from pathlib import Path

import pytest

from lpdseg.cli.slide_options import OPTIONS
from lpdseg.errors import SettingsError
from lpdseg.folders import RESULT_FOLDERS
from lpdseg.workflows.slides.kinds import KINDS, parse_kinds
from lpdseg.workflows.slides.layout import leftovers, lock_path, output_path, state_path, work_path


def test_kinds_are_read_in_any_form_and_come_in_one_order() -> None:
    assert parse_kinds("csv, geojson") == parse_kinds(["geojson,csv", "csv"]) == ("geojson", "csv")
    with pytest.raises(SettingsError, match=r"no output 'tiff'; slides can become geojson, geojson.gz, ome-tiff"):
        parse_kinds("geojson,tiff")
    with pytest.raises(SettingsError, match=r"for maps of prototypes add --prototypes$"):
        parse_kinds("geojson,prototypes")
    with pytest.raises(SettingsError, match=r"; zarr has them$"):
        parse_kinds("probabilities")
    with pytest.raises(SettingsError, match="no output is named"):
        parse_kinds(" ,")


def test_prototypes_are_written_beside_what_has_them() -> None:
    assert parse_kinds("zarr,csv", prototypes=True) == ("zarr", "csv", "csv of prototypes")
    with pytest.raises(SettingsError, match="no prototypes in --to zarr; name another kind beside it"):
        parse_kinds("zarr", prototypes=True)
    with pytest.raises(SettingsError, match="no output 'csv of prototypes'"):
        parse_kinds("csv of prototypes")


def test_every_kind_is_told_and_has_one_writer() -> None:
    told = OPTIONS["to"].__metadata__[0].help
    for name, kind in KINDS.items():
        asked = name.removesuffix(" of prototypes")
        assert asked in told.replace("(", " ").replace(",", " ").split()
        assert (kind.write is None) != (kind.store is None)


def test_stems_keep_their_points(tmp_path: Path) -> None:
    assert output_path(tmp_path, "ome-tiff", "A.1[x]").name == "A.1[x].ome.tif"
    assert output_path(tmp_path, "csv of prototypes", "A.1") == tmp_path / "prototypes" / "A.1.prototypes.csv"
    # A plain TIFF is none of OME's, whatever the slide is named.
    assert not output_path(tmp_path, "label-tiff", "case.ome").name.endswith(".ome.tif")
    assert state_path(tmp_path, "A.1").name == "A.1.json"


def test_leftovers_are_those_of_the_slide_alone(tmp_path: Path) -> None:
    mine, other = "a[1]", "a1"
    expected = set()
    for stem in (mine, other):
        for kind in KINDS:
            path = output_path(tmp_path, kind, stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("whole")
            for end in ("x1.tmp", "x2.tmp.json", "x3.old"):
                left = path.parent / f".{path.name}.{end}"
                left.write_text("half")
                if stem == mine:
                    expected.add(left)
    longer = tmp_path / "geojson" / f".{mine}.geojson.geojson.x1.tmp.geojson"  # of the slide a[1].geojson.tif
    longer.write_text("half")
    work_path(tmp_path, mine).mkdir(parents=True)
    assert set(leftovers(tmp_path, mine)) == expected | {work_path(tmp_path, mine)}


def test_a_later_search_knows_every_folder_of_results(tmp_path: Path) -> None:
    written = {output_path(tmp_path, kind, "a").parent.name for kind in KINDS} | {
        state_path(tmp_path, "a").parent.name
    }
    assert written <= RESULT_FOLDERS


def test_outputs_have_names_that_every_reader_takes(tmp_path: Path) -> None:
    assert output_path(tmp_path, "csv", "Sch\udce4fer").name == r"Sch\xE4fer.csv"
    assert state_path(tmp_path, "Sch\udce4fer").name == r"Sch\xE4fer.json"


@pytest.mark.parametrize("stem", ["..", ".", ".hidden", "...", "a"])
def test_no_name_of_a_slide_leads_out_of_its_place_or_hides_its_results(stem: str, tmp_path: Path) -> None:
    places = [work_path(tmp_path, stem), lock_path(tmp_path, stem), state_path(tmp_path, stem)]
    places += [output_path(tmp_path, kind, stem) for kind in KINDS]
    for path in places:
        assert path.resolve().parent == path.parent != tmp_path
        assert not path.name.startswith(".")
    assert len(set(places)) == len(places)
