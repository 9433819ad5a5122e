"""What is done with the files of a data set before the first step."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lpdseg.data.importers import load_data
from lpdseg.data.reading import Looked
from lpdseg.data.records import Manifest
from lpdseg.errors import DataError
from lpdseg.settings import load_settings
from lpdseg.tissue import TissueClasses
from lpdseg.training import setup
from lpdseg.training.progress import Silent
from lpdseg.training.setup import Pace, large_note, look_once, size_note, training_patches
from noting import Notes

AB = TissueClasses(("A", "B"))


def data_set(folder: Path, sizes: list[tuple[int, int]]) -> Manifest:
    (folder / "train").mkdir()
    for index, size in enumerate(sizes):
        pixels = np.full((*size, 3), index, np.uint8)
        Image.fromarray(pixels).save(folder / "train" / f"p{index}_a[{index % 2}{1 - index % 2}].png")
    return load_data(folder, AB)


def process(rank: int, sent: Any = None) -> Any:
    """One of two processes; `sent` is what the first one broadcasts."""
    return SimpleNamespace(
        is_global_zero=rank == 0, world_size=2, broadcast=lambda value: value if rank == 0 else sent.pop(0)
    )


def test_the_first_process_looks_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_set(tmp_path, [(6, 8)] * 4)
    settings = load_settings(None, ["data.workers=0"])
    first = look_once(data, settings, process(0), Silent())
    assert len(first.kept) == 4

    def never(*_: object, **__: object) -> Looked:
        raise AssertionError("another process looks as well")

    monkeypatch.setattr(setup, "look", never)
    second = look_once(data, settings, process(1, [None, first.without_pixels()]), Silent())
    assert (second.fingerprint, second.sizes, second.kept) == (first.fingerprint, first.sizes, {})
    with pytest.raises(DataError, match="gone"):
        look_once(data, settings, process(1, [DataError("gone")]), Silent())


def test_pixels_stay_where_they_are_of_use(tmp_path: Path) -> None:
    data = data_set(tmp_path, [(6, 8)] * 2)
    alone: Any = SimpleNamespace(is_global_zero=True, world_size=1, device=torch.device("cpu"))
    for change in ("data.workers=2", "data.cache=false"):
        assert not look_once(data, load_settings(None, ["data.workers=0", change]), alone, Silent()).kept


def test_long_reading_is_told_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(setup.time, "monotonic", lambda: clock[0])
    notes = Notes()
    pace = Pace(notes, "reading the data", "files")
    for second in range(40):
        clock[0] = second
        pace.tell(second * 100, 50_000)
    assert notes.notes[0] == "reading the data: 500 of 50,000 files (1%)"
    assert len(notes.notes) == 3


def test_one_odd_patch_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    data = data_set(tmp_path, [(6, 8)] * 4 + [(9, 5)])
    settings = load_settings("glas", ["data.workers=0"])
    patches = training_patches(data.split("train"), settings, AB)
    assert {patches.plain(index).shape for index in range(5)} == {(6, 8, 3)}
    np.testing.assert_array_equal(patches.plain(0), np.zeros((6, 8, 3), np.uint8))
    note = size_note(((6, 8),) * 4 + ((9, 5),))
    assert note is not None and note.startswith("1 of 5 training patches are not 8 x 6: each is scaled as a whole")
    assert size_note(((6, 8),) * 4) is None


def test_training_patches_of_the_size_of_slides_are_told_and_how_large_they_are() -> None:
    assert large_note(((4096, 4096), (10, 10))) is None
    note = large_note(((4096, 4097), (10, 10), (5000, 6000)))
    assert note is not None and note.startswith("2 of 3 training patches have more than 16,777,216 pixels")
    assert "(the largest 6000 x 5000)" in note
