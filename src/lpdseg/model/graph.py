"""A network as an ONNX graph: pixels in, class maps, image-level logits and dense logits out.

B images (any number), H x W pixels (any multiple of the encoder's stride), C classes.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from lpdseg.choices import ImageMerge, Merge
from lpdseg.errors import CheckpointError, SettingsError
from lpdseg.extras import needed
from lpdseg.files import replacing
from lpdseg.model.network import Network, Reading, Wanted
from lpdseg.schema import Described, Kind, conform

KEY = "lpdseg"
"""Of the graph's metadata: a JSON object with what `GraphFacts` holds."""

_IMAGES = 2  # of the example: one would be taken for a number that never changes


@dataclass(frozen=True)
class GraphFacts:
    """What a graph gives.

    - `outputs`: their names in order: `map_l` and `logits_l` of scale l, `dense`.
    - `scales`, `stride`: of the encoder.
    - `parts`, `retired`: see `Network.parts` and `Network.retired`.
    """

    wanted: Wanted
    outputs: tuple[str, ...]
    scales: int
    stride: int
    parts: tuple[int, ...] | None = None
    retired: tuple[int, ...] = ()

    def as_json(self) -> str:
        """As text for the graph's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: object = "a graph") -> "GraphFacts":
        """What `as_json` wrote; `source` is what an error message names.

        **Raises:** `CheckpointError` for anything else.
        """
        told = read_metadata(_Facts, text, source)
        wanted = Wanted(tuple(told.wanted.levels), told.wanted.merge, told.wanted.image_merge, told.wanted.dense)
        parts = None if told.parts is None else tuple(told.parts)
        return cls(wanted, tuple(told.outputs), told.scales, told.stride, parts, tuple(told.retired))


_Level = Annotated[int, Field(ge=0, lt=64)]
_Parts = Annotated[list[Annotated[int, Field(ge=0, lt=1 << 16)]], Field(max_length=1 << 16)]


class _Wanted(Described):
    levels: Annotated[list[_Level], Field(max_length=64)]
    merge: Merge
    image_merge: ImageMerge
    dense: bool


class _Facts(Described):
    """`GraphFacts` in a graph that may be anybody's."""

    wanted: _Wanted
    outputs: Annotated[
        list[Annotated[str, Field(pattern=r"^((map|logits)_[0-9]{1,2}|dense)$")]],
        Field(min_length=1, max_length=129),
    ]
    scales: Annotated[int, Field(ge=1, le=64)]
    stride: Annotated[int, Field(ge=1, le=4096)]
    parts: _Parts | None = None
    retired: _Parts = Field(default_factory=list)


def read_metadata(kind: type[Kind], text: str, source: object) -> Kind:
    """JSON of a graph's metadata, once it is known to be of a kind.

    **Raises:** `CheckpointError`.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the metadata of {source} are no JSON ({error}); export the run again") from error
    return conform(kind, values, f"the metadata of {source}", CheckpointError, "export the run again")


def outputs_of(reading: Reading) -> dict[str, Tensor]:
    """A reading by the names of a graph's outputs, in their order; see `GraphFacts`."""
    found = {f"map_{level}": reading.maps[level] for level in sorted(reading.maps)}
    found |= {f"logits_{level}": reading.logits[level] for level in sorted(reading.logits)}
    return found if reading.dense is None else found | {"dense": reading.dense}


def facts_of(network: Network, wanted: Wanted, outputs: Sequence[str]) -> GraphFacts:
    """What the graph of a network gives."""
    parts, retired = (network.parts, tuple(sorted(network.retired))) if wanted.dense else (None, ())
    return GraphFacts(wanted, tuple(outputs), network.scales, network.stride, parts, retired)


class _Graph(nn.Module):
    """A network with its question built in, and its answer as a plain tuple."""

    def __init__(self, network: Network, wanted: Wanted) -> None:
        super().__init__()
        self.network, self.wanted = network, wanted

    def named(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        return outputs_of(self.network.read(images, *astuple(self.wanted)))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        return tuple(self.named(images).values())


def write_graph(
    network: Network, wanted: Wanted, path: Path, metadata: Mapping[str, str] | None = None
) -> GraphFacts:
    """Writes `path`, an ONNX file that takes `images`, RGB in [0, 1], B x 3 x H x W in float32.

    `metadata` is added to that of the graph, by name.

    **Raises:** `SettingsError` where the extra `onnx` is not installed, or PyTorch cannot trace the encoder for
    images of any size; `OutputError` where the file cannot be written.
    """
    needed("onnx", "onnx", "onnxscript")
    from lpdseg.model.graph_cleaning import clean_graph

    graph = _Graph(network, wanted).eval()
    example = torch.rand(_IMAGES, 3, *network.encoder.example, device=network.device)
    any_size = torch.export.Dim.DYNAMIC
    try:
        with _no_chatter(), torch.no_grad():
            outputs = tuple(graph.named(example))
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
                input_names=["images"],
                output_names=list(outputs),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        backbone: Any = network.encoder.backbone
        raise SettingsError(
            f"PyTorch cannot write the encoder, of the kind {backbone.config.model_type}, as a graph for images of "
            "any size; use the backend torch for this run"
        ) from error
    assert program is not None
    facts = facts_of(network, wanted, outputs)
    with replacing(path) as temporary:
        program.save(temporary, external_data=False)
        clean_graph(temporary, {KEY: facts.as_json(), **(metadata or {})})
    return facts


@contextmanager
def _no_chatter() -> Iterator[None]:
    """The exporter tells of optional libraries that it does not find, and of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
