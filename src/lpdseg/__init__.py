"""Weakly supervised segmentation of H&E histopathology with learnable, diverse prototypes (LPD).

The names below are the public Python interface; they are imported when they are first used, so that
`import lpdseg` costs nothing and does not load PyTorch.
"""

from typing import TYPE_CHECKING

from lpdseg.version import __version__

if TYPE_CHECKING:
    from lpdseg.api import (
        choose_offsets,
        evaluate,
        load,
        report,
        segment,
        segment_files,
        segment_slides,
        train,
    )
    from lpdseg.data.importers import load_data
    from lpdseg.data.records import Manifest
    from lpdseg.data.synthetic import generate
    from lpdseg.errors import LpdsegError
    from lpdseg.segmenting.segmentation import Segmentation
    from lpdseg.segmenting.segmenter import Segmenter
    from lpdseg.settings import Settings, load_settings
    from lpdseg.tissue import TissueClasses
    from lpdseg.workflows.bundles.making import make_bundle, pull_bundle, push_bundle
    from lpdseg.workflows.slides.options import SlideOptions
else:  # a type checker sees the imports above, and a mistyped name as one
    _HOMES = {
        "LpdsegError": "lpdseg.errors",
        "Manifest": "lpdseg.data.records",
        "Segmentation": "lpdseg.segmenting.segmentation",
        "Segmenter": "lpdseg.segmenting.segmenter",
        "Settings": "lpdseg.settings",
        "SlideOptions": "lpdseg.workflows.slides.options",
        "TissueClasses": "lpdseg.tissue",
        "choose_offsets": "lpdseg.api",
        "evaluate": "lpdseg.api",
        "generate": "lpdseg.data.synthetic",
        "load": "lpdseg.api",
        "load_data": "lpdseg.data.importers",
        "load_settings": "lpdseg.settings",
        "make_bundle": "lpdseg.workflows.bundles.making",
        "pull_bundle": "lpdseg.workflows.bundles.making",
        "push_bundle": "lpdseg.workflows.bundles.making",
        "report": "lpdseg.api",
        "segment": "lpdseg.api",
        "segment_files": "lpdseg.api",
        "segment_slides": "lpdseg.api",
        "train": "lpdseg.api",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)


__all__ = [
    "LpdsegError",
    "Manifest",
    "Segmentation",
    "Segmenter",
    "Settings",
    "SlideOptions",
    "TissueClasses",
    "__version__",
    "choose_offsets",
    "evaluate",
    "generate",
    "load",
    "load_data",
    "load_settings",
    "make_bundle",
    "pull_bundle",
    "push_bundle",
    "report",
    "segment",
    "segment_files",
    "segment_slides",
    "train",
]


def __dir__() -> list[str]:
    return sorted(__all__)
