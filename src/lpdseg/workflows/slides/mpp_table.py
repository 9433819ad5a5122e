"""Microns per pixel for slides that do not say, from a table by name."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lpdseg.errors import DataError
from lpdseg.folders import tell
from lpdseg.plain import name_key
from lpdseg.slides.readers import SlideFile
from lpdseg.slides.slide import SlideError
from lpdseg.slides.slide_table import read_slide_table

_SHOWN = 5
"""Names that a note lists."""


def with_table(slides: Sequence[SlideFile], table: str | Path | None) -> list[SlideFile]:
    """Slides with what a table says of them; what the inputs said already stays.

    A line is for the slide of that name, whatever its folder, and with or without suffix. Lines of other slides,
    and such as say something else than the inputs, are told; see `lpdseg.folders.tell`.

    **Raises:** `SlideError` where no line names any of the slides, or two name the same with other figures;
    `DataError` for a table that cannot be read.
    """
    if table is None:
        return list(slides)
    path = Path(table)
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a CSV with the columns slide and mpp")
    by_name: dict[str, tuple[float, float]] = {}
    listed_names: list[str] = []
    for listed, mpp, where in read_slide_table(path):
        listed_names.append(listed.name)
        if mpp is not None and by_name.setdefault(name_key(listed.name), mpp) != mpp:
            raise SlideError(f"{where}: {listed.name} has other microns per pixel in a line above; keep one")
    for slide in slides:
        told = {by_name[name] for name in _names(slide) if name in by_name}
        if len(told) > 1:
            raise SlideError(
                f"{path} has different microns per pixel for {slide.path.name} and {slide.path.stem}; keep one"
            )
    if slides and not by_name:
        raise SlideError(f"{path} tells no microns per pixel of any slide; fill in its column mpp")
    found = [next((by_name[name] for name in _names(slide) if name in by_name), None) for slide in slides]
    if slides and not any(found):
        raise SlideError(
            f"{path} names none of the slides, for instance not {slides[0].path.name}; its column slide must hold "
            "their file names"
        )
    pairs = list(zip(slides, found, strict=True))
    tell([*_unmatched(path, slides, listed_names), *_passed_over(path, pairs)])
    return [slide if mpp is None or slide.mpp is not None else replace(slide, mpp=mpp) for slide, mpp in pairs]


def _names(slide: SlideFile) -> tuple[str, str]:
    return name_key(slide.path.name), name_key(slide.path.stem)


def _unmatched(path: Path, slides: Sequence[SlideFile], listed: Sequence[str]) -> Iterator[str]:
    known = {name for slide in slides for name in _names(slide)}
    lost = [name for name in dict.fromkeys(listed) if name_key(name) not in known]
    if lost:
        shown = ", ".join(lost[:_SHOWN]) + (", …" if len(lost) > _SHOWN else "")
        yield f"{path}: {len(lost)} of {len(listed)} lines name none of the {len(slides)} slides: {shown}"


def _passed_over(path: Path, pairs: Sequence[tuple[SlideFile, tuple[float, float] | None]]) -> Iterator[str]:
    for slide, mpp in pairs:
        if mpp is not None and slide.mpp is not None and mpp != slide.mpp:
            yield (
                f"{path} has {mpp[0]:g} microns per pixel for {slide.path.name}, but the CSV that lists the slide "
                f"{slide.mpp[0]:g}, which was used"
            )
