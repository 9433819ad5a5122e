import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lpdseg import api
from lpdseg.data.importers import load_data
from lpdseg.insight.coverage import measure_coverage
from lpdseg.model.lpd import LPD
from lpdseg.tissue import tissue_classes


@pytest.mark.parametrize("source", ["auto", "head"])
def test_the_prototypes_of_two_stages_are_those_of_the_first(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, source: str
) -> None:
    changes = [*small_settings, "train.epochs=0.67", "model.prototypes=2", f"predict.source={source}"]
    overrides = [*changes, "loss.contrast.encoder=self"]
    data = load_data(small_data, tissue_classes("pink,blue"))
    api.train(data, tmp_path / "run", method="pbip", overrides=overrides, device="cpu")
    segmenter = api.load_for_prototypes(tmp_path / "run", device="cpu")
    state = json.loads((tmp_path / "run" / "checkpoints" / "best.json").read_text())
    saved = load_file(tmp_path / "run" / "checkpoints" / state["files"]["weights"])
    assert isinstance(segmenter.model, LPD) and not segmenter.model.training
    kept = {name.removeprefix("classifier."): value for name, value in saved.items() if "classifier." in name}
    assert kept.keys() == segmenter.model.state_dict().keys()
    assert all(torch.equal(kept[name], value) for name, value in segmenter.model.state_dict().items())
    assert segmenter.by_head is False
    assert measure_coverage(segmenter, data, "valid")["prototypes"] == 4


def test_the_prototypes_of_one_stage_are_those_that_predict(small_run: Path) -> None:
    ours, theirs = api.load_for_prototypes(small_run, device="cpu"), api.load(small_run, device="cpu")
    assert ours.settings == theirs.settings
    assert all(torch.equal(a, b) for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True))


def test_a_run_that_knows_of_no_temperature_has_1(small_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    path = run / "checkpoints" / "best.json"
    state = json.loads(path.read_text("utf-8"))
    assert api.load(run, device="cpu").calibration.temperature == state.pop("temperature")
    path.write_text(json.dumps(state), "utf-8")
    assert api.load(run, device="cpu").calibration.temperature == 1
