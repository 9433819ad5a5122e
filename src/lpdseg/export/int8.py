"""A run's network in 8-bit integers: calibrated on training patches, and refused where masks get worse.

B images, H x W pixels.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from lpdseg.data.patches import read_patch
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.errors import SettingsError
from lpdseg.evaluation.split import observe_split, read_labelled, score_split
from lpdseg.maps.pad import as_pixels, pad_to_stride
from lpdseg.model.quantise import add_metadata, write_int8_graph
from lpdseg.model.runtime import INT8_KEY, OnnxNetwork, difference
from lpdseg.segmenting.backends import float_graph, with_backend
from lpdseg.segmenting.segmenter import Segmenter

_PATCHES = 128
_MOST_LOST = 0.3
"""mIoU, in points, that integers may cost."""


@dataclass(frozen=True)
class Quantised:
    """How the integers compare with float32.

    - `path`: the graph.
    - `patches`: training patches that the ranges come from.
    - `miou`: in per cent, of float32 and of the integers on the validation split; None where it has no masks.
    - `apart`: largest difference of an output for noise.
    """

    path: Path
    patches: int
    miou: tuple[float, float] | None
    apart: float


def quantise(
    segmenter: Segmenter,
    data: Manifest,
    run: Path,
    weights: str,
    out: Path,
    metadata: Mapping[str, str] | None = None,
) -> Quantised:
    """Writes `out`, the segmenter's network in integers.

    **Arguments:**

    - `segmenter`: around the PyTorch network on the CPU.
    - `data`: its training patches give the ranges, its validation masks the comparison.
    - `weights`: see `with_backend`.
    - `metadata`: of the graph, by name, beside its own.

    **Raises:** `SettingsError` where the extra `onnx` is not installed, the encoder cannot be exported, or the
    integers cost more than 0.3 points of mIoU; `DataError` without training patches; `OutputError`.
    """
    records = data.split("train")
    drawn = np.random.default_rng(0).permutation(len(records))[:_PATCHES]
    chosen = [records[index] for index in sorted(drawn.tolist())]
    path = float_graph(segmenter, run, weights)
    exact = with_backend(segmenter, "onnx", run, weights)
    with tempfile.TemporaryDirectory() as folder:  # integers that are refused leave nothing in the run
        trial = Path(folder) / "int8.onnx"
        write_int8_graph(path, _batches(chosen, segmenter), trial)
        network = OnnxNetwork(trial)
        miou = _compare(exact, segmenter.computed_by(network), data)
        if miou is not None and miou[0] - miou[1] > _MOST_LOST:
            raise SettingsError(
                f"8-bit integers cost this model {miou[0] - miou[1]:.2f} points of validation mIoU "
                f"({miou[0]:.2f} → {miou[1]:.2f}), more than {_MOST_LOST}; use the backend onnx or openvino"
            )
        found = Quantised(out, len(chosen), miou, difference(segmenter.model, network))
        facts = {"patches": found.patches, "miou": miou, "difference": found.apart}
        add_metadata(trial, {INT8_KEY: json.dumps(facts), **(metadata or {})}, out)
    return found


def _batches(records: list[PatchRecord], segmenter: Segmenter) -> Iterator[Float[np.ndarray, "B 3 H W"]]:
    for record in records:  # one by one, since sizes may differ
        pixels = as_pixels(torch.from_numpy(read_patch(record.path).transpose(2, 0, 1)[None].copy()))
        yield pad_to_stride(pixels, segmenter.model.stride).numpy()


def _compare(exact: Segmenter, integers: Segmenter, data: Manifest) -> tuple[float, float] | None:
    """Validation mIoU of both, under the gate of the settings; None without masks, or pixels to compare."""
    records = [record for record in data.records if record.split == "valid" and record.mask is not None]
    if not records:
        return None
    batches = read_labelled(records, data.classes, exact.settings.batch, "valid")
    found = []
    for one in (exact, integers):
        miou = score_split(one, observe_split(one, batches), "valid")[0]["miou"]
        if miou is None:
            return None
        found.append(float(miou))
    return found[0], found[1]
