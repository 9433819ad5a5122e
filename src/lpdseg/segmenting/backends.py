"""The same segmenter with its network computed by another runtime than PyTorch."""

import hashlib
from pathlib import Path
from typing import get_args

from lpdseg.choices import Backend
from lpdseg.errors import SettingsError
from lpdseg.model.device import pick_device
from lpdseg.model.graph import write_graph
from lpdseg.model.runtime import OnnxNetwork, OpenvinoNetwork, RuntimeNetwork, difference
from lpdseg.segmenting.segmenter import Segmenter

_FOLDER = "exports"

TOLERANCE = 0.01
"""Largest difference of an output from PyTorch's in float32; logits are of the order of 1 to 10."""


def backend_device(backend: Backend, device: str) -> str:
    """Where PyTorch shall be: anywhere, or, for the other runtimes, on the CPU.

    **Raises:** `SettingsError` where they are asked to use something else, or there is no such backend.
    """
    if backend not in get_args(Backend):
        raise SettingsError(f"unknown backend {backend!r}; use {', '.join(get_args(Backend))}")
    if backend == "torch":
        return device
    if device != "auto" and pick_device(device).type != "cpu":
        raise SettingsError(f"the backend {backend} runs on the CPU, not on {device}; leave --device out")
    return "cpu"


def with_backend(segmenter: Segmenter, backend: Backend, run: Path, weights: str) -> Segmenter:
    """Exports the network into the run's folder, once for each set of weights and settings, and computes with that.

    What a runtime gives is compared with PyTorch each time: OpenVINO 2026.4 is wrong for a Swin, and says nothing.
    A graph in integers must be no further from PyTorch than it was when `quantise` found it good.

    **Arguments:**

    - `backend`: not `torch`.
    - `weights`: tells the checkpoint's weights from others, see `weights_digest`.

    **Raises:** `SettingsError` where the backend's extra is missing, it cannot compute the encoder, or nobody has
    made the graph in integers; `CheckpointError` for an exported file that is damaged; `OutputError` where the
    run's folder cannot be written.
    """
    name, _, integers = backend.partition("-")
    if integers:
        path = int8_place(segmenter, run, weights)
        if not path.is_file():
            raise SettingsError(
                f"{run} holds no graph in 8-bit integers for these settings; write it once with: "
                f"lpdseg export {run} --int8 DATA"
            )
    else:
        path = float_graph(segmenter, run, weights)
    exact: RuntimeNetwork = OnnxNetwork(path) if name == "onnx" else OpenvinoNetwork(path, half=False)
    allowed = TOLERANCE + 2 * exact.known_difference
    apart = difference(segmenter.model, exact)
    if not apart < allowed:  # no number is no agreement either
        raise SettingsError(
            f"the backend {backend} computes another network than PyTorch for this encoder: outputs differ by up "
            f"to {apart:.1e}; use --backend torch"
        )
    half = backend == "openvino" and segmenter.autocast
    return segmenter.computed_by(OpenvinoNetwork(path, half=True) if half else exact)


def float_graph(segmenter: Segmenter, run: Path, weights: str) -> Path:
    """The network as a graph in float32, in the run's folder; written where it is not there yet.

    **Raises:** as `with_backend`.
    """
    path = run / _FOLDER / f"{_name(segmenter, weights)}.onnx"
    if not path.is_file():
        write_graph(segmenter.model, segmenter.wanted, path)
    return path


def int8_place(segmenter: Segmenter, run: Path, weights: str) -> Path:
    """Where the graph in integers belongs, for `with_backend` to find it."""
    return run / _FOLDER / f"{_name(segmenter, weights)}-int8.onnx"


def _name(segmenter: Segmenter, weights: str) -> str:
    return hashlib.sha256(f"{weights} {segmenter.wanted}".encode()).hexdigest()[:16]
