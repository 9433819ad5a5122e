"""What benchmarks/gpu.py times of slides: windows a second against the model alone, and many slides in one call."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gpu_clock import seconds_each
from lpdseg import api
from lpdseg.segmenting.slides.view import SlideSource
from lpdseg.slides.slide import Mpp
from measuring import seconds
from slide_drawing import MPP, draw_slide

OVERLAP, KINDS = 0.25, "ome-tiff,csv"


@dataclass(frozen=True)
class Slide:
    """A slide of tissue alone: windows a second in all and of the model alone, share of waiting, seconds in all."""

    windows: int
    rate: float
    alone: float
    waiting: float
    seconds: float


def draw(folder: Path, side: int) -> Path:
    """Drawn once and kept."""
    path = folder / f"full-{side}.tif"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        draw_slide(path, side, full=True)
    return path


def one_slide(
    run: Path, slide: Path, out: Path, device: torch.device, side: int, batch: int, workers: int | None
) -> Slide:
    """Windows of `side` px; the model alone is given some that are in memory, before and after."""
    before = model_alone(run, slide, device, side, batch)
    results: list[api.SlideResult] = []
    took = seconds(lambda: results.extend(_segment(run, [slide], out, device, batch, workers)))
    alone = (before + model_alone(run, slide, device, side, batch)) / 2
    return Slide(results[0].windows, results[0].rate, alone, results[0].waiting, took)


def many_slides(
    run: Path, slide: Path, folder: Path, device: torch.device, batch: int, workers: int | None, count: int
) -> float:
    """Seconds for so many slides in one call, each the same pixels in a file of its own name; `folder` is new."""
    paths = []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        paths.append(folder / f"slide-{number:02}.tif")
        paths[-1].symlink_to(slide.resolve())
    return seconds(lambda: _segment(run, paths, folder / "many", device, batch, workers))


def model_alone(run: Path, slide: Path, device: torch.device, side: int, batch: int, batches: int = 8) -> float:
    """Windows a second with all views of the run, uploaded from memory, until probabilities are there."""
    segmenter = api.load(run, device=str(device), gate="none")
    with SlideSource(slide, Mpp(MPP, MPP, "drawn"), MPP).open() as view:
        columns = min(batch, max(1, view.size[0] // side))
        windows = [view.read(side * n, 0, side, side) for n in range(columns)]
    pixels = np.stack([windows[n % len(windows)] for n in range(batch)]).transpose(0, 3, 1, 2)
    images = torch.from_numpy(np.ascontiguousarray(pixels))
    images = images.pin_memory() if device.type == "cuda" else images

    def compute() -> None:
        there = images.to(device, non_blocking=True)
        segmenter.decide(segmenter.observe(there), there)

    return batch / seconds_each(compute, device, 2 if device.type == "cpu" else batches, batches)


def _segment(
    run: Path, slides: list[Path], out: Path, device: torch.device, batch: int, workers: int | None
) -> list[api.SlideResult]:
    return api.segment_slides(
        run, slides, out, to=KINDS, overlap=OVERLAP, batch=batch, workers=workers, device=str(device), gate="none",
        redo=True,
    )  # fmt: skip
