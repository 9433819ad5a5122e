"""A run's folder as `lpdseg.load` opens it: a JSON, and tensors beside it. What was loaded segments.

An input is the length of the JSON in four bytes, the JSON, and a file of safetensors.
"""

import json
import shutil
import struct
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

import lpdseg
from lpdseg.checkpoint import save_checkpoint
from lpdseg.methods.table import METHODS
from lpdseg.model.encoder import Encoder
from lpdseg.segmenting.loading import about, trained_on
from lpdseg.settings import load_settings
from lpdseg.tissue import TissueClasses
from mutations import bytes_changed, json_changed, tensors_changed

__all__ = ["KIND", "SHARE", "mutate", "parse", "seeds"]

KIND = "image"
SHARE = 1
_IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
_WEIGHTS = "weights-00000003.safetensors"
_SMALL = ("prototypes=1", "prototype_dim=2", "hidden_dim=2", "head_width=8")
_LENGTH = struct.Struct("<I")


def seeds(folder: Path) -> list[bytes]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = {
        "model_type": "resnet", "depths": [1, 1, 1], "hidden_sizes": [2, 2, 4], "embedding_size": 2,
        "layer_type": "basic", "out_features": ["stage1", "stage2", "stage3"],
    }  # fmt: skip
    told = {"backbone": backbone, "mean": [0.5] * 3, "std": [0.25] * 3, "freeze_norm": False, "last_stride": None}
    found = []
    for method in ("lpd", "cam"):
        settings = load_settings(None, [f"method={method}", *(f"model.{one}" for one in _SMALL)])
        network: Any = METHODS[method].network(Encoder.from_config(told), settings, 2)
        state = {
            "step": 3, "steps": 3, "seconds": 1.0, "best": 50.0, "thresholds": [0.5, 0.5], "offsets": [0.0, 0.1],
            "temperature": 1.2, "valid": None, "classes": TissueClasses(("a", "b"), background=2).as_dict(),
            "encoder": network.encoder.config, "settings": settings.model_dump(mode="json"), "data": "0123456789",
            "mpp": 0.5, "patch": [32, 32], "corrected": None, "chunk": None, "waited": 0.0, "calibrated": 3,
        }  # fmt: skip
        weights = {f"model.{name}": values for name, values in network.state_dict().items()}
        run = folder / method
        save_checkpoint(run, "best", state, weights, None)
        text = (run / "checkpoints" / "best.json").read_bytes()
        found.append(_joined(json.dumps(json.loads(text)).encode(), save(weights)))
        shutil.rmtree(run)
    return found


def mutate(data: bytes, random: Random) -> bytes:
    state, tensors = _parts(data)
    match random.randrange(10):
        case 0:
            return bytes_changed(data, random)
        case 1 | 2 | 3:
            return _joined(json_changed(state, random), tensors)
        case _:
            return _joined(state, tensors_changed(tensors, random))


def parse(data: bytes, folder: Path) -> None:
    state, tensors = _parts(data)
    place = folder / "run" / "checkpoints"
    place.mkdir(parents=True, exist_ok=True)
    (place / "best.json").write_bytes(state)
    (place / _WEIGHTS).write_bytes(tensors)
    segmenter = lpdseg.load(place.parent, device="cpu")
    assert about(place.parent) and trained_on(place.parent)
    found = segmenter.segment(_IMAGE)
    assert found.mask.shape == _IMAGE.shape[:2] and np.isfinite(found.probabilities).all()


def _joined(state: bytes, tensors: bytes) -> bytes:
    return _LENGTH.pack(len(state)) + state + tensors


def _parts(data: bytes) -> tuple[bytes, bytes]:
    (length,) = _LENGTH.unpack(data[:4].ljust(4, b"\0"))
    return data[4 : 4 + length], data[4 + length :]
