"""What a person meets who types `import lpdseg`: short words for long things, and paths as text."""

import base64
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import lpdseg
from lpdseg import api
from lpdseg.data.patches import read_mask
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.errors import DataError
from lpdseg.evaluation.protocol import Protocol, Records, record
from lpdseg.export.areas import ClassArea
from lpdseg.segmenting.segmentation import Segmentation
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.settings import Settings
from lpdseg.tissue import PRESETS, TissueClasses
from lpdseg.training.result import TrainResult
from lpdseg.workflows.patches import Exported
from lpdseg.workflows.slides.result import SlideResult

CLASSES = TissueClasses(("tumour", "stroma"), colours=((255, 0, 0), (0, 200, 0)), indices=(3, 9), background=1)
IMAGE = np.full((40, 60, 3), 200, np.uint8)


def segmented() -> Segmentation:
    mask = np.full((40, 60), 3, np.uint8)
    mask[:10] = 9
    maps = np.zeros((3, 40, 60), np.float32)
    return Segmentation(mask, maps, maps[:2], np.ones(2, np.float32), CLASSES)


def many_patches() -> Manifest:
    records = tuple(PatchRecord(Path(f"{n}.png"), (1, 0), "train", str(n)) for n in range(20_000))
    return Manifest(CLASSES, records, Path("patches"))


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (segmented, "Segmentation(60 x 40 px: tumour 75%, stroma 25%)"),
        (many_patches, "Manifest(train 20,000; tumour, stroma, background; patches)"),
        (lambda: PRESETS["luad"], "TissueClasses(TE, NEC, LYM, TAS, background)"),
        (lambda: Settings(), "Settings(custom: lpd, encoder efficientnet_lite0, seed 0)"),
        (lambda: Exported(3, ("a",) * 900, {"tumour": 0.25}), "Exported(3 masks, 900 skipped: tumour 25%)"),
        (
            lambda: SlideResult(Path("a/b.svs"), "segmented", areas=(ClassArea("tumour", 1, 1.0, 25.0),)),
            "SlideResult(b.svs segmented: tumour 25 %)",
        ),
        (
            lambda: record(Protocol("valid", "predicted", "keep", "none"), CLASSES, np.eye(3, dtype=int)[None], 1),
            "Record(valid, gate predicted, background keep: "
            "miou 100.00, mdice 100.00, fwiou 100.00, pixel_accuracy 100.00)",
        ),
        (
            lambda: record(Protocol("test"), CLASSES, np.stack([np.eye(3, dtype=int)] * 2), 2),
            "Record(test, gate predicted, background keep: "
            "miou 100.00 [100.0, 100.0], mdice 100.00 [100.0, 100.0], "
            "fwiou 100.00 [100.0, 100.0], pixel_accuracy 100.00 [100.0, 100.0])",
        ),
        (lambda: TrainResult(Path("r"), 1, 2, None, 3.0), None),
    ],
    ids=["segmentation", "manifest", "classes", "settings", "exported", "slide", "record", "intervals", "trained"],
)
def test_a_thing_is_said_in_one_short_line(thing: Callable[[], object], said: str | None) -> None:
    shown = repr(thing())
    assert said is None or shown == said
    assert "\n" not in shown and len(shown) < 180 and "array" not in shown


HOSTILE = TissueClasses(("<script>alert(1)</script>", 'b"&'), indices=(3, 9))


def scored() -> Records:
    matrices = np.stack([np.eye(2, dtype=int)] * 2)
    return Records(record(Protocol(split), HOSTILE, matrices, 2) for split in ("a<", "b"))


