"""What the values of masks mean: what people declare, and what masks hold against it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int, UInt8

from lpdseg.errors import SettingsError
from lpdseg.tissue import IGNORE, TissueClasses

BACKGROUND, LEFT_OUT = "background", "ignore"
"""What a mask value can stand for beside a class."""

_WIDEST_RIM = 8
"""In pixels: what is left out in strips up to this width are rims between regions, and no regions."""


def declare_values(classes: TissueClasses, declared: Iterable[str]) -> TissueClasses:
    """The classes with other mask values, each declared as `VALUE=NAME`: `255=gland`.

    NAME is a class, `background`, or `ignore` for pixels that no figure counts. A value of which nothing is said
    keeps its meaning.

    **Raises:** `SettingsError` for a text of another form, a name that is no class, and two meanings of a value.
    """
    indices = dict(zip(classes.names, classes.indices, strict=True))
    background, ignored = classes.background, set(classes.left_out)
    told: dict[str, str] = {}
    said = False
    for text in declared:
        value, name = _read(text)
        if name in told or value in told.values():
            raise SettingsError(f"--mask-value {text} says something twice; give each class and value once")
        ignored.discard(int(value))
        if name in indices:
            indices[name] = int(value)
        elif name == BACKGROUND:
            background = int(value)
        elif name == LEFT_OUT:
            ignored.add(int(value))
            said = True
        else:
            raise SettingsError(
                f"--mask-value {text}: {name!r} is no class; use {', '.join(classes.names)}, "
                f"{BACKGROUND} or {LEFT_OUT}"
            )
        told |= {} if name == LEFT_OUT else {name: value}
    meant = [*indices.values(), *([] if background is None else [background]), *ignored]
    for value_of in sorted(set(meant)):
        if meant.count(value_of) > 1:
            names = [name for name, index in indices.items() if index == value_of]
            names += [BACKGROUND] if background == value_of else []
            names += [LEFT_OUT] if value_of in ignored else []
            raise SettingsError(
                f"with these mask values {value_of} stands for {' and '.join(names)}; give both a value, as in "
                f"--mask-value {value_of}={names[0]} --mask-value VALUE={names[1]}"
            )
    same = not said and classes.ignored is None and ignored in (set(), {IGNORE})
    return replace(
        classes,
        indices=tuple(indices.values()),
        background=background,
        ignored=None if same else tuple(sorted(ignored)),
    )


def _read(text: str) -> tuple[str, str]:
    value, equals, name = (part.strip() for part in text.partition("="))
    if not equals or not name or not value.isascii() or not value.isdigit() or int(value) > 255:
        raise SettingsError(f"{text!r} is no mask value; write VALUE=NAME with a value in 0..255, as in 255=gland")
    return str(int(value)), name


@dataclass(frozen=True)
class MaskPixels:
    """The pixels of one mask or many, by internal index; `regions` of those left out are more than thin rims."""

    counts: Int[np.ndarray, "256"]
    regions: int

    @classmethod
    def of(cls, mask: UInt8[np.ndarray, "H W"]) -> "MaskPixels":
        """Counts a mask, in internal numbering."""
        return cls(np.bincount(mask.ravel(), minlength=256), _regions(mask == IGNORE))

    @classmethod
    def sum(cls, parts: Sequence["MaskPixels"]) -> "MaskPixels":
        """Of all masks together; at least one."""
        return cls(np.sum([part.counts for part in parts], axis=0), sum(part.regions for part in parts))

    def absent(self, classes: TissueClasses) -> tuple[str, ...]:
        """The classes that own no pixel."""
        return tuple(name for name, count in zip(classes.names, self.counts, strict=False) if not count)


def _regions(left_out: np.ndarray) -> int:
    """How many pixels of a boolean mask are in no strip of up to `_WIDEST_RIM` pixels, at its border included."""
    if not left_out.any():
        return 0
    from scipy import ndimage

    side = min(_WIDEST_RIM, max(2, min(left_out.shape) // 8)) + 1
    cores = ndimage.minimum_filter(left_out.astype(np.uint8), size=side, mode="constant", cval=0)
    return int((ndimage.maximum_filter(cores, size=side, mode="constant", cval=0) & left_out).sum())


def misread(classes: TissueClasses, pixels: MaskPixels, split: str) -> str | None:
    """A sentence where masks must have been misread: one class alone, and regions of the value to leave out.

    So look masks of 0 and 255 whose 255 is a class. A rim is no region, and a value that a person has declared to
    be left out is left out.
    """
    absent = pixels.absent(classes)
    there = [name for name, count in zip(classes.channel_names, pixels.counts, strict=False) if count]
    alone = classes.channels == 1  # whatever is not left out is the one class: that cannot be meant
    if not (absent or alone) or len(there) > 1 or not pixels.regions or classes.ignored is not None:
        return None
    if alone:
        return (
            f"the masks of the split {split!r} hold {classes.names[0]} and the value {IGNORE}, which no figure "
            f"counts, so every pixel would be right; say {offer(classes, {classes.indices[0], IGNORE})}"
        )
    name = absent[0] if len(absent) == 1 else "NAME"
    return (
        f"the masks of the split {split!r} hold only {there[0] if there else 'pixels'} "
        f"{'and' if there else 'of'} the value {IGNORE}, which no figure counts, so {', '.join(absent)} would have "
        f"no pixel; say what it stands for with --mask-value {IGNORE}={name}, or --mask-value {IGNORE}={LEFT_OUT}"
    )


def offer(classes: TissueClasses, values: Iterable[int]) -> str:
    """The options that would make sense of masks with these values on disk, or the form of such options.

    A concrete offer is made where there are as many values as classes, and they are grey levels of the classes'
    colours, count from 1, or are spread evenly over 0..255; or where the values are two and the class is one.
    """
    found = sorted(set(values))
    names: list[str] = []
    if len(found) == len(classes):
        greys = [_grey(colour) for colour in classes.colours]
        if sorted(greys) == found:
            names = [classes.names[greys.index(value)] for value in found]
        elif _natural(found):
            names = list(classes.names)
    elif len(classes) == 1 and len(found) == 2 and classes.background in (None, found[0]):
        names = [BACKGROUND, classes.names[0]]
    if not names:
        odd = next((value for value in found if value not in (*classes.meant, *classes.left_out)), None)
        return f"--mask-value {'VALUE' if odd is None else odd}=NAME (a class, {BACKGROUND} or {LEFT_OUT})"
    return " ".join(f"--mask-value {value}={name}" for value, name in zip(found, names, strict=True))


def _natural(values: list[int]) -> bool:
    """Whether values count from 1, or go from 0 to 255 in even steps."""
    count = len(values)
    even = np.linspace(0, 255, count)
    return values == list(range(1, count + 1)) or bool(count > 1 and np.abs(values - even).max() <= 1)


def _grey(colour: tuple[int, int, int]) -> int:
    """What Pillow makes of a colour when a picture is turned grey (ITU-R 601-2)."""
    red, green, blue = colour
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
