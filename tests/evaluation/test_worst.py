"""Which patches are worst: figures of each against plain loops, and the orders that they give."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_split import classes_of, draw_split, segmenter_of
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.data.records import PatchRecord
from lpdseg.errors import SettingsError
from lpdseg.evaluation.confusion import Scores, confusion_matrix
from lpdseg.evaluation.worst import (
    PatchFigures,
    confused,
    disagreement,
    in_cell,
    patch_figures,
    patch_rows,
    patient_rows,
    worst_first,
)
from lpdseg.model.lpd import LPD
from lpdseg.tissue import IGNORE, TissueClasses

CLASSES = TissueClasses(("TUM", "STR"), background=2)


def patch(
    name: str, counts: list[list[int]], patient: str = "p", unsure: float = 0.1, **more: float
) -> PatchFigures:
    record = PatchRecord(Path(f"/data/{name}.png"), (1, 0), "valid", patient)
    return PatchFigures(record, np.array(counts), unsure, more.get("uncertainty", 0.5), more.get("apart"))


GOOD = patch("good", [[9, 1, 0], [0, 0, 0], [0, 0, 0]], apart=0.2)
BAD = patch("bad", [[2, 6, 1], [0, 1, 0], [0, 0, 0]], "q", unsure=0.05, apart=0.3)
EQUAL = patch("equal", [[0, 0, 0], [1, 9, 0], [0, 0, 0]], "q", uncertainty=0.7)
BLIND = patch("blind", [[0] * 3] * 3, unsure=0.9)
ALL = [GOOD, BAD, EQUAL, BLIND]


@given(st.integers(2, 5), st.integers(0, 10**6))
def test_disagreement_is_that_of_a_pair_drawn_at_random(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, 3, (count, 2, 4, 5), generator=generator, dtype=torch.uint8)
    pairs = [(a != b).float().mean((1, 2)) for a, b in combinations(masks, 2)]
    torch.testing.assert_close(disagreement(masks, 3), torch.stack(pairs).mean(0))


@pytest.mark.parametrize("gate", ["predicted", "oracle"])
def test_figures_are_those_of_one_patch_after_another(gate: str, tiny_lpd: Callable[..., LPD]) -> None:
    segmenter = segmenter_of(tiny_lpd(counts=(2, 2, 2)), classes_of(3, True), gate=gate, unsure=0.4)
    segmenter = segmenter.calibrated(replace(segmenter.calibration, temperature=1.5))
    split = draw_split(segmenter, [(3, (37, 53)), (2, (21, 18))])
    split.batches[0].masks[1] = IGNORE  # no truth
    records = [PatchRecord(Path(f"{n}.png"), None, "test", "p") for n in range(5)]
    told: list[tuple[int, int]] = []
    found = patch_figures(
        segmenter, records, split.batches, evidence=split.evidence, progress=lambda *done: told.append(done)
    )
    assert told == [(3, 5), (5, 5)] and [one.record for one in found] == records
    at = iter(found)
    for batch, evidence in zip(split.batches, split.evidence, strict=True):
        said = segmenter.decide(evidence, batch.images, batch.labels(3))
        for b, truth in enumerate(batch.masks):
            one = next(at)
            mask = said.mask[b].numpy()
            np.testing.assert_array_equal(one.confusion, confusion_matrix(truth, mask, 4))
            powers = said.unrefined[b].double() ** (1 / 1.5)
            best = (powers / powers.sum(0)).sort(0).values
            gap = (best[-1] - best[-2]).numpy()
            assert one.unsure == pytest.approx((gap < 0.4).mean(), abs=1e-3)
            assert one.uncertainty == pytest.approx(1 - gap.mean(), abs=1e-5) and one.disagreement is None
            counted = truth != IGNORE
            wrong = (truth != mask)[counted].mean() if counted.any() else None
            assert one.error == (wrong if wrong is None else pytest.approx(wrong))


def test_another_run_disagrees_where_its_masks_do(tiny_lpd: Callable[..., LPD]) -> None:
    segmenter = segmenter_of(tiny_lpd(counts=(2, 2)), classes_of(2, True), gate="none")
    batches = draw_split(segmenter, [(2, (32, 48))]).batches
    records = [PatchRecord(Path(f"{n}.png"), None, "test", "p") for n in range(2)]
    shifted = replace(segmenter.calibration, offsets=torch.tensor([3.0, 0.0]))
    others = [segmenter.calibrated(shifted), segmenter]
    masks = [
        one.decide(one.observe(batch.images), batch.images).mask
        for batch in batches
        for one in (segmenter, *others)
    ]
    found = patch_figures(segmenter, records, batches, others=others)
    for b, one in enumerate(found):
        apart = float((masks[0][b] != masks[1][b]).float().mean())
        assert one.disagreement == pytest.approx(apart * 2 / 3, abs=1e-6)  # two of three pairs differ so
    assert max(one.disagreement or 0 for one in found) > 0


def test_the_worst_come_first() -> None:
    assert worst_first(ALL, "error") == [BAD, EQUAL, GOOD]  # of equals the less certain
    assert worst_first(ALL, "uncertainty") == [BLIND, EQUAL, GOOD, BAD]
    assert worst_first(ALL, "disagreement") == [BAD, GOOD]
    assert worst_first([], "error") == []
    with pytest.raises(SettingsError, match="by error without masks of the truth; order them by uncertainty"):
        worst_first([BLIND], "error")
    with pytest.raises(SettingsError, match="without another run to compare with"):
        worst_first([EQUAL], "disagreement")


def test_a_cell_opens_the_patches_that_it_is_made_of() -> None:
    assert in_cell(ALL, 0, 1) == [(BAD, 6), (GOOD, 1)] and in_cell(ALL, 1, 0) == [(EQUAL, 1)]
    assert in_cell(ALL, 2, 2) == []
    assert [confused(one, CLASSES.channel_names) for one in ALL] == ["TUM as STR", "TUM as STR", "STR as TUM", ""]
    assert confused(patch("x", [[1, 0, 2], [0, 0, 0], [0, 0, 0]]), CLASSES.channel_names) == "TUM as background"


def test_rows_of_patches_and_patients() -> None:
    rows = list(patch_rows(ALL, CLASSES))
    assert rows[1] == {
        "patch": "/data/bad.png", "patient": "q", "split": "valid", "pixels": 10, "error": 70.0,
        "iou_TUM": round(200 / 9, 4), "iou_STR": round(100 / 7, 4), "unsure": 5.0, "uncertainty": 50.0,
        "disagreement": 30.0, "confused": "TUM as STR",
    }  # fmt: skip
    assert (rows[3]["error"], rows[3]["iou_TUM"], rows[3]["pixels"]) == (None, None, 0)
    worse, better = patient_rows(ALL, CLASSES)
    assert [(row["patient"], row["patches"], row["pixels"]) for row in (worse, better)] == [
        ("q", 2, 20),
        ("p", 2, 10),
    ]
    scores = Scores.of(BAD.confusion + EQUAL.confusion, 2)
    assert worse["miou"] == round(100 * float(scores.miou), 4) and worse["error"] == 40.0
    assert worse["unsure"] == 7.5 and worse["disagreement"] == 30.0
    assert [row["miou"] for row in patient_rows([BLIND, GOOD], CLASSES)] == [better["miou"]]
    assert patient_rows([BLIND], CLASSES)[0]["miou"] is None and patient_rows([], CLASSES) == []
