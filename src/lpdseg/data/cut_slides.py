"""What was drawn on a slide, in the pixels of the patches that `lpdseg data tile` has cut from it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lpdseg.data.corrections import Drawn
from lpdseg.data.patches import read_header
from lpdseg.data.records import Manifest, PatchRecord, path_below
from lpdseg.errors import DataError
from lpdseg.files import read_json, result_name
from lpdseg.plain import name_key
from lpdseg.schema import Described, fits

SOURCES = "slides.json"
"""Of a data set's folder: which slides its patches are of, at what scale, and where drawings on them count from."""

_CORNER = re.compile(r"_(\d+)_(\d+)$")

_Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Identity(Described):
    sha256: str


class _Source(Described):
    path: str
    slide: _Identity
    scale: _Pair = Field(default_factory=list)
    origin: _Pair = Field(default_factory=list)


def read_sources(folder: Path) -> dict[str, Any]:
    """By the slide's stem what is noted of it: `path`, `slide`, and in newer sets `scale` and `origin`.

    A set of an earlier version, or of other hands, tells nothing.
    """
    try:
        told = read_json(folder / SOURCES)
        return {stem: one for stem, one in told.items() if fits(_Source, one)}
    except (OSError, ValueError, AttributeError):
        return {}


@dataclass(frozen=True)
class Part:
    """How many patches of a slide one split has, and whose they are."""

    slide: str
    split: str
    patient: str
    patches: int

    @classmethod
    def count(cls, slide: str, records: Iterable[PatchRecord]) -> "list[Part]":
        """The parts that patches of a slide make, by split and patient."""
        found = Counter((record.split, record.patient) for record in records)
        return [cls(slide, *key, number) for key, number in sorted(found.items())]


class CutSlides:
    """The slides that patches of a data set were cut from."""

    def __init__(self, data: Manifest) -> None:
        self._data, self._slides = data, read_sources(data.root)
        self._called = {
            name_key(name): stem
            for stem, one in self._slides.items()
            for name in (stem, Path(one["path"]).name, one["path"])
            if {"scale", "origin"} <= one.keys()
        }

    def __contains__(self, image: str) -> bool:
        return name_key(image) in self._called

    def parts(self, image: str) -> list[Part]:
        """Whose the patches are that were cut from a slide; none of one that the data set does not have."""
        return Part.count(image, (record for record, _ in self._patches(image))) if image in self else []

    def _patches(self, image: str) -> Iterator[tuple[PatchRecord, tuple[int, ...]]]:
        """The patches of a slide, each with its corner in pixels of level 0."""
        folder = result_name(self._called[name_key(image)])
        for record in self._data.records:
            corner = _CORNER.search(record.path.stem)
            if record.path.parent.name == folder and corner is not None:
                yield record, tuple(map(int, corner.groups()))

    def on_patches(self, drawn: Drawn) -> Iterator[tuple[str, Drawn]]:
        """The patches, by path below the data's folder, that hold some of what was drawn on a slide, and that part.

        It counts, in pixels of level 0, from where regions counted when the patches were cut.

        **Raises:** `DataError` where there are none.
        """
        import shapely

        slide, area, found = self._slides[self._called[name_key(drawn.image)]], drawn.area, False
        sx, sy = slide["scale"]
        for record, corner in self._patches(drawn.image):
            left, top = (at - origin for at, origin in zip(corner, slide["origin"], strict=True))
            height, width = read_header(record.path).size
            part = shapely.intersection(area, shapely.box(left, top, left + width * sx, top + height * sy))
            if part.area > 0:
                found = True
                here = shapely.transform(part, lambda at, a=(left, top), s=(sx, sy): (at - a) / s)
                path = path_below(record.path, self._data.root)
                yield path, replace(drawn, image=path, shape=here, width=None)
        if not found:
            raise DataError(
                f"what was drawn on {drawn.image} as {drawn.name} lies on none of the patches of "
                f"{self._data.source} that were cut from it; cut some there with `lpdseg data tile`"
            )
