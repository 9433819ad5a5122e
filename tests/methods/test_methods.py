"""Every method of the table, through the doors that a user has: train, resume, load, segment, evaluate."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from interrupted import StopAfter
from lpdseg import api
from lpdseg.choices import MethodName
from lpdseg.cli.main import main
from lpdseg.data.importers import load_data
from lpdseg.data.manifest import write_manifest
from lpdseg.data.patches import read_image
from lpdseg.data.records import Manifest
from lpdseg.methods.table import METHODS
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("pink", "blue"))
CHANGES: dict[str, tuple[str, ...]] = {"lpd-released": ("model.prototype_dim=256", "model.merge=mean")}
"""What a method needs beyond the small settings."""


@pytest.fixture(params=sorted(METHODS))
def method(request: pytest.FixtureRequest) -> MethodName:
    return request.param


@pytest.fixture
def data(small_data: Path, method: MethodName, tmp_path: Path) -> Manifest:
    """The small data set, whose training masks exist only for the methods that may open them."""
    found = load_data(small_data, CLASSES)
    records = []
    for record in found.records:
        if record.split == "train":
            mask = tmp_path / "train_masks" / record.path.name
            if METHODS[method].needs_masks:
                mask.parent.mkdir(exist_ok=True)
                image = read_image(record.path)
                Image.fromarray((image[..., 0] < 155).astype(np.uint8)).save(mask)  # red: 230 ± 20 or 80 ± 20
            record = replace(record, mask=mask)
        records.append(record)
    return Manifest(CLASSES, tuple(records), small_data)


def trained_tensors(run: Path) -> dict[str, torch.Tensor]:
    state = json.loads((run / "checkpoints" / "last.json").read_text())
    return load_file(run / "checkpoints" / state["files"]["weights"])


def test_a_method_trains_resumes_exactly_and_predicts(
    method: MethodName, data: Manifest, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    overrides = [*small_settings, "train.epochs=1.34", "loss.warmup=0.4", *CHANGES.get(method, ())]
    options = {"method": method, "overrides": overrides, "device": "cpu"}
    whole = api.train(data, tmp_path / "whole", **options)
    assert whole.total == 4 and whole.miou is not None

    for last in (1, 3):  # before and after the half, where two stages meet
        part = api.train(data, tmp_path / "part", reporter=StopAfter(last), resume=last > 1, **options)
        assert part.steps == last
    api.train(data, tmp_path / "part", resume=True, device="cpu")
    first, second = trained_tensors(tmp_path / "whole"), trained_tensors(tmp_path / "part")
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())

    segmenter = api.load(tmp_path / "whole", device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (40, 33, 3), np.uint8)
    result = segmenter.segment(image)
    assert result.mask.shape == (40, 33) and set(np.unique(result.mask)) <= {0, 1}
    np.testing.assert_allclose(result.probabilities.sum(0), 1, atol=1e-5)
    assert ((result.image_probabilities >= 0) & (result.image_probabilities <= 1)).all()
    record = api.evaluate(tmp_path / "whole", data, device="cpu")[0]
    assert record["miou"] == pytest.approx(whole.miou)


def test_the_command_line_takes_the_method(
    method: MethodName, data: Manifest, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    write_manifest(data, tmp_path / "manifest.csv")
    changes = [*small_settings, "train.epochs=0.34", "train.validations=1", *CHANGES.get(method, ())]
    csv, out, masks = str(tmp_path / "manifest.csv"), str(tmp_path / "run"), str(tmp_path / "masks")
    images = str(data.root / "valid" / "img")
    sets = [word for change in changes for word in ("--set", change)]
    assert main(["train", "--data", csv, "--out", out, "--method", method, "--device", "cpu", *sets]) == 0
    assert main(["evaluate", out, "--data", csv, "--device", "cpu"]) == 0
    assert main(["segment", out, images, "--out", masks, "--device", "cpu"]) == 0
    assert len(list(Path(masks).rglob("v*.png"))) == 4
