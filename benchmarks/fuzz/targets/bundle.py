"""`bundle.json` and `SHA256SUMS` of a bundle that a stranger gave."""

import hashlib
import json
from pathlib import Path
from random import Random

from lpdseg.sharing.folder import CARD, DESCRIPTION, SUMS, WEIGHTS, read_description
from mutations import bytes_changed, json_changed

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 4000


def seeds(folder: Path) -> list[bytes]:
    licence = {"what": "weights", "licence": "mit", "source": "hub"}
    described = {
        "schema": 1, "title": "x", "licence": "mit", "licences": {"started_from": [licence], "code": [licence]},
        "checkpoint": "best", "valid": {"miou": 0.5},
        "corrected": {"images": ["0" * 64], "patients": {"train": ["p"]}},
        "edits": {"sha256": "0" * 64, "said": {"TUM 1": {"hide": True}}, "offsets": None},
        "training_data": {
            "fingerprint": None, "patches": {"train": 3}, "patients": {"train": 1}, "patients_known": True,
            "mpp": {"train": {"0.5": 3}},
        },
        "training": {
            "status": "finished", "started": "2026-11-27", "seed": 0, "step": 9, "steps": 9,
            "versions": {"torch": "2"},
            "hardware": {"cores": 2, "gpu": None},
        },
    }  # fmt: skip
    sums = "".join(f"{'0' * 64}  {name}\n" for name in (DESCRIPTION, WEIGHTS, CARD))
    return [json.dumps(described).encode(), sums.encode()]


def mutate(data: bytes, random: Random) -> bytes:
    return json_changed(data, random) if data.startswith(b"{") else bytes_changed(data, random)


def parse(data: bytes, folder: Path) -> None:
    (folder / DESCRIPTION).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    sums = "".join(f"{digest}  {name}\n" for name in (DESCRIPTION, WEIGHTS, CARD)).encode()
    (folder / SUMS).write_bytes(sums if data.startswith(b"{") else data)
    assert isinstance(read_description(folder)["title"], str)
