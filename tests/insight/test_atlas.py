import io
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.insight import atlas_sheet
from lpdseg.insight.atlas import Atlas, make_atlas
from lpdseg.insight.atlas_page import measures, per_cent, write_atlas
from lpdseg.insight.atlas_patches import choose_typical
from lpdseg.insight.atlas_sheet import atlas_picture, save_atlas_picture
from lpdseg.insight.evidence import prototype_values
from lpdseg.insight.pictures import heat_over, heat_palette, photo_uri, rgb_uri
from lpdseg.insight.survey import PatchUse
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.tissue import TissueClasses

NAMES = TissueClasses(("<i>TUM</i>", "STR & co"), ((255, 0, 0), (0, 160, 0)))


class Page(HTMLParser):
    """Collects what a page refers to and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.alts: list[str | None] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert tag not in {"script", "link", "iframe", "object"}
        self.links += [found[key] or "" for key in ("href", "src", "srcset", "data") if key in found]
        if tag == "img":
            self.alts.append(found.get("alt"))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def use(name: str, patient: str, won: int, strength: float) -> PatchUse:
    """A patch in which the only prototype wins `won` pixels."""
    empty = np.zeros(1, np.int64)
    return PatchUse(
        PatchRecord(Path(name), None, "valid", patient),
        np.array([won]),
        np.array([strength]),
        np.array([100]),
        empty,
        np.full(1, np.nan),
        np.ones((1, 1)),
        np.zeros((16, 1), np.int64),
        np.zeros((16, 1), np.int64),
    )


def names(patches: list[PatchUse]) -> list[str]:
    return [patch.record.path.name for patch in patches]


def test_typical_patches_are_strong_large_and_of_many_patients() -> None:
    patches = [
        use("a1", "a", 50, 0.9),
        use("a2", "a", 50, 0.8),
        use("a3", "a", 50, 0.7),
        use("b1", "b", 50, 0.3),
        use("tiny", "c", 1, 0.99),
        use("small", "c", 2, 0.1),
        use("none", "d", 0, np.nan),
    ]
    assert names(choose_typical(patches, 0, 3)) == ["a1", "b1", "a2"]
    assert names(choose_typical(patches, 0, 9)) == ["a1", "b1", "a2", "a3", "small", "tiny"]
    assert choose_typical([use("none", "d", 0, np.nan)], 0, 3) == []


Make = Callable[..., tuple[Atlas, Segmenter, Manifest]]


@pytest.fixture
def make(tmp_path: Path, tiny_lpd: Callable[..., LPD]) -> Make:
    def made(
        counts: tuple[int, int] = (2, 3), shown: int = 2, patches: int = 2
    ) -> tuple[Atlas, Segmenter, Manifest]:
        rng = np.random.default_rng(0)
        records = []
        for index in range(4):
            path, mask = tmp_path / f"img{index}.png", tmp_path / f"mask{index}.png"
            Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
            values = np.zeros((48, 64), np.uint8)
            values[:, 20:] = shown - 1
            Image.fromarray(values).save(mask)
            records.append(PatchRecord(path, None, "valid", f"patient{index % 2}", mask))
        data = Manifest(NAMES, tuple(records), tmp_path)
        settings = PredictSettings(fusion=(0, 0.4, 0.6), refine="none", views=("plain",))
        model = tiny_lpd(counts=counts).eval()
        segmenter = Segmenter(model, NAMES, settings, Calibration.plain(2), (0.0, 0.1, 1.0), "mean")
        return make_atlas(segmenter, data, "valid", patches=patches), segmenter, data

    return made


def test_cards_agree_with_the_measures_and_the_network(make: Make) -> None:
    atlas, segmenter, data = make()
    assert [len(plate.cards) for plate in atlas.plates] == [2, 3]
    first = np.cumsum([0, 2])
    for index, plate in enumerate(atlas.plates):
        assert [card.share for card in plate.cards] == atlas.coverage["classes"][plate.name]["shares"]
        assert sum(card.dead for card in plate.cards) == plate.figures["dead_prototypes"]
        for card in plate.cards:
            assert {sibling.number for sibling in card.siblings} == set(range(1, len(plate.cards) + 1)) - {
                card.number
            }
            assert bool(card.patches) == (card.share > 0)
            for patch in card.patches:
                number = first[index] + card.number - 1
                image = np.asarray(Image.open(data.source / patch.file))
                cosine = prototype_values(segmenter, image)[number]
                np.testing.assert_allclose(patch.value, cosine, atol=1e-5)  # 64 px: shown at full size
                assert patch.strength == pytest.approx(cosine[patch.won].mean(), abs=1e-5)
                assert patch.share == pytest.approx(patch.won.mean())
                assert plate.low <= patch.value.min() <= patch.value.max() <= plate.high


def test_siblings_are_ordered_by_how_alike_they_answer(make: Make) -> None:
    atlas, *_ = make(counts=(4, 3))
    for plate in atlas.plates:
        for card in plate.cards:
            known = [sibling.similarity or 0.0 for sibling in card.siblings]
            assert known == sorted(known, reverse=True)
            assert all(-1.001 <= sibling.cosine <= 1.001 for sibling in card.siblings)


def test_a_bar_and_its_head_are_hidden_together_on_a_narrow_screen(make: Make, tmp_path: Path) -> None:
    atlas, *_ = make()
    shares = [1.0] * len(atlas.plates[0].cards)
    face = {"class": atlas.plates[0].name, "name": "glands", "claimed": 0.5, "pixels": 10, "shares": shares}
    plates = (replace(atlas.plates[0], subtypes=(face,)), *atlas.plates[1:])
    assert atlas.coverage is not None
    atlas = replace(atlas, plates=plates, coverage=atlas.coverage | {"subtypes": [face]})
    write_atlas(atlas, tmp_path / "a.html", title="run", about="")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    heads, cells = (re.findall(f'<{tag}[^>]*class="bar"', text) for tag in ("th", "td"))
    assert len(heads) == len(cells) == 1


def test_page_stands_alone(make: Make, tmp_path: Path) -> None:
    atlas, *_ = make()
    write_atlas(atlas, tmp_path / "a.html", title="run & co", about="Method lpd.")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not re.search(r"https?://|\bfile:|url\(|@import", text)
    assert str(tmp_path) not in text
    assert page.alts
    assert all(page.alts)
    assert "<i>" not in text
    words = " ".join(" ".join(page.words).split())
    assert "<i>TUM</i> 1" in words
    assert "run & co" in words
    assert not re.search(r"highest of all\.\S", words)
    for row in measures(atlas.coverage):
        assert row.value in words
        assert row.meaning in words
    assert sum(link.startswith("data:") for link in page.links) == 2 * sum(
        len(card.patches) for plate in atlas.plates for card in plate.cards
    )
    write_atlas(atlas, tmp_path / "b.html", title="run & co", about="Method lpd.")
    assert (tmp_path / "b.html").read_text(encoding="utf-8") == text


def test_one_prototype_and_a_class_that_is_never_shown(make: Make, tmp_path: Path) -> None:
    atlas, *_ = make(counts=(1, 3), shown=1)
    write_atlas(atlas, tmp_path / "a.html", title="t")
    words = " ".join(Page((tmp_path / "a.html").read_text()).words)
    assert "None of the patches shows STR & co" in words
    assert "Jeffrey similarity" not in [row.name for row in measures(atlas.coverage)]
    assert not any(card.dead for card in atlas.plates[1].cards)
    save_atlas_picture(atlas, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_picture_fits_and_keeps_the_colours_of_classes(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas, *_ = make(counts=(5, 5))
    path = tmp_path / "a.png"
    save_atlas_picture(atlas, path)
    whole = path.read_bytes()
    assert len(whole) < 500_000
    with Image.open(path) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
        assert {(255, 0, 0), (0, 160, 0), (255, 255, 255)} <= colours
        assert picture.size == atlas_picture(atlas, 160).size
    monkeypatch.setattr(atlas_sheet, "_MOST_BYTES", len(whole))
    save_atlas_picture(atlas, path)
    assert path.stat().st_size < len(whole)


def test_legend_is_not_cut_off(make: Make) -> None:
    atlas, *_ = make(counts=(1, 1))
    sheet = np.asarray(atlas_picture(atlas, 64).convert("L"))
    assert (sheet[-30:, -6:] == 255).all()
    assert (sheet[-30:, 260:] < 200).any()


def test_heat_colours_hot_tissue_and_leaves_cold_tissue_grey() -> None:
    image = np.full((4, 6, 3), (200, 100, 150), np.uint8)
    heat = np.zeros((4, 6))
    heat[:, 3:] = 1
    inside = np.zeros((4, 6), bool)
    inside[:, 4:] = True
    shown = heat_over(image, heat, inside).astype(int)
    assert np.ptp(shown[:, :3], axis=2).max() < 15
    assert np.ptp(shown[:, 3], axis=1).min() > 30
    assert np.abs(shown[0, 3] - heat_palette()[255]).max() < 60
    assert (shown[:, 4] == 20).all()  # the outline, inside of the border
    assert (shown[:, 5] != 20).all()  # and none along the picture's edge


def test_a_little_is_not_told_as_nothing() -> None:
    assert [per_cent(share) for share in (None, 0.0, 0.0004, 0.0006, 0.123)] == [
        "–", "0.0 %", "<0.1 %", "0.1 %", "12.3 %",
    ]  # fmt: skip
    assert per_cent(0.004, 0) == "<1 %"


def test_photos_are_small_and_close() -> None:
    ramp = np.linspace(0, 255, 64)
    image = np.stack([*np.meshgrid(ramp, ramp), np.full((64, 64), 90.0)], 2)
    noisy = (image + np.random.default_rng(0).normal(0, 12, image.shape)).clip(0, 255).astype(np.uint8)
    head, _, body = photo_uri(noisy).partition(",")
    assert head == "data:image/jpeg;base64"
    assert len(body) < 0.6 * len(rgb_uri(noisy))
    back = np.asarray(Image.open(io.BytesIO(b64decode(body)))).astype(float)
    assert np.abs(back - noisy).mean() < 10
