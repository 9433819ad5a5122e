"""A run → an ONNX graph for other programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lpdseg.checkpoint import one_state
from lpdseg.data.opening import same_classes
from lpdseg.data.records import Manifest
from lpdseg.errors import SettingsError
from lpdseg.export.int8 import Quantised, quantise
from lpdseg.model.graph import GraphFacts, write_graph
from lpdseg.model.runtime import OnnxNetwork, difference
from lpdseg.outputs import GRAPH, check_outputs
from lpdseg.quiet import quiet
from lpdseg.segmenting.backends import int8_place
from lpdseg.segmenting.edits import Edits
from lpdseg.segmenting.loading import load_segmenter, weights_digest
from lpdseg.segmenting.recipe import RECIPE, as_text
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.sharing.hub import local


def export_graph(
    run: str | Path,
    out: str | Path,
    *,
    checkpoint: str = "best",
    edits: str | Path | Edits | None = None,
    **changes: Any,
) -> tuple[GraphFacts, float]:
    """Writes the network as an ONNX file for other programs, and compares the two at another batch and size.

    **Arguments:**

    - `out`: the file; see `write_graph` for what it takes, `GraphFacts` for what it gives, and
      `lpdseg.segmenting.recipe` for how a mask is made of that, which is in its metadata.
    - `edits`: see `load`; they are part of how a mask is made.
    - `changes`: prediction settings, such as `source="maps"` for class maps where there is a head.

    **Returns:** the facts, and the largest difference of any output from PyTorch's.

    **Raises:** `SettingsError` where the extra `onnx` is not installed or the encoder cannot be exported;
    `CheckpointError`; `OutputError`, also where `out` is there and is no such file.
    """
    check_outputs([(Path(out), GRAPH)], [run, _file(edits)])
    with one_state(Path(run), checkpoint):
        segmenter = _load(run, checkpoint, edits, **changes)
        recipe = {RECIPE: as_text(segmenter, Path(run), checkpoint)}
    facts = write_graph(segmenter.model, segmenter.wanted, Path(out), recipe)
    return facts, difference(segmenter.model, OnnxNetwork(Path(out)))


def export_int8(
    run: str | Path,
    data: str | Path | Manifest,
    out: str | Path | None = None,
    *,
    classes: str | None = None,
    mask_values: Sequence[str] = (),
    checkpoint: str = "best",
    edits: str | Path | Edits | None = None,
) -> Quantised:
    """Writes the network as an ONNX file in 8-bit integers, for the backends `onnx-int8` and `openvino-int8`.

    **Arguments:**

    - `data`: what the run was trained on: training patches give the ranges, validation masks the comparison.
    - `out`: the file; None puts it where the backends look for it, in the run's folder.
    - `classes`, `mask_values`: as for `evaluate`.
    - `edits`: see `export_graph`; they need `out`, since the backends' own file serves with and without.

    **Raises:** as `export_graph`; `SettingsError` also where the integers cost more than 0.3 points of mIoU.
    """
    if edits is not None and out is None:
        raise SettingsError(
            "the graph that the backends look for serves with and without edits, which they take when predicting; "
            "leave the edits out, or name a file for them with --out"
        )
    if out is not None:
        check_outputs([(Path(out), GRAPH)], [run, _file(edits), data if isinstance(data, str | Path) else None])
    folder = local(run)
    with one_state(folder, checkpoint):
        segmenter = _load(folder, checkpoint, edits)
        weights, recipe = weights_digest(folder, checkpoint), {RECIPE: as_text(segmenter, folder, checkpoint)}
    place = int8_place(segmenter, folder, weights) if out is None else Path(out)
    manifest = same_classes(segmenter.classes, data, classes, mask_values)
    return quantise(segmenter, manifest, folder, weights, place, recipe)


def _file(edits: str | Path | Edits | None) -> str | Path | None:
    return edits.source if isinstance(edits, Edits) else edits


def _load(run: str | Path, checkpoint: str, edits: str | Path | Edits | None, **changes: Any) -> Segmenter:
    with quiet():
        return load_segmenter(Path(run), checkpoint, "cpu", edits=edits, **changes)
