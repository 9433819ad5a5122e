import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lpdseg import api
from lpdseg.errors import SettingsError
from lpdseg.model.lpd import LPD
from lpdseg.model.network import Network
from lpdseg.training import loop
from lpdseg.training.engine import compile_encoder

COMPILE = """
import warnings
import torch, transformers
from lpdseg.model.encoder import Encoder
from lpdseg.model.lpd import LPD
from lpdseg.training.engine import compile_encoder

config = transformers.ResNetConfig(
    embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", out_features=["stage1", "stage2"]
)
plain = {"mean": [0.5] * 3, "std": [0.25] * 3, "freeze_norm": True, "last_stride": None}
model = LPD(Encoder.from_config({"backbone": config.to_dict(), **plain}), (2, 2), 8, 7, 0.07).train()
images, weight, names = torch.rand(2, 3, 32, 32), model.bank.weight, list(model.state_dict())
wanted = model(images)
model.zero_grad()
wanted[1].maps.square().sum().backward()
gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
compile_encoder(model)
found = model(images)
model.zero_grad()
found[1].maps.square().sum().backward()
assert list(model.state_dict()) == names
torch.testing.assert_close(found[1].maps, wanted[1].maps, rtol=1e-4, atol=1e-4)
assert any("backbone" in name for name in gradients)
for name, one in model.named_parameters():
    if name in gradients:
        torch.testing.assert_close(one.grad, gradients[name], rtol=1e-3, atol=1e-3)
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
# Of a card that could round float32 to TF32, which is not wanted, nothing is said.
torch.cuda.is_available, torch.cuda.get_device_capability = lambda: True, lambda: (9, 0)
with warnings.catch_warnings(record=True) as told:
    torch._inductor.compile_fx._warn_tf32_disabled.__wrapped__()
assert told == []
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_encoder_computes_the_same(tmp_path: Path) -> None:
    # In a process of its own: the tests' checks of types do not survive the compiler.
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_training_compiles_where_it_is_asked_to(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Network] = []
    monkeypatch.setattr(loop, "compile_encoder", seen.append)
    options = [*small_settings, "train.epochs=0.34", "train.validations=0"]
    for compiled in (False, True):
        changes = [*options, f"train.compile={compiled}"]
        api.train(small_data, tmp_path / str(compiled), classes="pink,blue", overrides=changes, device="cpu")
        assert len(seen) == compiled


def test_a_missing_compiler_is_told(tiny_lpd: Callable[..., LPD], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SettingsError, match=r"train\.compile = true needs a C\+\+ compiler"):
        compile_encoder(tiny_lpd())
