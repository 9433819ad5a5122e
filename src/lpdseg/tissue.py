"""Tissue classes: their names, colours, and the values that stand for them in a mask file.

Two numberings meet here. On disk a mask holds a data set's own values. Inside the package class c of C has
index c, background has index C, and pixels that no figure may count have `IGNORE`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lpdseg.choices import Palette
from lpdseg.errors import SettingsError

IGNORE = 255
"""Internal index of a pixel that is left out of every figure, and its usual value on disk."""

_SHARED = ({"background", "ignored", "ignore"}, {"ignored", "ignore"})
"""Names, in lower case, that results give to pixels of no class; the second where there is no background value."""

NO_CLASS = 254
"""Internal index of a mask value that means nothing."""

_NOTHING = ("", "~", "null", "Null", "NULL", "none", "None")
"""What people write where there is nothing, once every word of a file is text."""

LONGEST_NAME = 100
"""Characters of a class's name, which stands in tables, legends and messages."""

Colour = tuple[int, int, int]

_SPARE_COLOURS: tuple[Colour, ...] = (
    (213, 62, 79), (50, 136, 189), (102, 166, 30), (230, 171, 2), (117, 112, 179), (27, 158, 119),
    (231, 41, 138), (166, 118, 29), (31, 119, 180), (140, 86, 75), (127, 127, 127), (23, 190, 207),
)  # fmt: skip


COLOUR_BLIND: tuple[Colour, ...] = (
    (213, 94, 0), (0, 114, 178), (240, 228, 66), (86, 180, 233), (0, 0, 0), (230, 159, 0), (0, 158, 115),
    (204, 121, 167),
)  # fmt: skip
"""Colours that people of any colour vision tell apart, on white as well; by Okabe and Ito, the safest first."""


