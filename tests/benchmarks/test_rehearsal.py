"""What `benchmarks/rehearsal.py` hides, and that it hides nothing else."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from lpdseg.data.manifest import MANIFEST_FILE, read_manifest, write_manifest
from lpdseg.data.patches import read_mask
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("STR", "BEN", "MAL"))


def test_two_classes_become_one_and_the_manifest_says_which_was_shown(
    load_benchmark: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    masks = {"b": [[0, 1]], "m": [[2, 2]], "both": [[1, 2]]}
    records = []
    for name, values in masks.items():
        image, mask = tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png"
        Image.new("RGB", (2, 1)).save(image)
        Image.fromarray(np.array(values, np.uint8)).save(mask)
        labels = tuple(int(c in values[0]) for c in range(3))
        records.append(PatchRecord(image, labels, "valid", name, mask))
    rehearsal, out = load_benchmark("rehearsal"), tmp_path / "out"
    found = rehearsal.merged(Manifest(CLASSES, tuple(records), tmp_path), ["BEN", "MAL"], "GLAND", out)
    write_manifest(found, out / MANIFEST_FILE)
    again = read_manifest(out / MANIFEST_FILE)
    assert again.classes.names == ("STR", "GLAND")
    told = {record.path.stem: record for record in again.records}
    assert {name: one.labels for name, one in told.items()} == {"b": (1, 1), "m": (0, 1), "both": (0, 1)}
    assert {name: one.subtype for name, one in told.items()} == {"b": "GLAND=BEN", "m": "GLAND=MAL", "both": None}
    shown = {name: read_mask(one.mask, again.classes).tolist() for name, one in told.items() if one.mask}
    assert shown == {"b": [[0, 1]], "m": [[1, 1]], "both": [[1, 1]]}
