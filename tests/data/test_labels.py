from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.data.labels import bracket_label, labels_from_name, mpp_from_name, patient_from_name
from lpdseg.errors import DataError

BCSS = Path("TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+0[1101].png")
LUAD = Path("1031280-2300-27920-[1 0 0 1].png")
WSSS4LUAD = Path("436219-7159-48057-[1, 0, 0].png")
GLAS = Path("testA_10_patient10_x136_y154_MPP-0.62+0[110].png")


@pytest.mark.parametrize(
    ("path", "values", "style", "patient", "mpp"),
    [
        (BCSS, (1, 1, 0, 1), "digits", "TCGA-A1-A0SK", 0.25),
        (LUAD, (1, 0, 0, 1), "spaces", "1031280", None),
        (WSSS4LUAD, (1, 0, 0), "commas", "436219", None),
        (GLAS, (1, 1, 0), "digits", "patient10", 0.62),
    ],
)
def test_names_of_the_published_data_sets(
    path: Path, values: tuple[int, ...], style: str, patient: str, mpp: float | None
) -> None:
    label = bracket_label(path)
    assert label is not None
    assert (label.values, label.style) == (values, style)
    assert patient_from_name(path) == patient
    assert mpp_from_name(path) == mpp


@given(st.lists(st.integers(0, 1), min_size=1, max_size=12), st.sampled_from(["", " ", ",", ", "]))
def test_every_label_in_every_style_is_read_back(values: list[int], separator: str) -> None:
    path = Path(f"some[011]folder/old[0]_p1[{separator.join(map(str, values))}].png")
    assert labels_from_name(path, len(values)) == tuple(values)


def test_brackets_of_folders_are_no_label() -> None:
    assert labels_from_name(Path("slides [110]/a.png"), 3) is None
    assert labels_from_name(Path("a[110.png"), 3) is None


@pytest.mark.parametrize("inside", ["", "12", "1 0, 1", "1-0", "abc", "1.0", "1,,0", "١"])
def test_brackets_with_anything_else_are_refused(inside: str) -> None:
    with pytest.raises(DataError, match=r"x\[.*\]\.png: .* is no label; write a 0 or 1 per class"):
        labels_from_name(Path(f"x[{inside}].png"), 2)


def test_a_label_of_another_length_is_refused_with_both_numbers() -> None:
    with pytest.raises(DataError, match=r"y\[1101\]\.png: .* has 4 digits, but 3 are expected"):
        labels_from_name(Path("y[1101].png"), 3)


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("slide7_x0_y0.png", "slide7"),
        ("slide7.png", "slide7"),
        ("slide7[10].png", "slide7"),
        ("_x0.png", "_x0"),
        ("[10].png", "[10]"),
        ("12-34_5.png", "12"),
        ("ab-34_5.png", "ab-34"),
        ("TCGA-AA-BB.png", "TCGA-AA-BB"),
        ("TCGA-AA-BB-DX1_patient3.png", "patient3"),
        ("inpatient3_x.png", "inpatient3"),
        ("tcga-aa-1001-01z_7.png", "TCGA-AA-1001"),
    ],
)
def test_patients(name: str, patient: str) -> None:
    assert patient_from_name(Path("other_patient99_folder") / name) == patient


@pytest.mark.parametrize("name", ["a_MPP-0+0.png", "a_MPP-x.png", "MPP.png"])
def test_no_microns_per_pixel_where_the_name_gives_none(name: str) -> None:
    assert mpp_from_name(Path(name)) is None


def test_a_figure_that_no_number_can_hold_is_no_microns_per_pixel() -> None:
    assert mpp_from_name(Path(f"x_MPP-{'9' * 400}.png")) is None


@pytest.mark.parametrize(
    ("name", "patient"), [("TCGA-A0-A0SK _x.png", "TCGA-A0-A0SK"), ("p 1 _x.png", "p 1"), (" _x.png", "_x")]
)
def test_a_patient_is_the_same_in_a_manifest_whose_cells_are_stripped(name: str, patient: str) -> None:
    assert patient_from_name(Path(name)) == patient
