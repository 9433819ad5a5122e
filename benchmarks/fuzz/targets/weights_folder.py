"""What lies beside weights: `config.json`, the index of a set, figures of pixels, where they are from."""

import json
import math
from pathlib import Path

from lpdseg.errors import LpdsegError
from lpdseg.model.pretrained import read_normalisation
from lpdseg.model.weights_folder import check_weights_folder, hub_id_of
from mutations import json_changed as mutate

__all__ = ["KIND", "mutate", "parse", "seeds"]

KIND = "text"
_NAMES = ("config.json", "model.safetensors.index.json", "preprocessor_config.json", "conversion.json")


def seeds(folder: Path) -> list[bytes]:
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")
    values = {
        "model_type": "resnet", "image_mean": [0.485, 0.456, 0.406], "image_std": [0.2, 0.2, 0.2],
        "rescale_factor": 0.00392156862745098, "hub": {"id": "a/b"},
        "weight_map": {"a.weight": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"},
    }  # fmt: skip
    return [json.dumps(values).encode()]


def parse(data: bytes, folder: Path) -> None:
    for name in _NAMES:
        (folder / name).write_bytes(data)
    refused = None
    try:
        check_weights_folder(str(folder), "nvidia/mit-b1")
    except LpdsegError as error:
        refused = error
    assert isinstance(hub_id_of(str(folder)), str)
    mean, std = read_normalisation(str(folder), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert len(mean) == len(std) == 3 and all(map(math.isfinite, (*mean, *std)))
    if refused is not None:
        raise refused
