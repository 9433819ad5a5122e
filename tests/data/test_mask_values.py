import numpy as np
import pytest

from lpdseg.data.mask_values import MaskPixels, declare_values, misread, offer
from lpdseg.errors import SettingsError
from lpdseg.tissue import IGNORE, PRESETS, TissueClasses

AB = TissueClasses(("A", "B"))
ONE = TissueClasses(("A",))


@pytest.mark.parametrize(
    ("classes", "declared", "indices", "background", "left_out"),
    [
        (AB, ["255=B"], (0, 255), None, ()),
        (AB, ["1=A", "2=B"], (1, 2), None, (255,)),
        (AB, ["0=B", " 1 = A "], (1, 0), None, (255,)),
        (ONE, ["255=A", "0=background"], (255,), 0, ()),
        (AB, ["0=ignore", "1=A", "2=B"], (1, 2), None, (0, 255)),
        (AB, ["255=ignore"], (0, 1), None, (255,)),
        (AB, ["255=B", "128=ignore"], (0, 255), None, (128,)),
        (TissueClasses(("A", "B"), indices=(0, 255)), ["255=B"], (0, 255), None, ()),
        (TissueClasses(("A", "B"), indices=(0, 255)), ["1=B"], (0, 1), None, (255,)),
    ],
)
def test_what_is_declared_counts(
    classes: TissueClasses, declared: list[str], indices: tuple[int, ...], background: int | None, left_out: object
) -> None:
    found = declare_values(classes, declared)
    assert (found.indices, found.background, found.left_out) == (indices, background, left_out)
    assert declare_values(found, declared) == found
    assert TissueClasses.from_dict(found.as_dict()) == found


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (["255"], "write VALUE=NAME"),
        (["256=A"], r"0\.\.255"),
        (["-1=A"], r"0\.\.255"),
        (["255=C"], "'C' is no class; use A, B, background or ignore"),
        (["1=A"], "1 stands for A and B"),
        (["0=ignore"], "0 stands for A and ignore"),
        (["7=A", "8=A"], "says something twice"),
        (["7=A", "7=B"], "says something twice"),
    ],
)
def test_declarations_that_cannot_be(declared: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        declare_values(AB, declared)


def masks(*values: int, side: int = 64) -> MaskPixels:
    """A mask of equal stripes of internal values."""
    return MaskPixels.of(np.repeat(np.array(values, np.uint8), side // len(values))[None].repeat(side, 0))


def test_a_value_that_hides_a_class_is_an_error_with_an_offer() -> None:
    fault = misread(AB, masks(0, IGNORE), "valid")
    assert fault is not None and "--mask-value 255=B" in fault and "'valid'" in fault
    assert misread(TissueClasses(("A",), indices=(1,), background=0), masks(1, IGNORE), "valid") is not None
    only = misread(ONE, masks(0, IGNORE), "valid")
    assert only is not None and "--mask-value 0=background --mask-value 255=A" in only
    # Both classes there; a person's word; a class that is simply absent.
    assert misread(AB, masks(0, 1, IGNORE, IGNORE), "valid") is None
    assert misread(declare_values(AB, ["255=ignore"]), masks(0, IGNORE), "valid") is None
    assert misread(AB, masks(0, 0), "valid") is None


@pytest.mark.parametrize("side", [32, 64, 224])
def test_a_thin_rim_is_no_region(side: int) -> None:
    mask = np.zeros((side, side), np.uint8)
    width = max(1, side // 32)
    mask[: side // 2] = IGNORE
    mask[width : side // 2 - width, width:-width] = 0
    mask[:width] = IGNORE  # a border of the patch
    pixels = MaskPixels.of(mask)
    assert pixels.counts[IGNORE] and pixels.regions == 0
    mask[: side // 4] = IGNORE
    assert MaskPixels.of(mask).regions >= side * side // 8


@pytest.mark.parametrize(
    ("classes", "values", "options"),
    [
        (AB, {1, 2}, "--mask-value 1=A --mask-value 2=B"),
        (TissueClasses(("A", "B", "C")), {0, 128, 255}, "--mask-value 0=A --mask-value 128=B --mask-value 255=C"),
        (ONE, {0, 1}, "--mask-value 0=background --mask-value 1=A"),
        (ONE, {0, 255}, "--mask-value 0=background --mask-value 255=A"),
        (AB, {0, 1, 7}, "--mask-value 7=NAME"),
        (AB, {3, 90}, "--mask-value 3=NAME"),  # as many as classes, but in which order?
        # Red, green, blue and violet turned grey.
        (PRESETS["bcss"], {76, 150, 29, 75}, "29=LYM --mask-value 75=NEC --mask-value 76=TUM --mask-value 150=STR"),
    ],
)
def test_offers(classes: TissueClasses, values: set[int], options: str) -> None:
    assert options in offer(classes, values)
