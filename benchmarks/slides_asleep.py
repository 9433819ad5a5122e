"""How much of a slide goes on beside the model: one that sleeps stands for a GPU, which needs no core.

python benchmarks/slides_asleep.py [--sides 5000] [--rate 300] [--count 4] [--folder runs/slides] [--out FILE.md]

The model takes a batch and computes so many windows a second, one batch after another; all else is as `lpdseg
segment` does it. Slides are tissue everywhere, and become OME-TIFF and CSV: one alone, and some in one call.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gpu_slides import OVERLAP, many_slides
from lpdseg.cores import allowed_cores
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.slides import engine
from lpdseg.segmenting.slides.plan import Segment
from lpdseg.segmenting.slides.window_model import Blended
from lpdseg.slides.grid import Grid
from slide_table import options_of, tell
from slides import BATCH, SIDE, tiny_run

TITLES = ("side, px", "windows", "asleep, s", "one slide, s", "slides in one call", "asleep, s", "all, s", "ratio")


class Asleep:
    """Stands for `WindowModel`: `rate` windows a second, one batch after another, without a core."""

    def __init__(self, segmenter: Segmenter, rate: float) -> None:
        self._channels, self._rate, self._free = len(segmenter.channel_names), rate, 0.0

    def begin(self, pixels: np.ndarray, segment: Segment, *_: object) -> Callable[[], Blended]:
        self._free = ready = max(self._free, time.monotonic()) + len(segment.lefts) / self._rate

        def fetch() -> Blended:
            time.sleep(max(0.0, ready - time.monotonic()))
            return Blended(np.ones((self._channels, len(pixels), segment.width(len(pixels))), np.float32))

        return fetch


def main() -> None:
    options = options_of(__doc__, [5_000], rate=300, count=4)
    run = tiny_run(options.folder)
    engine.WindowModel = partial(Asleep, rate=options.rate)  # type: ignore[assignment, misc]

    def row(side: int, slide: Path) -> list[str]:
        grid = Grid((side, side), SIDE, round(SIDE * OVERLAP))
        windows = grid.rows * grid.columns
        alone, together = (took(run, slide, count) for count in (1, options.count))
        asleep = windows / options.rate
        return [
            f"{side:,}", f"{windows:,}", f"{asleep:.1f}", f"{alone:.1f}", str(options.count),
            f"{asleep * options.count:.1f}", f"{together:.1f}", f"{together / asleep / options.count:.2f}",
        ]  # fmt: skip

    about = f"{allowed_cores()} cores, {options.rate} windows/s asleep, batches of {BATCH}"
    about = f"`python benchmarks/slides_asleep.py`: {about}."
    tell(options, "Slides beside a model that sleeps", about, TITLES, row, full=True)


def took(run: Path, slide: Path, count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return many_slides(run, slide, Path(folder) / "slides", torch.device("cpu"), BATCH, None, count)


if __name__ == "__main__":
    main()
