"""The atlas of prototypes that make the mask: by training regions, with and without masks."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.errors import CheckpointError, DataError
from lpdseg.insight.atlas import Atlas, make_atlas
from lpdseg.insight.atlas_page import measures, write_atlas
from lpdseg.insight.atlas_regions import show_regions
from lpdseg.insight.atlas_sheet import save_atlas_picture
from lpdseg.insight.evidence import predicted_mask
from lpdseg.insight.report_parts import atlas_plates
from lpdseg.insight.survey import survey_split
from lpdseg.model.head import PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.tissue import TissueClasses
from lpdseg.training.regions import Kept, Region, Shown, of_one_class, winners_of_class

CLASSES = TissueClasses(("TUM", "STR"))
SHARES = (0.75, 0.25, 0.5, 0.5, 0.0)


@pytest.fixture
def dense(tiny_lpd: Callable[..., LPD]) -> Segmenter:
    """Two and three prototypes, of which STR 3 is retired."""
    settings = PredictSettings(
        fusion=(0, 0.4, 0.6), refine="none", views=("plain",), background="none", gate="none"
    )
    model = tiny_lpd(counts=(2, 3), head=8).eval()
    assert isinstance(model.head, PrototypeHead)
    model.head.live[4] = False
    return Segmenter(model, CLASSES, settings, Calibration.plain(2), (0.0, 0.1, 1.0), "mean")


@pytest.fixture
def data(tmp_path: Path) -> Manifest:
    """Training images of 300 x 200 px and four valid patches with masks."""
    rng, records = np.random.default_rng(0), []
    for name, size in (("t0", (200, 300)), ("t1", (200, 300)), *((f"v{n}", (48, 64)) for n in range(4))):
        path = tmp_path / f"{name}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
        Image.fromarray((np.arange(size[0] * size[1]).reshape(size) % 2).astype(np.uint8)).save(
            tmp_path / f"{name}-mask.png"
        )
        split = "train" if name[0] == "t" else "valid"
        records.append(
            PatchRecord(
                path, (1, 1), split, f"p-{name}", tmp_path / f"{name}-mask.png" if split == "valid" else None
            )
        )
    return Manifest(CLASSES, tuple(records), tmp_path)


def kept_in(root: Path) -> Kept:
    """A region of each prototype that lives, in `t0` and `t1` by turns; of the first in both."""
    shown = []
    for k, (name, number) in enumerate((("TUM", 1), ("TUM", 2), ("STR", 1), ("STR", 2), ("STR", 3))):
        region = Region(f"t{k % 2}.png", f"p{k}", (200 - 20 * k, 150, 40, 30), 0.02, 0.5)
        regions = (region, replace(region, path="t1.png", patient="other")) if k == 0 else (region,)
        shown.append(Shown(name, number, k == 4, SHARES[k], regions if k < 4 else ()))
    return Kept(root, tuple(shown))


def words(atlas: Atlas, tmp_path: Path) -> str:
    write_atlas(atlas, tmp_path / "a.html", title="t")
    text = (tmp_path / "a.html").read_text()
    assert str(tmp_path) not in re.sub(r"<p class=\"soft\">\d+ of \d+ training.*?</p>", "", text)
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", "", text, flags=re.DOTALL).split())


def test_without_data_prototypes_are_shown_by_their_regions(
    dense: Segmenter, data: Manifest, tmp_path: Path
) -> None:
    atlas = make_atlas(dense, None, "valid", kept=kept_in(data.root), names={1: "TUM 2: glandular"})
    assert atlas.coverage is None and atlas.regions and atlas.note is None
    assert [[card.title for card in plate.cards] for plate in atlas.plates] == [
        ["TUM 1", "TUM 2: glandular"], ["STR 1", "STR 2"],
    ]  # fmt: skip
    assert [plate.retired for plate in atlas.plates] == [(), ("STR 3",)]
    cards = [card for plate in atlas.plates for card in plate.cards]
    assert [card.trained for card in cards] == list(SHARES[:4])
    assert [len(card.patches) for card in cards] == [2, 1, 1, 1]
    assert [[one.title for one in card.siblings] for card in cards[2:]] == [["STR 2"], ["STR 1"]]
    said = words(atlas, tmp_path)
    for told in (
        "4 prototypes of 2 classes (1 more",
        "no part of any mask: STR 3.",
        "75.0 % of the training patches of TUM",
        "TUM 2: glandular",
    ):
        assert told in said
    assert "claimed" not in said
    assert "STR 3 wins" not in said
    save_atlas_picture(atlas, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] >= 740


def test_a_picture_is_what_the_network_sees_around_the_box(dense: Segmenter, data: Manifest) -> None:
    found = show_regions(dense, kept_in(data.root), [data.root], 6, 160)
    assert (found.missing, found.wanted) == (0, 5)
    image = np.asarray(Image.open(data.root / "t1.png"))
    winners, values = winners_of_class(of_one_class(dense), image, 0)
    (patch,) = found.shown[1]
    top, left = 88, 144  # 112 px around the middle of x 180 to 220, and moved up to lie within 200 px of height
    np.testing.assert_array_equal(patch.image, image[top:, left : left + 112])
    np.testing.assert_allclose(patch.value, values[1, top:, left : left + 112])
    np.testing.assert_array_equal(patch.won, winners[top:, left : left + 112] == 1)
    assert patch.box == (180 - left, 150 - top, 40, 30)
    changed = (patch.framed() != patch.image).any(2)
    ys, xs = np.nonzero(changed)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (36, 62, 76, 92)
    assert not changed[64:90, 38:74].any()


def test_a_region_that_is_the_picture_has_no_box(dense: Segmenter, data: Manifest) -> None:
    kept = kept_in(data.root)
    whole = replace(kept.prototypes[0].regions[0], box=(0, 0, 300, 200))
    kept = replace(kept, prototypes=(replace(kept.prototypes[0], regions=(whole,)), *kept.prototypes[1:]))
    (patch,) = show_regions(dense, kept, [data.root], 6, 160).shown[0]
    assert patch.box is None
    assert patch.image.shape == (107, 160, 3)


def test_images_that_were_moved_are_found_in_the_data_or_told(
    dense: Segmenter, data: Manifest, tmp_path: Path
) -> None:
    elsewhere = kept_in(tmp_path / "gone")
    found = make_atlas(dense, data, "valid", kept=elsewhere)
    assert found.regions and found.note is None
    lost = make_atlas(dense, None, "valid", kept=elsewhere)
    assert lost.note is not None
    assert lost.note.startswith("5 of 5 training regions cannot be shown")
    assert str(tmp_path / "gone") in lost.note
    assert "--data" in lost.note
    said = words(lost, tmp_path)
    assert "75.0 % of the training patches of TUM" in said
    assert "or its image is not there any more" in said
    (data.root / "t1.png").unlink()
    part = make_atlas(dense, None, "valid", kept=kept_in(data.root))
    assert part.note is not None and part.note.startswith("3 of 5 ")


def test_measures_are_added_and_regions_stay(dense: Segmenter, data: Manifest, tmp_path: Path) -> None:
    atlas = make_atlas(dense, data, "valid", kept=kept_in(data.root))
    assert atlas.coverage is not None and atlas.coverage["masks"] == "true"
    assert atlas.regions
    for plate in atlas.plates:
        assert plate.figures is not None
        assert [card.share for card in plate.cards] == plate.figures["shares"][: len(plate.cards)]
    said = words(atlas, tmp_path)
    assert "pixels claimed" in said
    assert "of training patches" in said
    without = make_atlas(dense, data, "valid")
    assert not without.regions
    assert without.coverage == atlas.coverage
    assert any(card.patches for plate in without.plates for card in plate.cards)


def test_without_masks_the_predicted_ones_share_the_classes(
    dense: Segmenter, data: Manifest, tmp_path: Path
) -> None:
    bare = replace(data, records=tuple(replace(record, mask=None) for record in data.records))
    atlas = make_atlas(dense, bare, "valid")
    coverage = atlas.coverage
    assert coverage is not None and coverage["masks"] == "predicted"
    assert coverage["claimed"] is coverage["region_shrinkage"] is coverage["subtype_coverage"] is None
    masks = [predicted_mask(dense, np.asarray(Image.open(record.path))) for record in bare.split("valid")]
    for c, name in enumerate(CLASSES.names):
        assert coverage["classes"][name]["pixels"] == sum(int((mask == c).sum()) for mask in masks)
    assert any(card.patches for plate in atlas.plates for card in plate.cards)
    said = words(atlas, tmp_path)
    assert "No patch has a true mask" in said
    assert "claimed" not in [row.name for row in measures(coverage)]
    save_atlas_picture(atlas, tmp_path / "a.png")
    with pytest.raises(DataError, match="has a mask"):
        survey_split(dense, bare, "valid")


def test_nothing_to_show_is_told(dense: Segmenter, data: Manifest) -> None:
    with pytest.raises(DataError, match="keeps no training regions"):
        make_atlas(dense, None, "valid")
    by_maps = dense.with_settings(source="maps")
    with pytest.raises(DataError, match="keeps no training regions"):
        make_atlas(by_maps, None, "valid", kept=kept_in(data.root))
    of_another = replace(kept_in(data.root), prototypes=kept_in(data.root).prototypes[:4])
    with pytest.raises(CheckpointError, match="names 4 prototypes and the run has 5"):
        make_atlas(dense, None, "valid", kept=of_another)


def test_a_report_finds_the_images_where_the_data_is_now(dense: Segmenter, data: Manifest, tmp_path: Path) -> None:
    kept, run = kept_in(tmp_path / "gone"), tmp_path / "run"
    run.mkdir()
    assert atlas_plates(run, dense, [data.root]) is None
    told = {"format": 1, "root": str(kept.root), "prototypes": [asdict(one) for one in kept.prototypes]}
    (run / "prototypes.json").write_text(json.dumps(told))
    plates = atlas_plates(run, dense, [data.root])
    assert plates is not None and [plate["retired"] for plate in plates] == [(), ("STR 3",)]
    cards = [card for plate in plates for card in plate["cards"]]
    assert [card["share"] for card in cards] == ["75 %", "25 %", "50 %", "50 %"]
    assert [len(card["tiles"]) for card in cards] == [2, 1, 1, 1]
