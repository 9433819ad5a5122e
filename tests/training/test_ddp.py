"""Two processes with the same global batch give the loss curve and parameters of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lpdseg.training.metrics import read_metrics

_TRAIN = """
import atexit, os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
# Registered first, so called last: by then the process has left the group, whose threads could abort its end.
# In one piece, as both processes write to one pipe.
atexit.register(lambda: os.write(1, f"in a group: {torch.distributed.is_initialized()}\\n".encode()))
from lpdseg.data.manifest import read_manifest
from lpdseg.settings import load_settings
from lpdseg.training.engine import Engine
from lpdseg.training.loop import train
settings = load_settings(None, sys.argv[4:])
train(settings, read_manifest(Path(sys.argv[1])), Path(sys.argv[2]), engine=Engine("cpu", devices=int(sys.argv[3])))
"""

_AGREE = """
import torch
torch.set_num_threads(1)
from lpdseg.sections import TrainSettings
from lpdseg.training.engine import Agreement, Engine, make_fabric
fabric = make_fabric(Engine("cpu", devices=2), TrainSettings(batch=2))
agreement, second = Agreement(fabric), fabric.global_rank == 1
assert agreement.any(second, False) == [True, False]
assert agreement.any(False, not second) == [False, True]
assert agreement.any(False, False) == [False, False]
assert agreement.any(second, not second) == [True, True]
print("agreed", flush=True)
"""


@pytest.mark.e2e
def test_what_one_process_says_is_known_to_both(tmp_path: Path) -> None:
    (tmp_path / "agree.py").write_text(_AGREE)
    done = subprocess.run(
        [sys.executable, "agree.py"], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.count("agreed") == 2, done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize(("batch", "epochs"), [(4, 2), (2, 1)])
def test_two_processes_equal_one(batch: int, epochs: int, tmp_path: Path) -> None:
    """Of two composites each process has one; of a single one the second process has none."""
    rng = np.random.default_rng(1)
    lines = ["path,pink,blue,split,patient,mask"]
    for number in range(16):
        labels = ((1, 0), (0, 1), (1, 1))[number % 3]
        pixels = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
        pixels[..., 0] //= 1 + labels[1]
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{labels[0]},{labels[1]},train,t{number},")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "train.py").write_text(_TRAIN)
    overrides = [
        "model.encoder=resnet18", "model.stages=3", "model.freeze_norm=true", "model.prototypes=3",
        "model.prototype_dim=16", "model.hidden_dim=8", "loss.scale_weights=[0,0.1,1]",
        "predict.fusion=[0,0.4,0.6]", f"train.batch={batch}", f"train.epochs={epochs}", "train.precision=32-true",
        "train.log_every=1", "train.lr=1e-3", "loss.warmup=0.3", "loss.composite.weight=0.5",
        "loss.morphology.encoder=stain", "loss.morphology.fit=kmeans",
        "loss.contrast.weight=0.1", "loss.diversity.weight=0.5", "train.lr_warmup=0", "predict.background=power",
    ]  # fmt: skip
    for devices in (1, 2):
        arguments = [sys.executable, "train.py", "manifest.csv", f"run{devices}", str(devices), *overrides]
        done = subprocess.run(
            arguments, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("in a group: False") == devices, done.stdout
    one, two = (
        [row for row in read_metrics(tmp_path / name) if row["kind"] == "train"] for name in ("run1", "run2")
    )
    assert len(one) == len(two) == 8
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys()
        for name, value in first.items():
            if name != "kind":
                assert second[name] == pytest.approx(value, rel=2e-3, abs=1e-5), (first["step"], name)
    weights = []
    for name in ("run1", "run2"):
        state = json.loads((tmp_path / name / "checkpoints" / "best.json").read_text())
        weights.append(load_file(tmp_path / name / "checkpoints" / state["files"]["weights"]))
    for name, value in weights[0].items():
        # where a gradient is all but 0, rounding decides on the sign of a step of train.lr
        torch.testing.assert_close(weights[1][name], value, rtol=1e-2, atol=2e-3, msg=name)
