"""What counts as computed alike: backend, precision, and the graph in integers."""

from pathlib import Path
from typing import Any

from lpdseg.segmenting.backends import int8_place
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.workflows.slides.computed import computed_by
from lpdseg.workflows.slides.options import SlideOptions


def test_what_computes_alike_is_told_alike(segmenter: Segmenter, tmp_path: Path) -> None:
    def told(**options: Any) -> dict[str, Any]:
        return computed_by(segmenter, tmp_path, "w", SlideOptions(**options))

    plain = told()
    assert plain == {"backend": "torch", "precision": "float32", "graph_sha256": None}
    assert told(batch=3, workers=2, overlap=0.1) == told(engine="ray", device="cpu") == plain
    assert told(backend="onnx") != plain != told(engine="ray")
    segmenter.autocast = True
    assert told()["precision"] == "bfloat16"
    place = int8_place(segmenter, tmp_path, "w")
    place.parent.mkdir()
    place.write_bytes(b"one")
    first = told(backend="onnx-int8")
    place.write_bytes(b"two")  # quantised again, on other data
    assert told(backend="onnx-int8") != first
