"""A graph's first run, by another process: it may be anybody's, and a runtime computes whatever it says."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from lpdseg.bounded import try_elsewhere
from lpdseg.errors import CheckpointError

_MOST_SECONDS = 120
_ROOM = 3 << 30
_ROOM_PER_BYTE = 6
"""Of the file: its weights are read, laid out anew for the processor, and in integers also widened."""

_ONNX = """
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 4
graph = onnxruntime.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
found = graph.run(None, {"images": images})
"""

_OPENVINO = """
options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
graph = openvino.Core().compile_model(sys.argv[2], "CPU", options)
told = graph({"images": images})
found = [told[index] for index in range(len(graph.outputs))]
"""

_RUNTIMES = {"onnx": ("onnxruntime", _ONNX), "openvino": ("openvino", _OPENVINO)}

_SAVE = """
if any(one.dtype != numpy.float32 for one in found) or sum(one.nbytes for one in found) > int(sys.argv[5]):
    sys.exit(4)
numpy.savez(sys.argv[4], *found)
"""


def first_run(
    runtime: str, path: Path, images: Float32[np.ndarray, "B 3 H W"], shapes: Mapping[str, tuple[int, ...]]
) -> list[np.ndarray] | None:
    """What a graph gives of a few images: float32, of the shapes that are asked for, by name and in order.

    None where no other process can be started.

    The processor's time and the memory are bounded where the system can do that.

    **Arguments:**

    - `runtime`: `onnx` or `openvino`.

    **Raises:** `CheckpointError` for a graph that gives anything else, or nothing.
    """
    library, run = _RUNTIMES[runtime]
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "images.npy", Path(folder) / "found.npz"
        np.save(given, images)
        most = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
        ended = try_elsewhere(
            f"import numpy, {library}",
            f"images = numpy.load(sys.argv[3], allow_pickle=False)\n{run}\n{_SAVE}",
            [str(path), str(given), str(found), str(most)],
            seconds=_MOST_SECONDS,
            room=_ROOM + _ROOM_PER_BYTE * path.stat().st_size,
        )
        if ended is None:
            return None
        if ended == 0 and found.is_file():
            with np.load(found, allow_pickle=False) as arrays:
                outputs = [arrays[name] for name in arrays.files]
            if [one.shape for one in outputs] == list(shapes.values()):
                return outputs
    raise CheckpointError(
        f"{path} does not compute what this run's network computes, or takes too much memory or time for it; "
        "remove it and run again, or use --backend torch"
    )
