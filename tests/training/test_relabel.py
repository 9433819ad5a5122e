"""Which training patches edits change: those whose pixels the prototype wins."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.edited import EditedSegmenter
from lpdseg.segmenting.edits import read_edits
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.tissue import TissueClasses
from lpdseg.training.progress import Silent
from lpdseg.training.relabel import Change, find_changes, with_labels

SEED = 1
CLASSES = TissueClasses(("A", "B"), background=2)


@pytest.fixture
def plain(tiny_lpd: Callable[..., LPD]) -> Segmenter:
    model = tiny_lpd(counts=(3, 2), head=8, seed=SEED).eval()
    with torch.no_grad():
        model.bank.weight.mul_(50)
    settings = PredictSettings(fusion=(0, 0, 1), refine="none", background="glass", batch=2)
    return Segmenter(model, CLASSES, settings, Calibration.plain(2), (0.0, 0.0, 1.0), "mean")


@pytest.fixture
def data(tmp_path: Path) -> Manifest:
    """Patches of coloured blocks, of two sizes, most of A or B alone, some of both."""
    records, rng = [], np.random.default_rng(0)
    for n in range(24):
        path = tmp_path / f"p{n:02}.png"
        blocks = rng.choice([0, 200], (4 + 2 * (n % 2), 4, 3), p=(share := rng.uniform(0.1, 0.9), 1 - share))
        Image.fromarray(blocks.astype(np.uint8).repeat(8, 0).repeat(8, 1)).save(path)
        labels = ((1, 0), (0, 1), (1, 1))[n % 3]
        records.append(PatchRecord(path, labels, "train" if n < 21 else "valid", f"p{n}"))
    return Manifest(CLASSES, tuple(records), tmp_path)


def winner(segmenter: Segmenter, path: Path, c: int) -> int:
    """The prototype of a class with the most pixels, when the mask may show that class alone."""
    pixels = np.array(Image.open(path))
    batch = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]
    found = segmenter.observe(batch, parts=True).parts
    assert found is not None
    own = (0, 1, 2) if c == 0 else (3, 4)
    return own[int(np.bincount(found[0, list(own)].argmax(0).flatten().numpy()).argmax())]


def test_patches_get_the_class_of_the_prototype_that_has_them(
    plain: Segmenter, data: Manifest, tmp_path: Path
) -> None:
    train = [record for record in data.split("train") if sum(record.labels or ()) == 1]
    of_a = {record.path.name: winner(plain, record.path, 0) for record in train if record.labels == (1, 0)}
    counts = np.bincount(list(of_a.values()), minlength=3)
    most = int(counts.argmax())
    assert counts[most] < counts.sum(), "one prototype has all, which shows nothing"
    path = tmp_path / "edits.yaml"
    path.write_text(f"A {most + 1}: {{move: B}}\n")
    found = find_changes(plain, EditedSegmenter(plain, read_edits(path)).plan, data, Silent())
    single = {name: change for name, change in found.items() if name in of_a}
    assert single == {name: Change((0, 1), most) for name, k in of_a.items() if k == most}
    both = {record.path.name for record in data.split("train") if record.labels == (1, 1)}
    assert set(found) <= set(of_a) | both  # B alone was not touched
    assert all(found[name] == Change((0, 1), most) for name in found if name in both)
    for verb in ("{hide: true}", "{move: background}"):
        path.write_text(f"A {most + 1}: {verb}\n")
        gone = find_changes(plain, EditedSegmenter(plain, read_edits(path)).plan, data, Silent())
        assert gone == {name: Change(None, most) for name in found}
    path.write_text(f"A {most + 1}: {{name: odd}}\n")
    assert find_changes(plain, EditedSegmenter(plain, read_edits(path)).plan, data, Silent()) == {}


def test_labels_are_changed_in_training_alone(data: Manifest) -> None:
    changed = with_labels(data, {"p00.png": (0, 1), "p01.png": None, "p22.png": None, "unknown.png": None})
    assert len(changed.records) == len(data.records) - 1
    assert changed.split("train")[0].labels == (0, 1)
    assert [record.path.name for record in changed.split("train")][:2] == ["p00.png", "p02.png"]
    assert changed.split("valid") == data.split("valid")
    assert changed.fingerprint() != data.fingerprint()
