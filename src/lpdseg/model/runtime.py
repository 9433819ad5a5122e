"""A graph that a runtime other than PyTorch computes, as a network to predict with.

B images, H x W pixels, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import astuple
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from lpdseg.choices import ImageMerge, Merge
from lpdseg.errors import CheckpointError, SettingsError
from lpdseg.extras import needed
from lpdseg.maps.pad import STRIDE
from lpdseg.model.graph import KEY, GraphFacts, read_metadata
from lpdseg.model.network import Network, Reading, Wanted
from lpdseg.schema import Described

INT8_KEY = "lpdseg_int8"
"""Of the metadata of a graph in 8-bit integers: a JSON object with its `difference` from PyTorch and its mIoU."""


class RuntimeNetwork(Network, ABC):
    """Answers the one question that the graph has built in."""

    facts: GraphFacts
    known_difference: float = 0.0
    """How far a graph in integers was from PyTorch when it was made; 0 in float."""

    @abstractmethod
    def run(self, images: Float[np.ndarray, "B 3 H W"]) -> list[np.ndarray]:
        """The graph's outputs in order."""

    @property
    def scales(self) -> int:
        """Those of the encoder that was exported."""
        return self.facts.scales

    @property
    def stride(self) -> int:
        """That of the encoder that was exported."""
        return self.facts.stride

    @property
    def device(self) -> torch.device:
        """Pixels come from and results go to the CPU's memory."""
        return torch.device("cpu")

    @property
    def has_head(self) -> bool:
        """Whether the graph gives dense logits."""
        return "dense" in self.facts.outputs

    @property
    def parts(self) -> tuple[int, ...] | None:
        """Those of the network that was exported."""
        return self.facts.parts

    @property
    def retired(self) -> frozenset[int]:
        """Those of the network that was exported."""
        return frozenset(self.facts.retired)

    @property
    def has_maps(self) -> bool:
        """Whether the graph gives class maps."""
        return any(name.startswith("map_") for name in self.facts.outputs)

    def read(
        self,
        images: Float[Tensor, "B 3 H W"],
        levels: Collection[int],
        merge: Merge,
        image_merge: ImageMerge,
        dense: bool = False,
    ) -> Reading:
        """See `Network.read`.

        **Raises:** `SettingsError` for another question than that of the graph.
        """
        asked = Wanted(tuple(sorted(levels)), merge, image_merge, dense)
        if asked != self.facts.wanted:
            raise SettingsError(
                f"the exported graph answers {self.facts.wanted}, not {asked}; load the run again with these "
                "settings"
            )
        reading = Reading()
        for name, values in zip(self.facts.outputs, self.run(images.numpy()), strict=True):
            found = torch.from_numpy(values)
            kind, _, level = name.partition("_")
            if kind == "map":
                reading.maps[int(level)] = found
            elif kind == "logits":
                reading.logits[int(level)] = found
            else:
                reading.dense = found
        return reading


class OnnxNetwork(RuntimeNetwork):
    """Computed by ONNX Runtime in float32, on as many threads as PyTorch has.

    **Raises:** `SettingsError` where the extra `onnx` is not installed, `CheckpointError` for a file that holds no
    graph of this package.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        needed("onnx", "onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no class
            raise CheckpointError(f"{path} cannot be read as an ONNX graph; remove it and run again") from error
        told = self._session.get_modelmeta().custom_metadata_map
        self.facts = _facts(told.get(KEY), path)
        self.known_difference = _known_difference(told.get(INT8_KEY), path)

    def run(self, images: Float[np.ndarray, "B 3 H W"]) -> list[np.ndarray]:
        """See `RuntimeNetwork.run`."""
        found: list[np.ndarray] = self._session.run(None, {"images": images})
        return found


class OpenvinoNetwork(RuntimeNetwork):
    """Computed by OpenVINO on the CPU, on as many threads as PyTorch has.

    **Arguments:**

    - `half`: in bfloat16 where the runtime prefers it, else in float32.

    **Raises:** as `OnnxNetwork`, with the extra `openvino`.
    """

    def __init__(self, path: Path, half: bool) -> None:
        super().__init__()
        needed("openvino", "openvino")
        import openvino

        core = openvino.Core()
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        try:
            graph: Any = core.read_model(path)
        except RuntimeError as error:
            raise CheckpointError(f"{path} cannot be read as an ONNX graph; remove it and run again") from error
        found, made = (
            graph.get_rt_info(["framework", key]).astype(str) if graph.has_rt_info(["framework", key]) else None
            for key in (KEY, INT8_KEY)
        )
        self.facts = _facts(found, path)
        self.known_difference = _known_difference(made, path)
        self._compiled: Any = core.compile_model(graph, "CPU", options)

    def run(self, images: Float[np.ndarray, "B 3 H W"]) -> list[np.ndarray]:
        """See `RuntimeNetwork.run`."""
        found = self._compiled(images)
        return [found[index] for index in range(len(self.facts.outputs))]


@torch.inference_mode()
def difference(network: Network, runtime: RuntimeNetwork) -> float:
    """The largest difference between two networks' outputs for noise, over all outputs."""
    side = network.stride * -(-2 * STRIDE // network.stride)
    images = torch.rand(3, 3, side, 2 * side, generator=torch.Generator().manual_seed(0))
    question = astuple(runtime.facts.wanted)
    ours, theirs = (_values(one.read(images, *question)) for one in (network, runtime))
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


def _values(reading: Reading) -> list[Tensor]:
    dense = [] if reading.dense is None else [reading.dense]
    return [*reading.maps.values(), *reading.logits.values(), *dense]


class _Int8(Described):
    difference: Annotated[float, Field(ge=0, le=1e6)]


def _known_difference(text: str | None, path: Path) -> float:
    return 0.0 if text is None else read_metadata(_Int8, text, path).difference


def _facts(text: str | None, path: Path) -> GraphFacts:
    if text is None:
        raise CheckpointError(f"{path} is no graph that this package wrote; export the run again")
    return GraphFacts.from_json(text, path)
