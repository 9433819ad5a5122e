"""Calibration of thresholds and offsets on a split as large as BCSS-WSSS's: time, memory, a plain loop beside it.

python benchmarks/calibration.py [--patches 3418] [--subset 64] [--threads 2]

The evidence is drawn: four classes in smooth regions, maps that agree with them in part, glass in some images. No
network runs, for calibration needs none.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from lpdseg.evaluation.calibration import calibrate
from lpdseg.evaluation.sampled import sample_split
from lpdseg.evaluation.split import LabelledBatch, ObservedSplit
from lpdseg.model.encoders import build_encoder
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Evidence, Segmenter
from lpdseg.tissue import TissueClasses
from measuring import peak
from reference_calibration import plain_calibrate

SIDE, CLASSES, BATCH = 224, 4, 16
WAYS = {
    "head, glass": {"source": "head", "background": "glass"},
    "maps of three scales, power": {"source": "maps", "background": "power"},
}


def make_segmenter(**changes: str) -> Segmenter:
    """Only its shape matters: four scales, of which three are fused, and a head."""
    model = LPD(build_encoder("resnet18"), (1,) * CLASSES, width=8, hidden=8, temperature=0.07, head=8).eval()
    classes = TissueClasses(("TUM", "STR", "LYM", "NEC"), background=CLASSES)
    settings = PredictSettings.model_validate({"fusion": (0, 0.3, 0.3, 0.4), "refine": "none", **changes})
    return Segmenter(model, classes, settings, Calibration.plain(CLASSES), (0.0, 0.1, 1.0, 1.0), "mean")


def smooth(count: int, channels: int, side: int, cells: int, generator: torch.Generator) -> Tensor:
    fields = torch.randn(count, channels, cells, cells, generator=generator)
    return F.interpolate(fields, size=(side, side), mode="bilinear", align_corners=False)


def draw(segmenter: Segmenter, patches: int, seed: int = 0) -> ObservedSplit:
    """A split of so many patches, each with some of the classes; the images of a few batches serve all."""
    generator = torch.Generator().manual_seed(seed)
    images = [_images(BATCH, generator) for _ in range(4)]
    batches, evidence, told = [], [], []
    for number, first in enumerate(range(0, patches, BATCH)):
        count = min(BATCH, patches - first)
        held = torch.rand(count, CLASSES, generator=generator) < 0.5
        held[:, 0] |= ~held.any(1)
        regions = smooth(count, CLASSES, 56, 6, generator).masked_fill(~held[:, :, None, None], -9)
        truth = F.interpolate(regions, size=(SIDE, SIDE), mode="bilinear").max(1).indices.to(torch.uint8)
        shown = images[number % len(images)][:count]
        truth[shown[:, 1] > 225] = CLASSES
        told.append((0.7 * held + 0.6 * torch.rand(count, CLASSES, generator=generator)).clamp(max=1))
        noisy = (
            regions.clamp(min=-2)
            + smooth(count, CLASSES, 56, 14, generator)
            + torch.linspace(0, 1, 4)[:, None, None]
        )
        if segmenter.by_head:
            maps = {0: noisy.softmax(1)}
        else:
            sides = {1: 28, 2: 14, 3: 7}
            maps = {level: F.adaptive_avg_pool2d(noisy.sigmoid(), side) for level, side in sides.items()}
        batches.append(LabelledBatch(shown, truth.numpy(), tuple(f"p{first + i}" for i in range(count))))
        evidence.append(Evidence(maps, told[-1], (SIDE, SIDE), (SIDE, SIDE)))
    truth_held = torch.cat([batch.labels(CLASSES) for batch in batches]).numpy()
    return ObservedSplit(tuple(batches), tuple(evidence), torch.cat(told).numpy(), truth_held)


def _images(count: int, generator: torch.Generator) -> Tensor:
    density = (smooth(count, 1, SIDE, 9, generator) * 0.15 + 0.15).clamp(min=0.01)
    noise = 0.02 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return (255 * 10 ** -(density * torch.tensor([0.9, 1.3, 0.7])[:, None, None] + noise).clamp(min=0)).byte()


def clocks(call: Callable[[], object]) -> tuple[float, float, object]:
    """Seconds on the wall and of all threads, and what the call gave."""
    wall, busy = time.perf_counter(), time.process_time()
    found = call()
    return time.perf_counter() - wall, time.process_time() - busy, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=3418)
    parser.add_argument("--subset", type=int, default=64, help="patches on which the plain loop is timed")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    title = f"{CLASSES} classes and background, {SIDE} px, {chosen.threads} threads; seconds on the wall (of CPU)"
    table = Table(title=title, title_justify="left")
    for column in (
        "prediction",
        "patches",
        "sampling",
        "calibration",
        "plain loop",
        "ratio of CPU",
        "grew by",
    ):
        table.add_column(column, justify="right" if column != "prediction" else "left")
    for name, changes in WAYS.items():
        segmenter = make_segmenter(**changes)
        for count in (chosen.subset, chosen.patches):
            split = draw(segmenter, count)
            before = peak()
            *sampling, _ = clocks(lambda: sample_split(segmenter, split))  # noqa: B023
            *fast, found = clocks(lambda: calibrate(segmenter, split, offsets=True))  # noqa: B023
            grown = peak() - before
            cells = [name, str(count), _said(sampling), _said(fast)]
            if count == chosen.subset:
                *slow, plain = clocks(lambda: plain_calibrate(segmenter, split))  # noqa: B023
                assert isinstance(found, Calibration) and isinstance(plain, Calibration)
                same = torch.equal(found.thresholds, plain.thresholds) and torch.equal(found.offsets, plain.offsets)
                cells += [_said(slow), f"{slow[1] / fast[1]:.1f}" + ("" if same else ", OTHER CHOICE")]
            else:
                cells += ["", ""]
            table.add_row(*cells, f"{grown:.0f} MiB")
            assert isinstance(found, Calibration)
            print(name, count, np.round(found.thresholds.numpy(), 3), found.offsets.numpy(), flush=True)
    Console(width=140).print(table)


def _said(pair: list[float]) -> str:
    return f"{pair[0]:.1f} ({pair[1]:.1f})"


if __name__ == "__main__":
    main()
