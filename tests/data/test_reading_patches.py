from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.data.dataset import Draw, TrainingPatches
from lpdseg.data.importers import load_data
from lpdseg.data.reading import look
from lpdseg.data.records import Manifest
from lpdseg.errors import DataError
from lpdseg.evaluation.split import read_labelled
from lpdseg.tissue import TissueClasses

AB = TissueClasses(("A", "B"))


@pytest.fixture
def data(tmp_path: Path) -> Manifest:
    rng = np.random.default_rng(0)

    def save(name: str, pixels: np.ndarray) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    for index in range(5):
        save(f"train/p{index}_a[{index % 2}{1 - index % 2}].png", rng.integers(0, 256, (6, 8 + (index == 4), 3)))
    for split in ("valid", "test"):
        for index in range(3):
            save(f"{split}/img/{split}{index}.png", rng.integers(0, 256, (6, 8, 3)))
            save(f"{split}/mask/{split}{index}.png", np.arange(48).reshape(6, 8) % 2)
    return load_data(tmp_path, AB)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each file was opened, by whatever function."""
    import builtins
    import io

    counts: Counter[str] = Counter()

    def counting(real: object) -> object:
        def wrapper(file: object, *args: object, **kwargs: object) -> object:
            if str(file).endswith(".png"):
                counts[str(file)] += 1
            return real(file, *args, **kwargs)  # type: ignore[operator]

        return wrapper

    monkeypatch.setattr(io, "open", counting(io.open))
    monkeypatch.setattr(builtins, "open", counting(builtins.open))
    yield counts


def test_each_file_is_read_once(data: Manifest, opened: Counter[str]) -> None:
    looked = look(data, room=2**20)
    patches = TrainingPatches(data.split("train"), 0, size=(6, 8), kept=looked.kept)
    for index in range(5):
        patches[Draw(0, index)]
    batches = read_labelled(data.split("valid"), AB, 2, "valid", looked.kept)
    assert sum(len(batch.masks) for batch in batches) == 3
    assert set(opened.values()) == {1} and len(opened) == 5 + 6 + 6
    assert not looked.kept
    patches[Draw(1, 0)]  # from the cache
    assert set(opened.values()) == {1}


def test_what_is_seen(data: Manifest) -> None:
    told: list[tuple[int, int]] = []
    looked = look(data, progress=lambda done, total: told.append((done, total)))
    assert looked.fingerprint == data.fingerprint()
    assert looked.sizes == ((6, 8),) * 4 + ((6, 9),)
    assert told[-1] == (17, 17) and [done for done, _ in told] == sorted(done for done, _ in told)
    assert {path.parent.parent.name for path in looked.kept} == {"valid"}  # no room for training patches
    assert looked.without_pixels().kept == {}


def test_pixels_are_those_of_reading_again(data: Manifest) -> None:
    kept = look(data, room=2**20).kept
    again = TrainingPatches(data.split("train"), 0, size=(6, 8))
    first = TrainingPatches(data.split("train"), 0, size=(6, 8), kept=kept)
    for index in range(5):
        np.testing.assert_array_equal(first.plain(index), again.plain(index))


@pytest.mark.parametrize("name", ["train/p1_a[10].png", "valid/mask/valid1.png", "test/img/test2.png"])
def test_a_file_that_is_gone_or_damaged_is_named(data: Manifest, name: str) -> None:
    path = data.source / name
    if not name.startswith("test"):
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(DataError, match=path.name.replace("[", r"\[")):
            look(data)
    path.unlink()
    with pytest.raises(DataError, match=r"cannot read .*restore the file"):
        look(data)


def test_training_masks_count_where_they_are_needed(data: Manifest, tmp_path: Path) -> None:
    mask = tmp_path / "m.png"
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(mask)
    records = tuple(
        replace(record, mask=mask, split="train") if record.path.name.startswith("p0") else record
        for record in data.records
    )
    masked = replace(data, records=records)
    looked = look(masked, training_masks=True, room=2**20)
    assert looked.fingerprint == masked.fingerprint(training_masks=True) != data.fingerprint()
    assert mask in looked.kept and mask not in look(masked, room=2**20).kept
