import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.errors import SettingsError
from lpdseg.tissue import IGNORE, PRESETS, TissueClasses, tissue_classes

COLOURS = st.tuples(*[st.integers(0, 255)] * 3)


@st.composite
def any_classes(draw: st.DrawFn) -> TissueClasses:
    lines = st.text(min_size=1).filter(lambda text: text.strip().splitlines() == [text])
    names = tuple(draw(st.lists(lines, min_size=1, max_size=6, unique=True)))
    count = len(names)
    values = draw(st.lists(st.integers(0, 253), min_size=count + 1, max_size=count + 1, unique=True))
    return TissueClasses(
        names,
        colours=tuple(draw(st.lists(COLOURS, min_size=count, max_size=count))),
        indices=tuple(values[:count]),
        background=draw(st.sampled_from([None, values[count]])),
        background_colour=draw(COLOURS),
    )


@given(any_classes())
def test_plain_values_read_back_the_same(classes: TissueClasses) -> None:
    assert TissueClasses.from_dict(yaml.safe_load(yaml.safe_dump(classes.as_dict()))) == classes


@given(any_classes())
def test_the_two_numberings_are_inverse(classes: TissueClasses) -> None:
    inside = np.array([*range(classes.channels), IGNORE], np.uint8)
    disk = classes.to_disk()[inside]
    np.testing.assert_array_equal(classes.to_internal()[disk], inside)
    meaningless = np.setdiff1d(np.arange(256), disk)
    assert set(classes.to_internal()[meaningless]) == {254}


@given(any_classes())
def test_the_palette_has_each_colour_at_its_disk_value(classes: TissueClasses) -> None:
    palette = classes.palette()
    for value, colour in zip(classes.indices, classes.colours, strict=True):
        assert tuple(palette[value]) == colour
    if classes.background is not None:
        assert tuple(palette[classes.background]) == classes.background_colour


def test_as_many_classes_as_a_mask_can_hold() -> None:
    classes = TissueClasses(tuple(map(str, range(253))), background=253)
    assert classes.to_internal()[[252, 253, 254]].tolist() == [252, 253, 254]


def test_what_is_left_out_is_chosen() -> None:
    classes = TissueClasses(tuple("abc"))
    assert classes.indices == (0, 1, 2)
    assert len(set(classes.colours)) == 3
    assert (len(classes), classes.channels, classes.channel_names) == (3, 3, ("a", "b", "c"))
    assert TissueClasses(("a",), background=9).channel_names == ("a", "background")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ()}, "names that differ in more"),
        ({"names": ("a", "a")}, "names that differ in more"),
        ({"names": ("Tumour", "tumour")}, "differ in more than upper and lower case"),
        ({"names": ("a", "")}, "names that differ in more"),
        ({"names": ("a", "b ")}, "one line of at most 100 characters, without blanks at its ends; got 'b '"),
        ({"names": ("a", "b\nc")}, "one line of at most 100 characters, without blanks at its ends"),
        ({"names": ("a", "b" * 101)}, "one line of at most 100 characters"),
        ({"names": ("a", "b"), "colours": ((0, 0, 0),)}, "need 2 colours"),
        ({"names": ("a", "b"), "indices": (1,)}, "2 mask values"),
        ({"names": ("a", "b"), "indices": (1, 1)}, r"different and in 0\.\.255"),
        ({"names": ("a",), "indices": (256,)}, r"different and in 0\.\.255"),
        ({"names": ("a",), "background": 0}, r"different and in 0\.\.255"),
        ({"names": tuple(map(str, range(254)))}, "can tell 253 tissue classes apart; got 254"),
        ({"names": ("a",), "colours": ((0, 0, 256),)}, r"three numbers in 0\.\.255; got \[0, 0, 256\]"),
        ({"names": ("a",), "background_colour": (0, -1, 0)}, r"three numbers in 0\.\.255"),
        ({"names": ("a",), "background": -1}, r"different and in 0\.\.255"),
    ],
)
def test_classes_that_contradict_themselves(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TissueClasses(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": ["a"]}, "need names"),
        ({"names": ["a"], "color": "#000000"}, "need names"),
        ({"names": ["a"], "colours": ["red"]}, "'red' is no colour"),
        ({"names": "STR,BEN"}, "names of tissue classes must be a list, one entry per class; got 'STR,BEN'"),
        ({"names": ["a"], "indices": 3}, "indices of tissue classes must be a list"),
        ({"names": ["a"], "indices": ["x"]}, "'x' is no mask value"),
        ({"names": ["a"], "colours": [[0, 0, 300]]}, r"three numbers in 0\.\.255; got \[0, 0, 300\]"),
        ({"names": ["a"], "colours": [7]}, "7 is no colour"),
        ({"names": ["a"], "colours": ["#12345"]}, "is no colour"),
        ({"names": ["a"], "colours": ["#12345678"]}, "is no colour"),
    ],
)
def test_plain_values_that_cannot_be_read(value: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TissueClasses.from_dict(value)


def test_presets_hold_the_published_orders() -> None:
    assert PRESETS["bcss"].names == ("TUM", "STR", "LYM", "NEC")
    assert PRESETS["luad"].names == ("TE", "NEC", "LYM", "TAS")
    assert [PRESETS[name].background for name in ("bcss", "luad", "wsss4luad", "glas")] == [4, 4, 3, None]


def test_text_is_a_preset_or_names() -> None:
    assert tissue_classes("glas") is PRESETS["glas"]
    assert tissue_classes("STR, BEN").names == ("STR", "BEN")
    assert tissue_classes("TUM,").names == ("TUM",)
    with pytest.raises(SettingsError, match="no class preset 'gals'; use bcss, luad, wsss4luad, glas"):
        tissue_classes("gals")


@pytest.mark.parametrize("name", ["background", "Background", "BACKGROUND", "ignored", "Ignore"])
def test_names_that_results_give_to_pixels_of_no_class(name: str) -> None:
    with pytest.raises(SettingsError, match=f"cannot be named '{name}'"):
        TissueClasses(("A", name), background=2)


def test_background_may_be_a_class_where_there_is_no_background_value() -> None:
    assert TissueClasses(("background", "gland")).channel_names == ("background", "gland")
    with pytest.raises(SettingsError, match="cannot be named 'ignored'"):
        TissueClasses(("A", "ignored"))


@pytest.mark.parametrize("value", [False, None, 12, 1e3, ["A"]])
def test_a_name_is_text(value: object) -> None:
    with pytest.raises(SettingsError, match="is no name of a tissue class"):
        TissueClasses.from_dict({"names": ["B", value]})


@pytest.mark.parametrize("value", [True, 1.5, "1.5", "yes", None])
def test_a_mask_value_is_a_whole_number(value: object) -> None:
    with pytest.raises(SettingsError, match="is no mask value"):
        TissueClasses.from_dict({"names": ["B"], "indices": [value]})
