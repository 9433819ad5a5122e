"""The same segmenter with its network computed by another runtime than PyTorch."""

import hashlib
from pathlib import Path
from typing import Literal

from lpdseg.errors import SettingsError
from lpdseg.model.device import pick_device
from lpdseg.model.graph import write_graph
from lpdseg.model.runtime import Backend, OnnxNetwork, OpenvinoNetwork, difference
from lpdseg.segment.segmenter import Segmenter

_FOLDER = "exports"

_TOLERANCE = 0.01
"""Largest difference of an output from PyTorch's in float32; logits are of the order of 1 to 10."""


def backend_device(backend: Backend, device: str) -> str:
    """Where PyTorch shall be: anywhere, or, for the other runtimes, on the CPU.

    **Raises:** `SettingsError` where they are asked to use something else.
    """
    if backend == "torch":
        return device
    if device != "auto" and pick_device(device).type != "cpu":
        raise SettingsError(f"the backend {backend} runs on the CPU, not on {device}; leave --device out")
    return "cpu"


def with_backend(segmenter: Segmenter, backend: Literal["onnx", "openvino"], run: Path, weights: str) -> Segmenter:
    """Exports the network into the run's folder, once for each set of weights and settings, and computes with that.

    What a runtime gives is compared with PyTorch each time: OpenVINO 2026.4 is wrong for a Swin, and says nothing.

    **Arguments:**

    - `weights`: tells the checkpoint's weights from others, see `weights_digest`.

    **Raises:** `SettingsError` where the backend's extra is missing, or it cannot compute the encoder;
    `CheckpointError` for an exported file that is damaged; `OutputError` where the run's folder cannot be written.
    """
    name = hashlib.sha256(f"{weights} {segmenter.wanted}".encode()).hexdigest()[:16]
    path = run / _FOLDER / f"{name}.onnx"
    if not path.is_file():
        write_graph(segmenter.model, segmenter.wanted, path)
    exact = OnnxNetwork(path) if backend == "onnx" else OpenvinoNetwork(path, half=False)
    apart = difference(segmenter.model, exact)
    if not apart < _TOLERANCE:  # no number is no agreement either
        raise SettingsError(
            f"the backend {backend} computes another network than PyTorch for this encoder: outputs differ by up "
            f"to {apart:.1e}; use --backend torch"
        )
    half = backend == "openvino" and segmenter.autocast
    return segmenter.computed_by(OpenvinoNetwork(path, half=True) if half else exact)
