"""Microns per pixel for slides that do not say, from a table by name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lpdseg.errors import DataError
from lpdseg.slides.readers import SlideFile
from lpdseg.slides.slide import SlideError
from lpdseg.slides.slide_table import read_slide_table


def with_table(slides: Sequence[SlideFile], table: str | Path | None) -> list[SlideFile]:
    """Slides with what a table says of them; what the inputs said already stays.

    A line is for the slide of that name, whatever its folder, and with or without suffix. Lines of other slides do
    not matter.

    **Raises:** `SlideError` where no line names any of the slides, or two name the same with other figures;
    `DataError` for a table that cannot be read.
    """
    if table is None:
        return list(slides)
    path = Path(table)
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a CSV with the columns slide and mpp")
    by_name: dict[str, tuple[float, float]] = {}
    for listed, mpp, where in read_slide_table(path):
        if mpp is not None and by_name.setdefault(listed.name, mpp) != mpp:
            raise SlideError(f"{where}: {listed.name} has other microns per pixel in a line above; keep one")
    for slide in slides:
        told = {by_name[name] for name in (slide.path.name, slide.path.stem) if name in by_name}
        if len(told) > 1:
            raise SlideError(
                f"{path} has different microns per pixel for {slide.path.name} and {slide.path.stem}; keep one"
            )
    found = [by_name.get(slide.path.name, by_name.get(slide.path.stem)) for slide in slides]
    if slides and not any(found):
        raise SlideError(
            f"{path} names none of the slides, for instance not {slides[0].path.name}; its column slide must hold "
            "their file names"
        )
    return [
        slide if mpp is None or slide.mpp is not None else replace(slide, mpp=mpp)
        for slide, mpp in zip(slides, found, strict=True)
    ]
