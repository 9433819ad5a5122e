"""Whole slides: memory against their size, and windows per second against the model alone.

python benchmarks/slides.py [--sides 5000 20000 60000] [--overlap 0.25] [--folder runs/slides] [--out FILE.md]

Slides are drawn once and kept in the folder. Each is segmented in a process of its own, whose peak of resident
memory (VmHWM) is read from Linux; before and after, it gives the model alone windows that it has read.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import measuring
from lpdseg import api
from lpdseg.data.synthetic import generate
from lpdseg.segmenting.slides.plan import plan_segments
from lpdseg.segmenting.slides.view import SlideSource
from lpdseg.segmenting.slides.window_model import WindowModel
from lpdseg.slides.grid import Grid
from lpdseg.slides.slide import Mpp
from lpdseg.slides.tissue_mask import find_tissue
from lpdseg.workflows.slides.state import read_state
from slide_drawing import MPP
from slide_table import options_of, tell

SIDE, BATCH, BARE_BATCHES = 224, 16, 12
KINDS = "geojson,ome-tiff,zarr,csv"
_MEASURE = """
import json, sys, slides
from pathlib import Path
folder, slide, overlap, workers = sys.argv[1:]
print(json.dumps(slides.measure(Path(folder), Path(slide), float(overlap), int(workers))))
"""
"""Not this file itself, which its readers would import, and PyTorch with it; those of the command line do not."""

TITLES = (
    "side, px", "windows", "windows/s", "model alone", "lost", "CPU beside it", "waiting", "tissue + files, s",
    "peak, MiB", "of a reader, MiB", "outputs, MiB",
)  # fmt: skip


def main() -> None:
    options = options_of(__doc__, [5_000, 20_000, 60_000], overlap=0.25, workers=1)
    run = tiny_run(options.folder)
    about = f"{torch.get_num_threads()} threads, {options.workers} readers, batches of {BATCH}, {run.name} model"
    tell(
        options, "Whole slides", f"`python benchmarks/slides.py`: {about}.", TITLES,
        lambda side, slide: cells(side, in_a_process(slide, options)),
    )  # fmt: skip


def tiny_run(folder: Path) -> Path:
    """A run of one step: what the weights are does not change what computing them costs."""
    run = folder / "tiny"
    if not (run / "checkpoints" / "best.json").is_file():
        data = generate(folder / "patches", size=SIDE, mpp=MPP, patches={"train": 24}, patients={"train": 2})
        changes = ["train.epochs=0.3", "train.batch=8", "loss.composite.weight=0", "loss.pseudo.weight=0.5"]
        api.train(data, run, preset="demo", overrides=changes, device="cpu")
    return run


def in_a_process(slide: Path, options: argparse.Namespace) -> dict[str, float]:
    words = [str(word) for word in (options.folder, slide, options.overlap, options.workers)]
    places = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(folder: Path, slide: Path, overlap: float, workers: int) -> dict[str, Any]:
    """Segments a slide, and gives the model alone some of its windows before and after."""
    before, cost = bare_rate(folder / "tiny", slide, overlap)
    out, readers, began, used = folder / "out", [0.0], time.perf_counter(), cpu_seconds()

    def look(*_: object) -> None:
        readers.extend(measuring.peak(child.pid) for child in multiprocessing.active_children() if child.pid)

    [result] = api.segment_slides(
        folder / "tiny", [slide], out, to=KINDS, overlap=overlap, workers=workers, batch=BATCH, device="cpu",
        gate="none", redo=True, progress=look,
    )  # fmt: skip
    seconds, used, peak = time.perf_counter() - began, cpu_seconds() - used, measuring.peak()
    state = read_state(out, slide.stem)
    assert state is not None
    after, cost_after = bare_rate(folder / "tiny", slide, overlap)
    return {
        "windows": result.windows,
        "rate": result.rate,
        "bare": (before + after) / 2,
        "beside": 1 - result.windows * (cost + cost_after) / 2 / used,
        "waiting": result.waiting,
        "rest": seconds - result.windows / result.rate,
        "peak": peak,
        "reader": max(readers),
        "outputs": sum(output["bytes"] for output in state["outputs"].values()) / 2**20,
    }


def cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended: readers, and what starts them."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


def bare_rate(run: Path, slide: Path, overlap: float) -> tuple[float, float]:
    """Windows per second of the model on windows that are in memory, and CPU seconds per window."""
    model = WindowModel(api.load(run, device="cpu", gate="none"))
    with SlideSource(slide, Mpp(MPP, MPP, "drawn"), MPP).open() as view:
        grid = Grid(view.size, SIDE, round(SIDE * overlap))
        segments = [s for s in plan_segments(grid, find_tissue(view).touches, BATCH) if len(s.lefts) > 1][
            :BARE_BATCHES
        ]
        pixels = [np.stack([view.read(x, s.y, SIDE, SIDE) for x in s.lefts]) for s in segments]

    def compute() -> None:
        for windows in pixels:
            model.compute(windows)

    compute()
    count, used = sum(map(len, pixels)), cpu_seconds()
    rate = count / measuring.seconds(compute)
    return rate, (cpu_seconds() - used) / count


def cells(side: int, found: dict[str, float]) -> list[str]:
    return [
        f"{side:,}", f"{found['windows']:,.0f}", f"{found['rate']:.1f}", f"{found['bare']:.1f}",
        f"{1 - found['rate'] / found['bare']:.0%}", f"{found['beside']:.1%}", f"{found['waiting']:.0%}",
        f"{found['rest']:.0f}",
        f"{found['peak']:.0f}", f"{found['reader']:.0f}", f"{found['outputs']:.1f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
