"""What runs and results tell: `run.json`, `metrics.jsonl`, `prototypes.json`, states, `segment.json`."""

import json
from collections.abc import Callable
from pathlib import Path

from lpdseg.errors import LpdsegError
from lpdseg.insight.run_record import data_of, read_run
from lpdseg.training.changes import read_changes
from lpdseg.training.metrics import read_metrics
from lpdseg.training.regions import read_regions
from lpdseg.view.written import patch_results, slide_results
from lpdseg.workflows.slides.state import FORMAT, is_finished, read_state
from lpdseg.workflows.tables import read_table
from mutations import json_changed as mutate

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 3000
_NAMES = (
    "run.json",
    "metrics.jsonl",
    "prototypes.json",
    "changes.json",
    "segment.json",
    "summary.csv",
    "states/a.json",
)
_SLIDE = {"sha256": "0"}
_CLASSES = {"names": ["a", "b"], "background": 2}
_READERS: tuple[Callable[[Path], object], ...] = (
    read_run,
    read_regions,
    lambda folder: read_table(folder / "summary.csv", "image"),
)
"""Of one kind of record each; what none of them takes is refused."""

_OTHERS: tuple[Callable[[Path], object], ...] = (
    data_of,
    read_metrics,
    read_changes,
    lambda folder: list(patch_results(folder)),
    lambda folder: list(slide_results(folder)),
    lambda folder: is_finished(
        read_state(folder, "a"), folder, "a", _SLIDE, {"classes": _CLASSES}, {"geojson": {}}
    ),
)
"""These read records of several kinds, or look for what records name."""


def seeds(folder: Path) -> list[bytes]:
    (folder / "states").mkdir()
    region = {"path": "a.png", "patient": "p", "box": [0, 0, 4, 4], "share": 0.5, "strength": 0.9}
    shown = {"name": "a", "number": 1, "retired": False, "share": None, "regions": [region]}
    state = {
        "format": FORMAT, "status": "finished", "path": "/slides/a.svs", "slide": _SLIDE, "earlier": {},
        "settings": {"classes": _CLASSES}, "outputs": {"geojson": {"bytes": 1, "sha256": "0", "options": {}}},
        "notes": [], "areas": [{"name": "a", "pixels": 1, "mm2": 0.1, "percent": 3.0}], "tissue_share": 0.5,
        "windows": 3, "windows_per_second": 1.0, "waiting_share": 0.0,
    }  # fmt: skip
    values = (
        {
            "settings": {"train": {"seed": 0}},
            "data": {"source": "/data", "fingerprint": "0", "patches": {"train": 1}, "patients": {"train": 1}},
            "status": "finished",
            "started": "2026-11-27T07:00:00",
            "seed": 0,
            "versions": {"torch": "2"},
            "hardware": {"cores": 2},
            "classes": _CLASSES,
        },
        {"format": 1, "root": "/data", "prototypes": [shown, shown]},
        {"kind": "train", "step": 1, "loss": 0.5},
        state,
    )
    return [*(json.dumps(value).encode() for value in values), b"image,mask,a\nx.png,masks/x.png,0.5\n"]


def parse(data: bytes, folder: Path) -> None:
    for name in _NAMES:
        (folder / name).write_bytes(data)
    refused = []
    for read in (*_READERS, *_OTHERS):
        try:
            read(folder)
        except LpdsegError as error:
            refused += [error] if read in _READERS else []
    if len(refused) == len(_READERS):
        raise refused[0]
