"""What describes a run: `run.json`, beside its results."""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from lpdseg.checkpoint import has_checkpoint, read_state
from lpdseg.cores import allowed_cores
from lpdseg.data.origin import guessed, mpp_counts, origin_notes
from lpdseg.data.records import Manifest
from lpdseg.errors import LpdsegError, OutputError
from lpdseg.files import absolute, read_json, write_json
from lpdseg.settings import Settings
from lpdseg.version import told_version, version_of

_PACKAGES = {
    "torch": "torch",
    "transformers": "transformers",
    "lightning-fabric": "lightning_fabric",
    "numpy": "numpy",
    "pillow": "PIL",
    "safetensors": "safetensors",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
}
"""What they are imported as, by name."""


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that can change a result."""
    return {"python": platform.python_version(), "lpdseg": told_version()} | {
        name: version_of(name, module) for name, module in _PACKAGES.items()
    }


def hardware(device: torch.device) -> dict[str, Any]:
    """The machine, as far as it explains speed."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "allowed_cores": allowed_cores(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["gpu_memory_gib"] = round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1)
    return found


def describe_data(data: Manifest, fingerprint: str) -> dict[str, Any]:
    """Fingerprint (see `Manifest.fingerprint`), classes and counts of a data set."""
    notes = [note for split in data.splits for note in origin_notes(data.records, split)]
    return {
        "source": absolute(data.source),
        "fingerprint": fingerprint,
        "classes": data.classes.as_dict(),
        "patches": {split: len(data.split(split)) for split in data.splits},
        "patients": {split: len({record.patient for record in data.split(split)}) for split in data.splits},
        "patients_known": not guessed(data.records),
        "mpp": {split: mpp_counts(data.split(split)) for split in data.splits},
        "notes": list(dict.fromkeys([*data.notes, *notes])),
    }


def best_of(run: Path) -> dict[str, Any]:
    """What a run's record says of its checkpoint `best`, all of it read from there; None where there is none yet.

    - `best_step`: when it was saved.
    - `valid_miou`, `thresholds`, `offsets`, `temperature`: what validation found and chose then, not in the last
      one.
    """
    if not has_checkpoint(run, "best"):
        return dict.fromkeys(("best_step", "valid_miou", "thresholds", "offsets", "temperature"))
    state = read_state(run, "best")
    return {
        "best_step": state["step"],
        "valid_miou": state["best"],
        "thresholds": state["thresholds"],
        "offsets": state["offsets"],
        "temperature": state.get("temperature"),
    }


class RunRecord:
    """`run.json`: written when the run starts, when it is interrupted, and when it ends.

    A run that goes on keeps when it started, where its first weights came from, and who told its
    morphologies apart.
    """

    def __init__(
        self, run: Path, settings: Settings, data: dict[str, Any], device: torch.device, resumed: bool
    ) -> None:
        self.path = run / "run.json"
        self.values: dict[str, Any] = {
            "status": "running",
            "started": _now(),
            "command": sys.argv,
            "settings": settings.model_dump(mode="json"),
            "seed": settings.train.seed,
            "data": data,
            "versions": versions(),
            "hardware": hardware(device),
        }
        if resumed:
            with suppress(OSError, ValueError, TypeError, AttributeError):
                before = read_json(self.path)
                self.values |= {
                    key: before[key]
                    for key in ("started", "weights", "image_encoder", "from", "morphologies")
                    if key in before
                }
                self.values["resumed"] = before.get("resumed", 0) + 1

    def write_start(self, **values: Any) -> None:
        """Adds what is known at the start, keeps what an earlier start has said, and writes the file."""
        self.write(**(values | {key: self.values[key] for key in values if key in self.values}), status="running")

    @contextmanager
    def told_of_failure(self, step: Callable[[], int]) -> Iterator[None]:
        """Notes why the block has failed, at which `step`; a run that has ended is not left as running."""
        try:
            yield
        except BaseException as error:
            known = isinstance(error, LpdsegError)
            status = "failed" if isinstance(error, Exception) else "interrupted"
            with suppress(OutputError):  # the disk may be full
                reason = str(error) if known else f"{type(error).__name__}: {error}"
                self.write(status=status, step=step(), reason=reason)
            raise

    def write(self, **values: Any) -> None:
        """Adds `values` and writes the file."""
        self.values |= values | {"updated": _now()}
        write_json(self.path, self.values)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
