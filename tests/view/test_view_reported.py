"""What is reported of a slide is rescaled by the run's temperature; its mask is not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lpdseg.maps.uncertainty import tempered
from lpdseg.view import fields

tifffile = pytest.importorskip("tifffile", reason="the extra slides is not installed")


@pytest.mark.parametrize("refine", ["none", "crf"])
def test_a_slide_reports_what_the_temperature_makes_of_its_probabilities(
    visit_to: Callable[..., Any], prototype_run: Path, tmp_path: Path, refine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fields, "SIDE", 64)
    pixels = np.full((96, 96, 3), 245, np.uint8)
    pixels[10:60, 10:60] = np.random.default_rng(0).integers(60, 200, (50, 50, 3))
    slide = tmp_path / "a.tif"
    resolution = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(slide, pixels, photometric="rgb", tile=(64, 64), **resolution)
    runs = []
    for temperature, how in ((None, "none"), (2.0, refine)):
        runs.append(Path(shutil.copytree(prototype_run, tmp_path / f"run {temperature}")))
        path = runs[-1] / "checkpoints" / "best.json"
        state = json.loads(path.read_text("utf-8"))
        state["temperature"], state["settings"]["predict"]["refine"] = temperature, how
        path.write_text(json.dumps(state), "utf-8")
    visit = visit_to(runs, slide, model_mpp=0.5, window=32)
    for run in visit.runs:
        run.compute(0, 0)
    plain, hot = (run.field(0, 0) for run in visit.runs)
    wanted = tempered(torch.from_numpy(plain.probabilities.astype(np.float32)), 2.0).numpy()
    tissue = plain.mask < 2
    np.testing.assert_allclose(hot.probabilities[:, tissue], wanted[:, tissue], atol=5e-3)
    assert not hot.probabilities[:, ~tissue].any() and tissue.mean() > 0.3
    if refine == "none":
        np.testing.assert_array_equal(plain.mask, hot.mask)
