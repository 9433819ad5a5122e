"""An exported graph with its convolutions and matrix products in 8-bit integers.

B images, H x W pixels.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from lpdseg.extras import needed
from lpdseg.files import replacing

_KINDS = ["Conv", "MatMul", "Gemm"]
"""Operators in integers. Cosines are an Einsum and stay in float32, as do normalisations and softmaxes."""


def write_int8_graph(path: Path, images: Iterable[Float[np.ndarray, "B 3 H W"]], out: Path) -> None:
    """Quantises the graph at `path`: weights per channel, activations by the range that they have on `images`.

    ONNX Runtime and OpenVINO both compute the result in integers, and read its metadata as that of the original.

    **Arguments:**

    - `images`: RGB in [0, 1], with sides that are multiples of the encoder's stride; a hundred patches will do.

    **Raises:** `SettingsError` where the extra `onnx` is not installed; `OutputError`.
    """
    needed("onnx", "onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Batches(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.left, None)
            return None if batch is None else {"images": batch}

    with tempfile.TemporaryDirectory() as folder, _no_chatter():
        ready, done = str(Path(folder) / "ready.onnx"), str(Path(folder) / "int8.onnx")
        quant_pre_process(str(path), ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            done,
            Batches(),
            per_channel=True,
            op_types_to_quantize=_KINDS,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        kept = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
        add_metadata(Path(done), kept, out)


def add_metadata(path: Path, entries: dict[str, str], out: Path) -> None:
    """Writes the graph at `path` to `out` with more metadata.

    **Raises:** `OutputError`.
    """
    import onnx

    graph: Any = onnx.load(str(path))
    known = {entry.key: entry.value for entry in graph.metadata_props}
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, known | entries)
    with replacing(out) as temporary:
        onnx.save(graph, str(temporary))


@contextmanager
def _no_chatter() -> Iterator[None]:
    """The quantiser recommends preprocessing that was done."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
