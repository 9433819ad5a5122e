"""A graph that a runtime other than PyTorch computes, as a network to predict with.

B images, H x W pixels, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
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
from lpdseg.model.graph import KEY, GraphFacts, outputs_of, read_metadata
from lpdseg.model.network import Network, Reading, Wanted
from lpdseg.schema import Described

INT8_KEY = "lpdseg_int8"
"""Of the metadata of a graph in 8-bit integers: a JSON object with its `difference` from PyTorch and its mIoU."""


class RuntimeNetwork(Network, ABC):
    """Answers the one question that the graph has built in."""

    path: Path
    facts: GraphFacts

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
        self.path = path
        self.facts = facts_in(self._session.get_modelmeta().custom_metadata_map, path)

    def run(self, images: Float[np.ndarray, "B 3 H W"]) -> list[np.ndarray]:
        """See `RuntimeNetwork.run`."""
        try:
            found: list[np.ndarray] = self._session.run(None, {"images": images})
        except Exception as error:  # its errors share no class
            raise _told(error, self.path) from error
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
        place = ["framework", KEY]
        told = {KEY: graph.get_rt_info(place).astype(str)} if graph.has_rt_info(place) else {}
        self.path, self.facts = path, facts_in(told, path)
        self._compiled: Any = core.compile_model(graph, "CPU", options)

    def run(self, images: Float[np.ndarray, "B 3 H W"]) -> list[np.ndarray]:
        """See `RuntimeNetwork.run`."""
        try:
            found = self._compiled(images)
        except RuntimeError as error:
            raise _told(error, self.path) from error
        return [found[index] for index in range(len(self.facts.outputs))]


@torch.inference_mode()
def difference(network: Network, runtime: RuntimeNetwork) -> float:
    """The largest difference between two networks' outputs for noise, over all outputs."""
    images, question = noise(network.stride), astuple(runtime.facts.wanted)
    ours, theirs = (outputs_of(one.read(images, *question)) for one in (network, runtime))
    return furthest(ours, theirs)


def noise(stride: int) -> Float[Tensor, "3 3 h w"]:
    """Images in [0, 1] to compare runtimes on, of sides that an encoder of this stride takes."""
    side = stride * -(-2 * STRIDE // stride)
    return torch.rand(3, 3, side, 2 * side, generator=torch.Generator().manual_seed(0))


def furthest(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """The largest difference between outputs of one name; NaN where one of them is none."""
    return float(torch.stack([(ours[name] - theirs[name]).abs().max() for name in ours]).max())


class _NoMemoryError(CheckpointError, MemoryError):
    """A sentence, and what makes `if_it_fits` try less at once."""


def _told(error: Exception, path: Path) -> CheckpointError:
    """What a runtime's fault is."""
    if "alloc" in str(error):
        return _NoMemoryError(f"there is not enough memory to compute {path} for these images; give fewer at once")
    return CheckpointError(
        f"{path} cannot be computed for images of this size ({error!s:.200}); remove it and run again"
    )


class _Int8(Described):
    difference: Annotated[float, Field(ge=0, le=100)]  # of logits and maps, of the order of 1 to 10


def known_difference_in(metadata: Mapping[str, str], path: Path) -> float:
    """How far integers were from PyTorch when they were made, by a graph's metadata; 0 in float.

    **Raises:** `CheckpointError` for metadata that are none.
    """
    text = metadata.get(INT8_KEY)
    return 0.0 if text is None else read_metadata(_Int8, text, path).difference


def facts_in(metadata: Mapping[str, str], path: Path) -> GraphFacts:
    """What a graph's metadata say that it gives.

    **Raises:** `CheckpointError` where they say nothing of it, or what cannot be.
    """
    text = metadata.get(KEY)
    if text is None:
        raise CheckpointError(f"{path} is no graph that this package wrote; export the run again")
    return GraphFacts.from_json(text, path)
