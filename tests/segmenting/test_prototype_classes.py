from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.errors import SettingsError
from lpdseg.model.lpd import LPD
from lpdseg.pictures.masks import LEFT_OUT
from lpdseg.pictures.shades import shades
from lpdseg.segmenting.edited import edited
from lpdseg.segmenting.prototype_classes import (
    check_prototypes,
    described_prototypes,
    prototype_classes,
    write_prototypes,
)
from lpdseg.segmenting.segmenter import Segmenter

Build = Callable[..., LPD]


def test_prototypes_are_classes_below_their_class(segmenter: Segmenter, tiny_lpd: Build) -> None:
    found = prototype_classes(segmenter.computed_by(tiny_lpd(head=8)))
    red, blue = segmenter.classes.colours
    assert found.names == ("a: 1", "a: 2", "b: 1", "b: 2", "b: 3")
    assert found.colours == (*shades(red, 2), *shades(blue, 3))
    assert found.indices == (0, 1, 2, 3, 4) and found.background == 255


def test_values_are_indices(segmenter: Segmenter, tiny_lpd: Build, tmp_path: Path) -> None:
    with_head, prototypes = segmenter.computed_by(tiny_lpd(head=8)), np.array([[0, 3, 65535]], np.uint16)
    write_prototypes(tmp_path / "map.png", prototypes, with_head)
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.mode == "P" and np.asarray(picture).tolist() == [[0, 3, 255]]
        assert np.asarray(picture.convert("RGB"))[0, 2].tolist() == [255, 255, 255]
    assert described_prototypes(with_head) == {"names": ["a 1", "a 2", "b 1", "b 2", "b 3"], "background": 255}


def test_more_prototypes_than_8_bits_tell_apart_take_16(
    segmenter: Segmenter, tiny_lpd: Build, tmp_path: Path
) -> None:
    many, prototypes = segmenter.computed_by(tiny_lpd(counts=(100, 200), head=8)), np.array([[0, 299, 65535]])
    write_prototypes(tmp_path / "map.png", prototypes.astype(np.uint16), many)
    with Image.open(tmp_path / "map.png") as picture:
        assert np.asarray(picture).tolist() == [[0, 299, 65535]]
    assert described_prototypes(many)["background"] == 65535
    with pytest.raises(SettingsError, match="can tell 253 prototypes apart, and this run has 300"):
        prototype_classes(many)


def test_masks_that_no_prototypes_make_are_told(segmenter: Segmenter, tiny_lpd: Build) -> None:
    with pytest.raises(SettingsError, match="masks of this run are made by class maps, so no pixel"):
        check_prototypes(segmenter)


def test_an_edited_prototype_is_a_class_below_the_one_it_counts_for(
    segmenter: Segmenter, tiny_lpd: Build, tmp_path: Path
) -> None:
    (tmp_path / "edits.yaml").write_text(
        "b 1: {name: large}\nb 2: {merge: b 1}\nb 3: {move: a, name: B-like}\na 2: {hide: true}\n"
    )
    with_edits = edited(segmenter.computed_by(tiny_lpd(head=8)), tmp_path / "edits.yaml")
    found = prototype_classes(with_edits)
    assert found.names == ("a: 1", "a: 2 (not shown)", "b: large", "b: 2 (not shown)", "a: B-like")
    red, blue = segmenter.classes.colours
    assert found.colours == (shades(red, 2)[0], LEFT_OUT, blue, LEFT_OUT, shades(red, 2)[1])
