"""The labels that `benchmarks/move.py` makes wrong, and only those."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from lpdseg.data.synthetic import generate
from lpdseg.data.synthetic.subtypes import STROMA, TUMOUR, named


def test_tissue_of_one_subtype_carries_another_label_in_training_alone(
    load_benchmark: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    move = load_benchmark("move")
    counts = {"train": 24, "valid": 6}
    data = generate(tmp_path, size=56, mpp=1.0, patches=counts, patients={"train": 4, "valid": 2}, train_masks=True)
    solid = named("solid")
    wrong = move.mislabelled(data, solid, STROMA)
    assert wrong.split("valid") == data.split("valid")
    changed = 0
    for before, after in zip(data.split("train"), wrong.split("train"), strict=True):
        subtypes, mask = move.truth(before, data)
        assert before.labels is not None and after.labels is not None
        is_solid = subtypes == solid
        assert after.labels[TUMOUR] == int((mask[~is_solid] == TUMOUR).any())
        assert after.labels[STROMA] == int((mask == STROMA).any() or is_solid.any())
        assert after.labels[2:] == before.labels[2:]
        changed += before.labels != after.labels
    assert changed > 0


def test_the_table_has_a_row_for_each_way(load_benchmark: Callable[[str], ModuleType]) -> None:
    move = load_benchmark("move")
    asked = Namespace(subtype="spindle", label="STR", patches=9, epochs=1.0, weights=None, seeds=[0, 1])
    seeds = [{row: {"miou": 50.0 + n, "TUM": 40.0, "found": 10.0 * n} for row in move.ROWS} for n in (0, 1)]
    text = move.table(asked, seeds)
    assert "| | mIoU | IoU TUM | spindle found |" in text
    assert text.count("50.5 (50.0 to 51.0)") == len(move.ROWS)
