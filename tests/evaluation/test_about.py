from pathlib import Path

import numpy as np
from PIL import Image

from lpdseg.data.importers import load_data
from lpdseg.evaluation.about import about_split
from lpdseg.evaluation.split import read_labelled
from lpdseg.tissue import TissueClasses

AB = TissueClasses(("A", "B"))


def about(folder: Path, *names: str, value: int = 0) -> tuple[str, tuple[str, ...]]:
    for name in names:
        for part, pixels in (("img", np.zeros((8, 8, 3), np.uint8)), ("mask", np.full((8, 8), value, np.uint8))):
            (folder / "valid" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "valid" / part / f"{name}.png")
    data = load_data(folder, AB)
    found = about_split(data, "valid", read_labelled(data.split("valid"), AB, 4, "valid"))
    return found.unit, found.notes


def test_nothing_to_say(tmp_path: Path) -> None:
    assert about(tmp_path, "patient1_a[10]", "patient1_b[10]", "patient2_a") == ("patients", ())


def test_labels_that_contradict_masks(tmp_path: Path) -> None:
    found = about(tmp_path, "patient1_a[10]", "patient1_b[01]", "patient2_a")
    assert found == ("patients", ("image-level labels of 1 of 2 images contradict their masks",))


def test_patients_that_nobody_knows_and_mixed_magnifications(tmp_path: Path) -> None:
    unit, notes = about(tmp_path, "q1_MPP-0.25", "q2_MPP-0.5", "q3_MPP-0.5")
    assert unit == "files"
    assert "intervals are over files" in notes[0]
    assert notes[1] == "microns per pixel differ within the split valid: 0.25 (1), 0.5 (2)"
    (tmp_path / "again").mkdir()
    unit, notes = about(tmp_path / "again", "a_1", "a_2", "b_1", "b_2")
    assert (unit, notes) == ("patients", ("patients are guessed from the beginning of file names",))
