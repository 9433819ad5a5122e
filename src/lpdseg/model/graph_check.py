"""What a graph that may be anybody's holds, before a runtime sees it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lpdseg.errors import CheckpointError
from lpdseg.extras import needed

_MOST_BYTES = 1 << 31
"""More than a message of protobuf has."""

_DOMAINS = ("", "ai.onnx", "com.microsoft")


def check_graph(path: Path) -> dict[str, str]:
    """Reads a graph without computing anything, and refuses what none of this package has: weights in other files,
    loops, branches, functions, and operators of others.

    **Returns:** its metadata.

    **Raises:** `CheckpointError`; `SettingsError` where onnx is not installed.
    """
    needed("onnx", "onnx")
    import onnx

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        model: Any = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # its errors share no class
        raise CheckpointError(f"{path} cannot be read as an ONNX graph; remove it and run again") from error
    fault = next(_faults(model), None)
    if fault is not None:
        raise CheckpointError(
            f"{path} holds {fault}, as no graph does that this package wrote; remove it and run again"
        )
    return {entry.key: entry.value for entry in model.metadata_props}


def _faults(model: Any) -> Iterator[str]:
    from onnx import AttributeProto as Kinds
    from onnx.external_data_helper import uses_external_data

    if len(model.functions):
        yield "functions"
    if len(model.graph.sparse_initializer):
        yield "sparse weights"
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        if node.domain not in _DOMAINS:
            yield f"an operator of {node.domain!r:.60}"
        for attribute in node.attribute:
            if attribute.type in (Kinds.GRAPH, Kinds.GRAPHS):
                yield f"a graph within a graph ({node.op_type:.60})"
            tensors += [attribute.t, *attribute.tensors]
    if any(map(uses_external_data, tensors)):
        yield "weights that lie in another file"
