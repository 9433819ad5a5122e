"""What computes the labels of slides, as far as that changes them."""

from pathlib import Path
from typing import Any

import torch

from lpdseg.data.records import content_digest
from lpdseg.segmenting.backends import int8_place
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.workflows.slides.options import SlideOptions


def computed_by(segmenter: Segmenter, run: Path, weights: str, options: SlideOptions) -> dict[str, Any]:
    """Backend, precision and, in 8-bit integers, the digest of their graph, which depends on its data.

    Devices of one precision differ by rounding alone and count as the same. Workers of a cluster that choose a
    device for themselves choose its precision as well, so that it is not known here.

    **Arguments:**

    - `segmenter`: of this process.
    - `weights`: digest of the model's.
    """
    by_worker = options.engine == "ray" and options.backend == "torch" and options.device != "cpu"
    integers = options.backend.endswith("-int8")
    return {
        "backend": options.backend,
        "precision": "of each worker" if by_worker else "8-bit integers" if integers else _precision(segmenter),
        "graph_sha256": content_digest(int8_place(segmenter, run, weights)) if integers else None,
    }


def _precision(segmenter: Segmenter) -> str:
    if segmenter.autocast:
        return "bfloat16"
    return "tf32" if segmenter.device.type == "cuda" and torch.backends.cudnn.allow_tf32 else "float32"
