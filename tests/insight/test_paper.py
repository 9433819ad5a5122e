"""Figures for a paper: size, format, text, colours, and names that nobody has checked."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from lpdseg.errors import OutputError, SettingsError
from lpdseg.insight.atlas import Atlas, Card, Plate
from lpdseg.insight.atlas_patches import TypicalPatch
from lpdseg.insight.paper.confusion import confusion_figure, short_count
from lpdseg.insight.paper.curves import LINES, Trained, curves_figure, look
from lpdseg.insight.paper.grid import Group, Row, Tile, grid_figure, marks
from lpdseg.insight.paper.plates import prototypes_figure
from lpdseg.insight.paper.sheet import Sheet, check_figure, write_figure
from lpdseg.tissue import TissueClasses
from test_palette import VISION, least_distance

HOSTILE = "<script/>$x_1$&\udce4\x07"
CLASSES = TissueClasses((HOSTILE.replace("\x07", ""), "stroma"), background=2)
MATRIX = np.array([[750, 200, 50], [1, 2_345_678, 9], [0, 0, 0]])
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def trained(name: str, steps: int = 3) -> Trained:
    rows = [{"kind": "train", "step": s, "loss": 9.0 / (s + 1), "odd": s / 7} for s in range(steps)]
    rows += [{"kind": "valid", "step": s, "miou": 30.0 + s} for s in range(steps)]
    return Trained(name, rows, {"odd": "an odd part, L_odd"})


def grid() -> Sheet:
    tiles = (Tile(IMAGE), Tile(IMAGE[..., ::-1]), Tile(IMAGE, "93 %", ((0.5, 0.5, HOSTILE),)))
    groups = (Group("", ("image", "truth")), Group(HOSTILE, ("mask",)))
    legend = [(name, colour) for name, colour in zip(CLASSES.names, CLASSES.colours, strict=True)]
    return grid_figure(groups, [Row("best", tiles, 0.5), Row(HOSTILE, tiles)], legend, 120.0)


def atlas(*cards: Card) -> Atlas:
    plate = Plate("stroma", (0, 200, 0), None, (), cards, ("stroma 3",), 0.0, 1.0)
    return Atlas(CLASSES, None, (plate,), True, True, None)


def card(number: int, title: str, patches: int) -> Card:
    values, won = np.linspace(0, 1, 768, dtype=np.float32).reshape(24, 32), np.zeros((24, 32), bool)
    one = TypicalPatch("a.png", "p", 0.5, 0.1, IMAGE, values, won, (2, 2, 9, 9))
    return Card(number, title, None, 0.004, False, (), None, (one,) * patches)


DRAWN: dict[str, Callable[[], Sheet]] = {
    "confusion": lambda: confusion_figure([(HOSTILE, MATRIX), ("other", MATRIX)], CLASSES, 120.0),
    "curves": lambda: curves_figure([trained(HOSTILE), trained("b")], 120.0, parts=True),
    "grid": grid,
    "prototypes": lambda: prototypes_figure(atlas(card(1, HOSTILE, 3), card(2, "stroma 2", 0)), 120.0),
}


@pytest.mark.parametrize("what", DRAWN)
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_figure_has_its_size_and_the_same_bytes_again(what: str, kind: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.{kind}" for number in range(2)]
    notes = [write_figure(path, DRAWN[what], 100, f"what {HOSTILE} is") for path in paths]
    assert paths[0].read_bytes() == paths[1].read_bytes() and notes == [(), ()]
    body = paths[0].read_bytes()
    if kind == "png":
        with Image.open(paths[0]) as picture:
            assert abs(picture.width - 120 / 25.4 * 100) <= 1
    elif kind == "svg":
        root = ElementTree.fromstring(body.decode("utf-8"))
        assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(120 / 25.4 * 72)
        shown = "".join(node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text"))
        assert "<script/>$x_1$&\\xE4" in shown  # as text, neither drawn nor read
        assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    else:
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", body)
        assert box is not None and float(box[1]) == pytest.approx(120 / 25.4 * 72, abs=0.01)
        assert b"/FontFile2" in body and b"/Type3" not in body  # whole letters of a font, that can be searched


def test_prototypes_are_told_by_number_name_and_share(tmp_path: Path) -> None:
    def words(*cards: Card) -> list[str]:
        write_figure(tmp_path / "p.svg", lambda: prototypes_figure(atlas(*cards), 120.0), 300)
        return re.findall(r">([^<>]+)</text>", (tmp_path / "p.svg").read_text(encoding="utf-8"))

    shown = words(card(1, "stroma 1: loose", 3), card(2, "stroma 2", 0))
    assert {"stroma", "1: loose", "2", "0.4 % of its training patches", "nothing that it wins"} <= set(shown)
    assert "stroma" not in words()  # all of its prototypes are retired


def test_letters_that_the_font_lacks_are_told(tmp_path: Path) -> None:
    notes = write_figure(tmp_path / "a.png", lambda: curves_figure([trained("腫瘍"), trained("b")], 90.0), 80)
    assert len(notes) == 1 and "SVG leaves the font to who opens it" in notes[0]


def test_what_cannot_be_written_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match=r"figure\.jpg must end in \.png, \.svg or \.pdf"):
        check_figure(tmp_path / "figure.jpg")
    monkeypatch.setattr("lpdseg.extras.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'lpdseg\[figures\]'"):
        check_figure(tmp_path / "figure.PDF")


def test_rows_of_a_matrix_are_shares_and_counts(tmp_path: Path) -> None:
    write_figure(tmp_path / "c.svg", lambda: confusion_figure([("r", MATRIX)], CLASSES, 89.0), 300)
    text = (tmp_path / "c.svg").read_text(encoding="utf-8")
    shown = re.findall(r">([^<>]+)</text>", text)
    assert {"75.0", "20.0", "5.0", "750", "2.35 M", "100.0"} <= set(shown)
    assert shown.count("–") == 3  # a class that no pixel truly shows has no shares


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (81_234, "81.2 k"), (812_345, "812 k"), (999_600, "1.00 M"),
     (10**15, "1000 T")],
)  # fmt: skip
def test_counts_are_short(count: int, text: str) -> None:
    assert short_count(count) == text


def test_large_areas_are_named_where_they_are_widest() -> None:
    areas = np.full((20, 30), 9, np.uint8)
    areas[2:11, 3:12] = 0
    areas[0, 20] = areas[0, 22] = 1  # too small to hold a name
    assert marks(areas, ("a", "b")) == ((7.5 / 30, 6.5 / 20, "a"),)


def test_curves_show_what_runs_have(tmp_path: Path) -> None:
    bare = Trained("bare", [{"kind": "train", "step": 4, "loss": 1.0}], {})
    write_figure(tmp_path / "c.svg", lambda: curves_figure([bare, trained("b")], 180.0), 300)
    text = (tmp_path / "c.svg").read_text(encoding="utf-8")
    assert "not validated" in text and "best mIoU 32.0" in text and "L_odd" not in text


@pytest.mark.parametrize("vision", VISION)
def test_lines_are_told_apart_by_everybody(vision: str) -> None:
    for count in range(2, len(LINES) + 1):
        assert least_distance((*LINES[:count], (255, 255, 255)), vision) > 10, count
    looks = [tuple(look(number).values()) for number in range(4 * len(LINES))]
    assert len(set(looks)) == len(looks)
