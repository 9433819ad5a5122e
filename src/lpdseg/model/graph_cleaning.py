"""An exported graph without what only its exporter needs: names that tell nothing, and traces of the machine."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

AXES = ("batch", None, "height", "width")
"""Names of the input's axes that may have any length."""


def clean_graph(path: Path, metadata: Mapping[str, str]) -> None:
    """Rewrites the graph at `path` with this metadata alone.

    Axes of any length get names that say what they are: `batch`, `height`, `width`, and for outputs `height_L` and
    `width_L` of scale L. The exporter's notes at nodes and values, such as lines of source with their paths, go.
    """
    import onnx

    model: Any = onnx.load(str(path))
    names = {
        axis.dim_param: name
        for axis, name in zip(model.graph.input[0].type.tensor_type.shape.dim, AXES, strict=True)
        if name is not None and axis.dim_param
    }
    for holder in _holders(model):
        if "metadata_props" in holder.DESCRIPTOR.fields_by_name:
            del holder.metadata_props[:]
        if "doc_string" in holder.DESCRIPTOR.fields_by_name:
            holder.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = re.sub(r"\w+", lambda word: names.get(word.group(), word.group()), axis.dim_param)
    for value in model.graph.output:
        level = value.name.rpartition("_")[2] if value.name[-1].isdigit() else "0"
        for axis, name in zip(value.type.tensor_type.shape.dim, AXES, strict=False):
            if axis.dim_param and name != "batch":
                axis.dim_param = f"{name}_{level}"
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(path))


def _holders(model: Any) -> Iterator[Any]:
    """Everything in a model that can hold notes."""
    yield model
    for function in model.functions:
        yield function
        yield from _within_nodes(function.node)
    yield from _within_graph(model.graph)


def _within_graph(graph: Any) -> Iterator[Any]:
    yield graph
    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        yield from values
    yield from _within_nodes(graph.node)


def _within_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield attribute
            if attribute.HasField("g"):
                yield from _within_graph(attribute.g)
            for graph in attribute.graphs:
                yield from _within_graph(graph)
            if attribute.HasField("t"):
                yield attribute.t
