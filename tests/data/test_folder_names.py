"""Names of folders, as people write them."""

from pathlib import Path

import pytest

from lpdseg.data.layout import is_aside, is_images, is_masks, masks_by_stem, place_of, split_of


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (
            ["train", "Training", "1.training", "01_Train", "(1) train", "train_set", "TRAINING-DATA", "1 train"],
            "train",
        ),
        (["val", "Valid", "2.validation", "02-val", "valset", "validation split"], "valid"),
        (["test", "Testing", "3.testing", "3_Test", "testset"], "test"),
        (["dev", "training2", "tests", "tumour", "trainable", "3", "", "latest", "contest"], None),
    ],
)
def test_splits(names: list[str], split: str | None) -> None:
    assert {split_of(name) for name in names} == {split}


def test_images_masks_and_other_pictures() -> None:
    assert all(map(is_images, ["img", "IMG", "Images", "01_images", "image", "imgs"]))
    assert all(map(is_masks, ["mask", "Masks", "labels", "label", "GT", "gt", "ground_truth", "Annotations"]))
    assert all(map(is_aside, ["background-mask", "Background_Masks", "overlays", "thumbs"]))
    assert not any(is_images(name) or is_masks(name) or is_aside(name) for name in ["TUM", "imaginary", "unmasked"])


@pytest.mark.parametrize(
    ("path", "split", "kind", "holder", "rest", "stem"),
    [
        ("2.validation/img/00.png", "valid", "image", "2.validation/img", (), "00"),
        ("2.validation/background-mask/00.png", "valid", "aside", None, (), "00"),
        ("images/train/a.png", "train", "image", "images", (), "a"),
        ("masks/train/p1/a.png", "train", "mask", "masks", ("p1",), "p1/a"),
        ("A/patient1/a.png", None, "image", None, ("A", "patient1"), "A/patient1/a"),
        ("train/A/images/a.png", "train", "image", "train/A/images", ("A",), "A/a"),
        ("train/A/masks/a.png", "train", "mask", "train/A/masks", ("A",), "A/a"),
        ("A/test/a.png", None, "image", None, ("A", "test"), "A/test/a"),
    ],
)
def test_places(
    path: str, split: str | None, kind: str, holder: str | None, rest: tuple[str, ...], stem: str
) -> None:
    place = place_of(Path("d") / path, Path("d"))
    assert (place.split, place.kind, place.holder, place.rest, place.stem) == (split, kind, holder, rest, stem)


def test_masks_may_be_named_as_masks() -> None:
    root = Path("d")
    masks, double = masks_by_stem(
        place_of(root / "mask" / name, root) for name in ("a.png", "b_mask.png", "a_gt.png")
    )
    assert masks["a"].name == "a.png" and masks["b"].name == "b_mask.png" and double is None
