"""Masks of a folder of images: what earlier runs left is kept, or the run refused."""

import csv
import json
from collections.abc import Callable
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image

from lpdseg.errors import OutputError, SettingsError
from lpdseg.model.lpd import LPD
from lpdseg.segmenting.patches import ImageFile, find_images
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.workflows.patches import export_patches


def draw(path: Path) -> ImageFile:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(path, format="PNG")
    return ImageFile(path, PurePath(path.stem))


def test_the_mask_of_another_image_is_not_replaced_and_the_table_remembers(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first, second, third = (draw(tmp_path / name) for name in ("p1/x.png", "p2/x.png", "p2/y.png"))
    for _ in range(2):  # again is no replacement
        export_patches(segmenter, [first], out, described={"weights_sha256": "a" * 64})
    before = (out / "masks" / "x.png").read_bytes()
    with pytest.raises(
        OutputError, match=r"masks/x\.png is the mask of .*p1/x\.png, and .*p2/x\.png would replace it"
    ):
        export_patches(segmenter, [second, third], out)
    assert (out / "masks" / "x.png").read_bytes() == before and not (out / "masks" / "y.png").exists()
    export_patches(segmenter, [third], out, described={"weights_sha256": "b" * 64})
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(Path(row["image"]).name, row["model"]) for row in rows] == [("x.png", "a" * 12), ("y.png", "b" * 12)]


def test_a_mask_whose_name_differs_in_case_alone_is_not_replaced(segmenter: Segmenter, tmp_path: Path) -> None:
    out, first, second = tmp_path / "out", draw(tmp_path / "p1" / "x.png"), draw(tmp_path / "p2" / "X.png")
    export_patches(segmenter, [first], out)
    with pytest.raises(OutputError, match=r"masks/x\.png is the mask of .*p1/x\.png, and .*p2/X\.png"):
        export_patches(segmenter, [second], out)
    (out / "masks" / "x.png").unlink()
    export_patches(segmenter, [second], out)


def test_a_name_that_is_too_long_is_refused_first(segmenter: Segmenter, tmp_path: Path) -> None:
    images = [draw(tmp_path / "in" / name) for name in ("x.png", "y" * 245 + ".png")]
    with pytest.raises(OutputError, match="bytes too long; shorten the name"):
        export_patches(segmenter, images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_prototypes_are_written_beside_the_mask(
    segmenter: Segmenter, tiny_lpd: Callable[..., LPD], tmp_path: Path
) -> None:
    with_head = segmenter.computed_by(tiny_lpd(head=8).eval()).with_settings(gate="none")
    image, out = draw(tmp_path / "in" / "x.png"), tmp_path / "out"
    Image.fromarray(np.random.default_rng(0).integers(0, 180, (40, 48, 3), np.uint8)).save(image.path)
    export_patches(with_head, [image], out)
    plain = (out / "masks" / "x.png").read_bytes()
    assert not (out / "prototypes").exists()
    assert json.loads((out / "segment.json").read_text("utf-8"))["prototypes"] is None
    export_patches(with_head, [image], out, prototypes=True)
    assert (out / "masks" / "x.png").read_bytes() == plain
    with Image.open(out / "prototypes" / "x.png") as written, Image.open(out / "masks" / "x.png") as mask:
        won, classes = np.asarray(written), np.asarray(mask)
    table = np.full(256, 2, np.uint8)
    table[:5] = [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(table[won], classes)
    with (out / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    told = json.loads((out / "segment.json").read_text("utf-8"))["prototypes"]
    assert told == {"names": ["a 1", "a 2", "b 1", "b 2", "b 3"], "background": 255}
    for value, name in enumerate(told["names"]):
        assert float(row[f"prototype_{name}"]) == pytest.approx((won == value).mean(), abs=1e-6)


def test_how_sure_masks_are_is_written_beside_them(segmenter: Segmenter, tmp_path: Path) -> None:
    unsure, image = segmenter.with_settings(gate="none", unsure=0.1), draw(tmp_path / "in" / "x.png")
    pixels, out = np.random.default_rng(0).integers(0, 180, (40, 48, 3), np.uint8), tmp_path / "out"
    Image.fromarray(pixels).save(image.path)
    export_patches(unsure, [image], out)
    plain = (out / "masks" / "x.png").read_bytes()
    assert not (out / "uncertainty").exists()
    assert json.loads((out / "segment.json").read_text("utf-8"))["uncertainty"] is None
    export_patches(unsure, [image], out, uncertainty=True)
    assert (out / "masks" / "x.png").read_bytes() == plain
    wanted = unsure.segment(pixels)
    assert wanted.uncertainty is not None and wanted.unsure_share
    with Image.open(out / "uncertainty" / "x.png") as written:
        assert written.mode == "L"
        np.testing.assert_array_equal(np.asarray(written), wanted.uncertainty.grey)
    with (out / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["unsure_share"]) == pytest.approx(wanted.unsure_share, abs=1e-6)
    told = json.loads((out / "segment.json").read_text("utf-8"))["uncertainty"]
    assert (told["temperature"], told["unsure"], told["unsure_above"]) == (1, 0.1, 229.5)


def test_prototypes_of_masks_that_none_make_are_refused_first(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="leave --prototypes out"):
        export_patches(segmenter, [draw(tmp_path / "in" / "x.png")], tmp_path / "out", prototypes=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["...png", "..png", ".hidden.png"])
def test_no_name_of_an_image_hides_its_mask(name: str, segmenter: Segmenter, tmp_path: Path) -> None:
    path = draw(tmp_path / "in" / name).path
    export_patches(segmenter, find_images([path]), tmp_path / "out")
    [mask] = (tmp_path / "out" / "masks").iterdir()
    assert mask.name.startswith("_") and mask.suffix == ".png"
