"""Weakly supervised segmentation of H&E histopathology with learnable, diverse prototypes (LPD).

The names below are the public Python interface; they are imported when they are first used, so that
`import lpdseg` costs nothing and does not load PyTorch. `lpdseg.api` holds all verbs. Two of them, `evaluate` and
`segment`, are only there: here these names are the packages, and one name cannot be both.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpdseg.api import load, train
    from lpdseg.data.importers import load_data
    from lpdseg.data.records import Manifest
    from lpdseg.data.synthetic import generate
    from lpdseg.errors import LpdsegError
    from lpdseg.segment.segmenter import Segmentation, Segmenter
    from lpdseg.settings import Settings
    from lpdseg.tissue import TissueClasses

__version__ = "0.1.0.dev0"

__all__ = [
    "LpdsegError",
    "Manifest",
    "Segmentation",
    "Segmenter",
    "Settings",
    "TissueClasses",
    "__version__",
    "generate",
    "load",
    "load_data",
    "train",
]

_HOMES = {
    "LpdsegError": "lpdseg.errors",
    "Manifest": "lpdseg.data.records",
    "Segmentation": "lpdseg.segment.segmenter",
    "Segmenter": "lpdseg.segment.segmenter",
    "Settings": "lpdseg.settings",
    "TissueClasses": "lpdseg.tissue",
    "generate": "lpdseg.data.synthetic",
    "load": "lpdseg.api",
    "load_data": "lpdseg.data.importers",
    "train": "lpdseg.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
