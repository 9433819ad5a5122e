"""The same segmenter with its network computed by another runtime than PyTorch."""

import hashlib
from dataclasses import astuple
from pathlib import Path
from typing import get_args

import torch

from lpdseg.choices import Backend
from lpdseg.errors import CheckpointError, SettingsError
from lpdseg.model.device import pick_device
from lpdseg.model.graph import facts_of, outputs_of, write_graph
from lpdseg.model.graph_check import check_graph
from lpdseg.model.graph_trial import first_run
from lpdseg.model.runtime import (
    OnnxNetwork,
    OpenvinoNetwork,
    RuntimeNetwork,
    difference,
    facts_in,
    furthest,
    known_difference_in,
    noise,
)
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
    made the graph in integers; `CheckpointError` for an exported file that is damaged or of another network;
    `OutputError` where the run's folder cannot be written.
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
    apart, known = agreement(segmenter, name, path)
    exact: RuntimeNetwork = OnnxNetwork(path) if name == "onnx" else OpenvinoNetwork(path, half=False)
    if apart is None:
        apart = difference(segmenter.model, exact)
    allowed = TOLERANCE + (2 * known if integers else 0)
    if not apart < allowed:  # no number is no agreement either
        raise SettingsError(
            f"the backend {backend} computes another network than PyTorch for this encoder: outputs differ by up "
            f"to {apart:.1e}; use --backend torch"
        )
    half = backend == "openvino" and segmenter.autocast
    return segmenter.computed_by(OpenvinoNetwork(path, half=True) if half else exact)


@torch.inference_mode()
def agreement(segmenter: Segmenter, name: str, path: Path) -> tuple[float | None, float]:
    """How far a graph is from PyTorch for noise, and how far it was when it was made.

    A run's folder may be anybody's: nothing of its graph is computed here before another process has. None where
    no other process can be started.

    **Raises:** `CheckpointError` for another graph than that of the run's network.
    """
    told = check_graph(path)
    images = noise(segmenter.model.stride)
    ours = outputs_of(segmenter.model.read(images, *astuple(segmenter.wanted)))
    known = known_difference_in(told, path)
    if facts_in(told, path) != facts_of(segmenter.model, segmenter.wanted, tuple(ours)):
        raise CheckpointError(f"{path} is the graph of another network than this run's; remove it and run again")
    shapes = {key: tuple(values.shape) for key, values in ours.items()}
    found = first_run(name, path, images.numpy(), shapes)
    if found is None:
        return None, known
    return furthest(ours, dict(zip(ours, map(torch.from_numpy, found), strict=True))), known


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
