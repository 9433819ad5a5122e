"""The report's section on prototypes agrees with the atlas."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.insight.coverage import measure_coverage
from lpdseg.insight.prototypes import view_prototypes
from lpdseg.insight.report_parts import look_at_each
from lpdseg.insight.sample import segmented
from lpdseg.model.head import PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("TUM", "STR"))


@pytest.mark.parametrize("head", [0, 8])
def test_shares_are_those_of_the_measures_and_the_retired_are_told(
    head: int, tiny_lpd: Callable[..., LPD], tmp_path: Path
) -> None:
    rng, records = np.random.default_rng(0), []
    for number in range(3):
        path, mask = tmp_path / f"{number}.png", tmp_path / f"{number}-mask.png"
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
        Image.fromarray((np.arange(48)[:, None] + np.zeros(64) > 10).astype(np.uint8)).save(mask)
        records.append(PatchRecord(path, None, "valid", f"p{number}", mask))
    data = Manifest(CLASSES, tuple(records), tmp_path)
    model = tiny_lpd(counts=(2, 4), head=head).eval()
    if isinstance(model.head, PrototypeHead):
        model.head.live[3] = False
    settings = PredictSettings(fusion=(0, 0.4, 0.6), refine="none", background="none")
    segmenter = Segmenter(model, CLASSES, settings, Calibration.plain(2), (0.0, 0.1, 1.0), "mean")
    patches = segmented(segmenter, records, CLASSES, "valid")
    view = view_prototypes(segmenter, look_at_each(segmenter, data, "valid"), [("best", patches[0])], CLASSES)
    measured = measure_coverage(segmenter, data, "valid")["classes"]["STR"]
    assert view.name == "STR"
    assert (view.patches, view.showing) == (3, 3)
    assert view.dense == bool(head)
    assert (view.numbers, view.retired) == (((1, 3, 4), (2,)) if head else ((1, 2, 3, 4), ()))
    assert list(view.shares) == pytest.approx([measured["shares"][number - 1] for number in view.numbers])
    assert view.effective == pytest.approx(measured["effective_prototypes"])
    assert len(view.rows[0].maps) == len(view.numbers)