@dataclass(frozen=True, repr=False)
class TissueClasses:
    """The tissue classes of a data set, in the order of its labels.

    **Arguments:**

    - `names`: one per class, each of one line of at most 100 characters, without blanks at its ends.
    - `colours`: RGB in 0..255, one per class; chosen when empty.
    - `indices`: the mask value of each class on disk, 0..255; 0, 1, 2, … when empty.
    - `background`: the mask value of background on disk, or None where every pixel belongs to a class.
    - `background_colour`: RGB in 0..255.
    - `ignored`: the mask values of pixels to leave out; None for 255, or for none where 255 means a class.

    **Raises:** `SettingsError` for names or values that repeat, are out of range or do not fit in a table, lengths
    that differ, and more than 253 classes.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...] = ()
    indices: tuple[int, ...] = ()
    background: int | None = None
    background_colour: Colour = (255, 255, 255)
    ignored: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.names)
        if not self.colours:
            spare = tuple(_SPARE_COLOURS[i % len(_SPARE_COLOURS)] for i in range(count))
            object.__setattr__(self, "colours", spare)
        if not self.indices:
            object.__setattr__(self, "indices", tuple(range(count)))
        if count == 0 or len({name.casefold() for name in self.names}) != count or not all(self.names):
            raise SettingsError(
                f"tissue classes need non-empty names that differ in more than upper and lower case; got "
                f"{list(self.names)}"
            )
        # A manifest has them in its header, where neither blanks at the ends nor further lines come back.
        odd = next(
            (
                name
                for name in self.names
                if name != name.strip() or len(name.splitlines()) > 1 or len(name) > LONGEST_NAME
            ),
            None,
        )
        if odd is not None:
            raise SettingsError(
                f"the name of a tissue class is one line of at most {LONGEST_NAME} characters, without blanks at "
                f"its ends; got {odd[: LONGEST_NAME + 1]!r}"
            )
        taken = next((name for name in self.names if name.casefold() in _SHARED[self.background is None]), None)
        if taken is not None:
            raise SettingsError(
                f"a tissue class cannot be named {taken!r}, as results call pixels of no class; rename it or leave "
                f"it out: background is the mask value `background`, and {IGNORE} is left out of every figure"
            )
        if count >= NO_CLASS:  # background has the index after the last class
            raise SettingsError(f"a mask can tell {NO_CLASS - 1} tissue classes apart; got {count}")
        for colour in (*self.colours, self.background_colour):
            if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
                raise SettingsError(f"a colour needs three numbers in 0..255; got {list(colour)}")
        if len(self.colours) != count or len(self.indices) != count:
            raise SettingsError(f"{count} tissue classes need {count} colours and {count} mask values")
        used = [*self.meant, *(self.ignored or ())]
        if len(set(used)) != len(used) or not all(0 <= value <= 255 for value in used):
            raise SettingsError(f"mask values must be different and in 0..255; got {used}")

    def __repr__(self) -> str:
        return f"TissueClasses({', '.join(self.channel_names)})"

    def __len__(self) -> int:
        return len(self.names)

    @property
    def meant(self) -> tuple[int, ...]:
        """The mask values of classes, and of background where there is one."""
        return self.indices if self.background is None else (*self.indices, self.background)

    @property
    def left_out(self) -> tuple[int, ...]:
        """The mask values of pixels that no figure counts; none where 255 means a class and no other was named."""
        if self.ignored is not None:
            return self.ignored
        return () if IGNORE in self.meant else (IGNORE,)

    @property
    def unknown(self) -> int:
        """The mask value that is written where nothing is known: one left out, else the highest without meaning."""
        return max(self.left_out or set(range(256)) - set(self.meant))

    @property
    def channels(self) -> int:
        """Classes, and background where the data set has one: C or C + 1."""
        return len(self) + (self.background is not None)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names by internal index, background last where there is one."""
        return self.names if self.background is None else (*self.names, "background")

    def with_background(self) -> "TissueClasses":
        """The same classes with a background: where they have none, the value after the largest, or the lowest that
        is free. A class that is itself named so stays alone."""
        if self.background is not None or "background" in self.names:
            return self
        values = [max(self.indices) + 1, *range(IGNORE)]
        return replace(self, background=next(v for v in values if v < IGNORE and v not in self.indices))

    @property
    def in_full(self) -> tuple[str, ...]:
        """`channel_names`, written out where they are a published data set's abbreviations: `NEC (necrosis)`."""
        known = next((full for name, full in _IN_FULL.items() if PRESETS[name].names == self.names), self.names)
        written = (
            f"{name} ({full})" if full != name else name for name, full in zip(self.names, known, strict=True)
        )
        return (*written, *self.channel_names[len(self) :])

    def in_palette(self, palette: Palette) -> "TissueClasses":
        """The same classes in other colours: `own` changes nothing, `colour-blind` takes those of `COLOUR_BLIND`.

        **Raises:** `SettingsError` for more classes than that palette has colours.
        """
        if palette == "own":
            return self
        if len(self) > len(COLOUR_BLIND):
            raise SettingsError(
                f"the palette {palette} has {len(COLOUR_BLIND)} colours, and there are {len(self)} classes; use "
                "the palette own, and choose its colours in classes.yaml"
            )
        return replace(self, colours=COLOUR_BLIND[: len(self)])

    def to_internal(self) -> UInt8[np.ndarray, "256"]:
        """A lookup table from disk values to internal indices. Values that mean nothing map to `NO_CLASS`."""
        table = np.full(256, NO_CLASS, np.uint8)
        table[list(self.indices)] = np.arange(len(self), dtype=np.uint8)
        if self.background is not None:
            table[self.background] = len(self)
        table[list(self.left_out)] = IGNORE
        return table

    def to_disk(self) -> UInt8[np.ndarray, "256"]:
        """A lookup table from internal indices to disk values; the inverse of `to_internal`."""
        table = np.full(256, self.unknown, np.uint8)
        table[: len(self)] = self.indices
        if self.background is not None:
            table[len(self)] = self.background
        return table

    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """RGB by disk value, black for values that mean nothing."""
        table = np.zeros((256, 3), np.uint8)
        table[list(self.indices)] = self.colours
        if self.background is not None:
            table[self.background] = self.background_colour
        return table

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML; `from_dict` reads them back."""
        return {
            "names": list(self.names),
            "colours": ["#{:02X}{:02X}{:02X}".format(*colour) for colour in self.colours],
            "indices": list(self.indices),
            "background": self.background,
            "background_colour": "#{:02X}{:02X}{:02X}".format(*self.background_colour),
            **({} if self.ignored is None else {"ignored": list(self.ignored)}),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "TissueClasses":
        """Reads what `as_dict` wrote; only `names` is needed.

        **Raises:** `SettingsError` for unknown keys or values that cannot be read.
        """
        unknown = set(value) - {"names", "colours", "indices", "background", "background_colour", "ignored"}
        if unknown or "names" not in value:
            raise SettingsError(
                "tissue classes need names, and may have colours, indices, background, background_colour and "
                f"ignored; got {sorted(value)}"
            )
        background, ignored = value.get("background"), value.get("ignored")
        if background in _NOTHING:
            background = None
        return cls(
            names=tuple(_name(name) for name in _listed(value, "names")),
            colours=tuple(_colour(text) for text in _listed(value, "colours")),
            indices=tuple(_mask_value(index) for index in _listed(value, "indices")),
            background=None if background is None else _mask_value(background),
            background_colour=_colour(value.get("background_colour", "#FFFFFF")),
            ignored=None if ignored is None else tuple(_mask_value(one) for one in _listed(value, "ignored")),
        )


def _listed(value: dict[str, Any], key: str) -> Sequence[Any]:
    found = value.get(key) or ()
    if found in _NOTHING:
        return ()
    if not isinstance(found, list | tuple):
        raise SettingsError(f"{key} of tissue classes must be a list, one entry per class; got {found!r}")
    return found


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{value!r} is no name of a tissue class; write it in quotes, as in 'NO'")
    return value


def _mask_value(value: Any) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError(f"{value!r} is no mask value; use a whole number in 0..255") from error


def _colour(text: str | Sequence[int]) -> Colour:
    """`#RRGGBB` or three numbers → RGB in 0..255."""
    try:
        red, green, blue = bytes.fromhex(text.lstrip("#")) if isinstance(text, str) else map(int, text)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError(f"{text!r} is no colour; write it as '#RRGGBB'") from error
    return red, green, blue


PRESETS: dict[str, TissueClasses] = {
    # Index orders and palettes of the data sets as they are published.
    "bcss": TissueClasses(
        names=("TUM", "STR", "LYM", "NEC"),
        colours=((255, 0, 0), (0, 255, 0), (0, 0, 255), (153, 0, 255)),
        background=4,
    ),
    "luad": TissueClasses(
        names=("TE", "NEC", "LYM", "TAS"),
        colours=((205, 51, 51), (0, 255, 0), (65, 105, 225), (255, 165, 0)),
        background=4,
    ),
    "wsss4luad": TissueClasses(
        names=("tumour", "stroma", "normal"),
        colours=((0, 64, 128), (64, 128, 0), (243, 152, 0)),
        background=3,
    ),
    # GlaS cut into patches: stroma stands for everything outside a gland.
    "glas": TissueClasses(
        names=("STR", "BEN", "MAL"),
        colours=((244, 202, 228), (27, 158, 119), (217, 95, 2)),
    ),
}


_IN_FULL: dict[str, tuple[str, ...]] = {
    "bcss": ("tumour", "stroma", "lymphocytic infiltrate", "necrosis or debris"),
    "luad": ("tumour epithelium", "necrosis", "lymphocytes", "tumour-associated stroma"),
    "wsss4luad": ("tumour epithelium", "tumour-associated stroma", "normal tissue"),
    "glas": ("stroma", "benign gland", "malignant gland"),
}
"""What the names of `PRESETS` stand for, as their data sets say."""


def tissue_classes(text: str) -> TissueClasses:
    """A preset's name, or class names separated by commas (a single one as in `TUM,`), → tissue classes.

    **Raises:** `SettingsError` for a single name that is no preset.
    """
    if text in PRESETS:
        return PRESETS[text]
    if "," not in text:
        raise SettingsError(
            f"no class preset {text!r}; use {', '.join(PRESETS)}, or names as in STR,BEN,MAL; a single one ends in "
            "a comma"
        )
    names = tuple(part.strip() for part in text.removesuffix(",").split(","))
    return TissueClasses(names=names)