@pytest.mark.parametrize(
    ("thing", "shown"),
    [
        (lambda: Segmentation(np.full((4, 6), 9, np.uint8), np.zeros((2, 4, 6), np.float32),
                              np.zeros((2, 4, 6), np.float32), np.ones(2, np.float32), HOSTILE), "100.0%"),
        (scored, "100.00 [100.0, 100.0]"),
        (lambda: scored()[0], "gate predicted"),
        (lambda: Exported(3, ("a",), {"<script>": 0.25}), "25.0%"),
        (lambda: SlideResult(Path("<script>.svs"), "kept", areas=(ClassArea("<script>", 1, 1.5, 25.0),)), "1.5"),
        (lambda: TrainResult(Path("<script>"), 1, 2, None, 3.0), "1 of 2, interrupted"),
    ],
    ids=["segmentation", "records", "record", "exported", "slide", "trained"],
)  # fmt: skip
def test_a_notebook_shows_things_and_no_name_is_markup(thing: Callable[[], Any], shown: str) -> None:
    html = thing()._repr_html_()
    assert shown in html and "&lt;" in html and "<script" not in html
    closed = re.sub(r"(<img [^>]*)>", r"\1/>", html)
    ElementTree.fromstring(f"<all>{closed}</all>")  # and every tag is closed


def test_a_segmentation_is_shown_as_its_mask() -> None:
    html = segmented()._repr_html_()
    body = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert body is not None
    with Image.open(io.BytesIO(base64.b64decode(body[1]))) as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), CLASSES.palette()[segmented().mask])
    assert "tumour" in html and "75.0%" in html and "#ff0000" in html


def test_a_segmenter_is_shown_with_its_thresholds(segmenter: Segmenter) -> None:
    assert segmenter._repr_html_().count("0.50") == 2


def test_a_segmenter_and_what_it_sees_hold_no_numbers(segmenter: Segmenter) -> None:
    assert repr(segmenter) == "Segmenter(LPD for a, b, background; gate predicted, refine none, on cpu)"
    import torch

    images = torch.zeros((1, 3, 32, 32), dtype=torch.uint8)
    seen = segmenter.observe(images)
    for thing in (seen, segmenter.decide(seen, images)):
        assert "tensor" not in repr(thing)


@pytest.mark.parametrize("image", [IMAGE, Image.fromarray(IMAGE), Image.fromarray(IMAGE).convert("L")])
def test_an_overlay_is_a_picture(image: Any) -> None:
    picture = segmented().overlay(image)
    assert picture.mode == "RGB"
    tinted = np.asarray(picture)[200, 100].astype(int)
    assert tinted[0] > tinted[1] == tinted[2]


def test_an_overlay_needs_the_image_that_was_segmented() -> None:
    with pytest.raises(DataError, match=r"image is 30 x 40 pixels, but this mask 60 x 40"):
        segmented().overlay(IMAGE[:, :30])


def test_a_saved_mask_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "below" / "mask.png"
    segmented().save(str(path))
    mask = CLASSES.to_disk()[read_mask(path, CLASSES, (40, 60))]
    np.testing.assert_array_equal(mask, segmented().mask)
    assert list(path.parent.iterdir()) == [path]


def test_paths_may_be_text_wherever_a_person_gives_one() -> None:
    """Every parameter of the public functions and methods that takes a `Path` takes a `str` as well."""
    doors = [getattr(lpdseg, name) for name in lpdseg.__all__] + [getattr(api, name) for name in api.__all__]
    functions = [one for one in doors if inspect.isfunction(one)]
    for cls in (one for one in doors if inspect.isclass(one) and one.__module__.startswith("lpdseg")):
        functions += [one for name, one in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")]
    assert len(functions) > 10
    for function in functions:
        for name, parameter in inspect.signature(function).parameters.items():
            shown = str(parameter.annotation)
            assert "Path" not in shown or "str" in shown or "Callable" in shown, f"{function.__qualname__}({name})"


def test_text_names_a_data_set(tmp_path: Path) -> None:
    made = lpdseg.generate(str(tmp_path / "data"), size=56, mpp=1.0, patches={"train": 1}, patients={"train": 1})
    assert lpdseg.load_data(str(tmp_path / "data")).records == made.records
