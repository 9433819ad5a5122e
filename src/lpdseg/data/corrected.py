"""Corrections meet a data set: which patches they are of, what these show, and whom figures must leave out.

H and W are height and width in pixels; C classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lpdseg.data.corrections import Corrections, Drawn
from lpdseg.data.cut_slides import CutSlides, Part
from lpdseg.data.geometry import Size
from lpdseg.data.patches import read_header, sides
from lpdseg.data.records import Manifest, PatchRecord, content_digest, path_below
from lpdseg.errors import DataError
from lpdseg.extras import needed
from lpdseg.plain import name_key
from lpdseg.tissue import IGNORE

_FIGURES = ("valid", "test")
"""The splits that figures are of."""


@dataclass(frozen=True)
class CorrectedPatch:
    """A patch, and what was drawn on it in its own pixels; `names` are those of the classes."""

    record: PatchRecord
    drawn: tuple[Drawn, ...]
    names: tuple[str, ...]

    def mask(self, size: Size) -> UInt8[np.ndarray, "H W"]:
        """The class that was drawn over the middle of each pixel, the last one there; `IGNORE` elsewhere."""
        from rasterio.features import rasterize

        shapes = [(one.area, self.names.index(one.name)) for one in self.drawn]
        mask: np.ndarray = rasterize(shapes, out_shape=size, fill=IGNORE, dtype=np.uint8)
        return mask

    @property
    def covers_something(self) -> bool:
        """Whether any pixel is corrected."""
        return bool((self.mask(read_header(self.record.path).size) != IGNORE).any())


@dataclass(frozen=True)
class LearntFrom:
    """Patches of valid and test that a run has learnt from, and whose they are: no figure may count them.

    - `images`: SHA-256 of each.
    - `patients`: by split.
    """

    images: frozenset[str] = frozenset()
    patients: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, patches: Iterable[CorrectedPatch]) -> "LearntFrom":
        """What corrections of these patches make of figures."""
        records = [one.record for one in patches if one.record.split in _FIGURES]
        patients = {
            split: tuple(sorted({record.patient for record in records if record.split == split}))
            for split in _FIGURES
        }
        return cls(frozenset(content_digest(record.path) for record in records), patients)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any] | None) -> "LearntFrom":
        """What `as_dict` gave."""
        if told is None:
            return cls()
        return cls(frozenset(told["images"]), {split: tuple(names) for split, names in told["patients"].items()})

    def as_dict(self) -> dict[str, Any] | None:
        """Plain values; None where there is nothing."""
        if not self.images:
            return None
        patients = {split: list(names) for split, names in self.patients.items() if names}
        return {"images": sorted(self.images), "patients": patients}

    def __or__(self, other: "LearntFrom") -> "LearntFrom":
        patients = {
            split: tuple(sorted({*self.patients.get(split, ()), *other.patients.get(split, ())}))
            for split in _FIGURES
        }
        return LearntFrom(self.images | other.images, patients)

    def leave_out(self, data: Manifest, split: str) -> tuple[Manifest, str | None]:
        """The data set without the patients of `split` that the run has learnt from, and a sentence on them.

        They are told by the contents of the corrected images, and by name where the data set has names.

        **Raises:** `DataError` where nobody is left.
        """
        if split not in _FIGURES or not self.images:
            return data, None
        records = data.split(split)
        named = set(self.patients.get(split, ()))
        gone = {
            record.patient
            for record in records
            if (record.patient_known and record.patient in named) or content_digest(record.path) in self.images
        }
        if not gone:
            return data, None
        kept = [record for record in data.records if record.split != split or record.patient not in gone]
        lost, some = sum(record.patient in gone for record in records), ", ".join(sorted(gone))
        if lost == len(records):
            raise DataError(
                f"the run has learnt from corrected patches of every {split} patient of {data.source} ({some}), so "
                "there is nobody to compare on; use data of other patients, or correct training patches alone"
            )
        note = (
            f"the run has learnt from corrected {split} patches of {some}, so the {lost} {split} patches of "
            f"{'this patient' if len(gone) == 1 else 'these patients'} are left out"
        )
        return replace(data, records=tuple(kept)), note


NOBODY = LearntFrom()
"""Of most runs."""


@dataclass(frozen=True)
class Fitted:
    """Corrections of a data set.

    - `patches`: those with corrected pixels, in the order of the data set.
    - `labels`: of each training patch whose labels change, by path below the data's folder: C of 0 or 1.
    - `notes`: what a person should know.
    - `slides`: those that were drawn on, and whose patches have learnt of it.
    """

    patches: tuple[CorrectedPatch, ...] = ()
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    slides: tuple[Part, ...] = ()


def fit_corrections(corrections: Corrections, data: Manifest) -> Fitted:
    """Finds the patches that corrections are of.

    An image goes by its path as in the manifest, with or without its ending, or by its name alone where only one
    patch has it. What was drawn on a slide is spread over the patches that were cut from it, see
    `lpdseg.data.cut_slides`. A training patch has the label of every class that was drawn on it, and those that
    were said. What reaches beyond an image is cut off. Labels of patches that are not for training are not learnt.

    **Raises:** `DataError` for an image that is none of the data set's, or several; for what lies outside its image
    or covers no pixel; and for labels that contradict what was drawn, or leave a training patch without any.
    """
    needed("slides", "shapely", "rasterio")
    known, names = _Images(data, corrections.source), data.classes.names
    drawn: dict[str, list[Drawn]] = {}
    said: dict[str, dict[str, int]] = {}
    slides, spread = CutSlides(data), dict[str, set[str]]()
    for one in corrections.drawn:
        if one.image in known or one.image not in slides:
            drawn.setdefault(known.path(one.image), []).append(one)
            continue
        for path, part in slides.on_patches(one):
            drawn.setdefault(path, []).append(part)
            spread.setdefault(path, set()).add(one.image)
    for image, labels in corrections.labels.items():
        said.setdefault(known.path(image), {}).update(labels)
    patches: list[CorrectedPatch] = []
    changed: dict[str, tuple[int, ...]] = {}
    notes, unheeded, known_so = list(corrections.notes), 0, 0
    for path in sorted({*drawn, *said}):
        record = known.records[path]
        own = tuple(drawn.get(path, ()))
        if path in spread and not CorrectedPatch(record, own, names).covers_something:
            continue  # of a stroke on a slide a patch may have less than a pixel
        if own:
            patches.append(CorrectedPatch(record, own, names))
            notes += _check(patches[-1], f"{corrections.source}: what was drawn on {path}")
        if record.split != "train":
            unheeded += path in said
            continue
        now = _labels(record, {one.name for one in own}, said.get(path, {}), data, corrections.source)
        known_so += path in said and now == record.labels
        if now != record.labels:
            changed[path] = now
    if unheeded:
        notes.append(
            f"{corrections.source}: labels of {unheeded} {'patch' if unheeded == 1 else 'patches'} of valid and "
            "test are not learnt, so nothing becomes of them"
        )
    if known_so:
        notes.append(
            f"{corrections.source}: the labels that it says of "
            + (
                "1 training patch are those that it has"
                if known_so == 1
                else f"{known_so} training patches are those that they have"
            )
        )
    parts = _parts(patches, {known.records[path].path: images for path, images in spread.items()})
    notes += [f"{corrections.source}: {_told(part)}" for part in parts]
    return Fitted(tuple(patches), changed, tuple(notes), parts)


def _parts(patches: Sequence[CorrectedPatch], spread: Mapping[Path, set[str]]) -> tuple[Part, ...]:
    """Of each slide, by the patches that hold what was drawn on it."""
    records = [one.record for one in patches if one.record.path in spread]
    images = sorted({image for some in spread.values() for image in some})
    return tuple(
        part for image in images for part in Part.count(image, (r for r in records if image in spread[r.path]))
    )


def _told(part: Part) -> str:
    """A sentence on a slide that was drawn on."""
    patches = f"{part.patches} {part.split} {'patch' if part.patches == 1 else 'patches'}"
    cost = f", who leaves the figures of {part.split}" if part.split in _FIGURES else ""
    return f"what was drawn on the slide {part.slide} lies on {patches} of {part.patient}{cost}"


class _Images:
    """The patches of a data set by all that they may be called."""

    def __init__(self, data: Manifest, source: str) -> None:
        self.source, self.data = source, data
        self.records = {path_below(record.path, data.root): record for record in data.records}
        self._called: tuple[dict[str, list[str]], ...] = ({}, {}, {}, {})
        for path in self.records:
            pure = PurePosixPath(path)
            for called, name in zip(
                self._called, (path, str(pure.with_suffix("")), pure.name, pure.stem), strict=True
            ):
                called.setdefault(name_key(name), []).append(path)

    def __contains__(self, image: str) -> bool:
        return bool(self._all(image))

    def _all(self, image: str) -> list[str]:
        key = name_key(image.removeprefix("./"))
        return next((called[key] for called in self._called if key in called), [])

    def path(self, image: str) -> str:
        """The path of the only patch that is called so."""
        found = self._all(image)
        shown = image if len(image) <= 80 else f"{image[:79]}…"
        if not found:
            raise DataError(
                f"{self.source} corrects the image {shown!r}, which {self.data.source} does not have; name it as "
                "the manifest does; of a slide, cut patches with `lpdseg data tile` first"
            )
        if len(found) > 1:
            raise DataError(
                f"{self.source} corrects the image {shown!r}, and {self.data.source} has several: {found[0]} and "
                f"{found[1]}; name its whole path as the manifest does"
            )
        return found[0]


def _check(patch: CorrectedPatch, what: str) -> list[str]:
    """Whether all that was drawn lies on the patch; a note where some of it was cut off."""
    import shapely

    size = read_header(patch.record.path).size
    image, cut = shapely.box(0, 0, size[1], size[0]), 0
    for one in patch.drawn:
        if not shapely.intersects(one.area, image):
            raise DataError(
                f"{what} as {one.name} lies outside of it ({sides(size)} pixels); draw in pixels of the image at "
                "full resolution"
            )
        cut += not shapely.covers(image, one.shape)
    if not patch.covers_something:
        raise DataError(f"{what} covers the middle of no pixel; draw it larger")
    return [f"{what} reaches beyond it and was cut off ({cut})"] if cut else []


def _labels(
    record: PatchRecord, drawn: set[str], said: Mapping[str, int], data: Manifest, source: str
) -> tuple[int, ...]:
    """The labels of a training patch from now on."""
    names = data.classes.names
    where = f"{source}: {path_below(record.path, data.root)}"
    for name in sorted(drawn):
        if said.get(name) == 0:
            raise DataError(f"{where} is labelled as without {name}, which is drawn on it; correct one of the two")
    assert record.labels is not None, "training patches have labels"
    labels = tuple(
        1 if name in drawn else said.get(name, old) for name, old in zip(names, record.labels, strict=True)
    )
    if not any(labels) and data.classes.background is None:
        raise DataError(f"{where} is left without any of the classes {', '.join(names)}; give it one")
    return labels
