"""Scenes of a TIFF: pieces of tissue that were scanned apart, each an image of full resolution in the same file."""

import re
from pathlib import Path
from typing import Any

from lpdseg.slides.ome import ome_images
from lpdseg.slides.slide import Mpp
from lpdseg.slides.tiff_mpp import tiff_mpp

_NO_TISSUE = re.compile(r"label|macro|thumb|overview|preview|barcode", re.IGNORECASE)
"""Names of images that are no scenes."""

_SAME = 1.02
"""How many times coarser a scene of the same scan may be."""


def several(path: Path, pages: list[Any], ome: str | None) -> str:
    """Why several images of the largest size cannot be read as one slide.

    **Arguments:**

    - `pages`: these images.
    - `ome`: the file's OME-XML, where it has one.
    """
    size = f"{pages[0].imagewidth} x {pages[0].imagelength} pixels"
    scenes = len([name for name in _names(ome, pages[0]) if not _NO_TISSUE.search(name)])
    if scenes > 1:
        return f"{path} holds {scenes} scenes of {size}, and a slide is one; export each scene to a file of its own"
    kinds = "a stack, or single channels" if scenes else "scenes, a stack, or single channels"
    return f"{path} holds {len(pages)} images of {size} ({kinds}); save one RGB image"


def other_scenes(path: Path, pages: list[Any], full: Any, ome: str | None) -> str | None:
    """What is told of scenes beside the largest, `full`; None where there are none.

    A scene has the pixels of `full`: it is no smaller copy, has the same microns per pixel, and is not called a
    label or the like. Without microns per pixel only OME's images can be told from labels.

    **Arguments:**

    - `pages`: images of the file that are stored as `full` is and are no levels of it.
    """
    here = tiff_mpp(full, ome)
    scenes = [page for page in pages if page is not full and _is_scene(page, here, ome)]
    if not scenes:
        return None
    left = sum(page.imagewidth * page.imagelength for page in scenes)
    share = left / (left + full.imagewidth * full.imagelength)
    largest, *others = (f"{page.imagewidth} x {page.imagelength}" for page in (full, *scenes))
    return (
        f"{path} holds {1 + len(scenes)} scenes; only the largest, {largest} pixels, is read, and not "
        f"{', '.join(others)} ({share:.0%} of what was scanned): export each scene to a file of its own"
    )


def _is_scene(page: Any, here: Mpp | None, ome: str | None) -> bool:
    names = _names(ome, page)
    if any(_NO_TISSUE.search(name) for name in names):
        return False
    mpp = tiff_mpp(page, ome)
    if here is None or mpp is None:
        return bool(names) and here is mpp
    return all(max(a, b) <= _SAME * min(a, b) for a, b in ((here.x, mpp.x), (here.y, mpp.y)))


def _names(ome: str | None, page: Any) -> list[str]:
    """Of OME's images of a page's size; no name is an empty one."""
    size = (str(page.imagewidth), str(page.imagelength))
    return [] if ome is None else [name for name, _ in ome_images(ome).get(size, ())]
