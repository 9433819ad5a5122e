"""What 20 strokes of an expert are worth, beside training on for as long without them.

python benchmarks/correcting.py OUT [--seeds 0 1 2] [--patches 1200] [--weights FOLDER] [--set KEY=VALUE]

Generated patches; for each seed three runs: one on image-level labels, with the demo's settings, and two that go on
from it for the same few steps at the same rate, without a word (the control) and with corrections.

The expert is simulated. Of all training patches the ten are taken on whose masks most pixels are wrong; of these
alone true masks tell where to draw. In each, the largest region that is labelled wrongly gets a stroke of the class
that it is: a straight line of at most LENGTH px, WIDTH px wide, through the region's deepest point and along its
longest way; then the largest that is left, and so on. The expert draws nothing on background.

Figures are of the valid split. The last line of the output is one JSON object. A command that was interrupted goes
on.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from scipy import ndimage

from lpdseg import api
from lpdseg.checkpoint import has_checkpoint, read_state
from lpdseg.data.corrections import Corrections, Drawn, write_corrections
from lpdseg.data.patches import read_image, read_mask
from lpdseg.data.records import Manifest, PatchRecord, path_below
from lpdseg.data.synthetic import generate
from lpdseg.evaluation.bootstrap import Estimate, mean_miou, paired_difference
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.settings import parse_settings
from lpdseg.tissue import IGNORE
from lpdseg.training.options import in_few_steps

ROWS = ("before", "on, without a word", "on, with the strokes")
PATCHES, STROKES = 10, 20
LENGTH, WIDTH = 24.0, 6.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--patches", type=int, default=1200)
    parser.add_argument("--valid", type=int, default=160)
    parser.add_argument("--patients", type=int, default=6, help="of the valid split")
    parser.add_argument("--weights", default=None, help="of the encoder; by default the preset's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    data = generate(
        asked.out / "data",
        size=112,
        mpp=1.0,
        patches={"train": asked.patches, "valid": asked.valid},
        patients={"train": 24, "valid": asked.patients},
        train_masks=True,
    )
    found = [one_seed(asked, data, seed) for seed in asked.seeds]
    print(table(asked, data, found))
    print(json.dumps({row: [seed[row]["miou"] for seed in found] for row in ROWS}))


def one_seed(asked: argparse.Namespace, data: Manifest, seed: int) -> dict[str, dict[str, Any]]:
    """The record of each row on the valid split, with the share of wrong pixels on the corrected patches."""
    folder = asked.out / f"seed-{seed}"
    first = folder / "before"
    train(asked, data, first, preset="demo", weights=asked.weights, seed=seed)
    before = api.load(first, device=asked.device)
    file = folder / "corrections.geojson"
    if not file.exists():
        write_corrections(file, expert(before, data))
    strokes = json.loads(file.read_text(encoding="utf-8"))["features"]
    corrected = {one["properties"]["image"] for one in strokes}
    print(f"seed {seed}: {len(strokes)} strokes on {len(corrected)} patches", flush=True)
    settings = parse_settings(read_state(first, "best")["settings"], str(first))
    few = in_few_steps(settings, len(data.split("train")), asked.set).train
    gently = (f"train.epochs={few.epochs}", f"train.lr={few.lr}")
    train(asked, data, folder / "on", start=first, overrides=gently)
    train(asked, data, folder / "corrected", start=first, overrides=gently, corrections=file)
    runs = {
        row: api.load(folder / name, device=asked.device)
        for row, name in zip(ROWS, ("before", "on", "corrected"), strict=True)
    }
    return {
        row: {**api.evaluate(one, data)[0], "wrong": float(np.mean(list(errors(one, data, corrected).values())))}
        for row, one in runs.items()
    }


def train(asked: argparse.Namespace, data: Manifest, run: Path, **options: Any) -> None:
    resume = has_checkpoint(run, "last")
    overrides = ["predict.refine=none", *options.pop("overrides", ()), *asked.set]
    options = {"resume": True} if resume else {**options, "overrides": overrides}
    result = api.train(data, run, **options, device=asked.device)
    print(f"{run}: mIoU {result.miou:.2f} after {result.steps} steps, {result.seconds:.0f} s", flush=True)


def expert(segmenter: Segmenter, data: Manifest) -> Corrections:
    """Strokes on the worst training patches, as many on each as make `STROKES` together."""
    wrong = errors(segmenter, data)
    worst = sorted(wrong, key=lambda name: (-wrong[name], name))[:PATCHES]
    records = {path_below(record.path, data.root): record for record in data.split("train")}
    drawn: list[Drawn] = []
    for number, name in enumerate(worst, 1):
        most = STROKES * number // len(worst) - len(drawn)  # where a patch had less room, the next ones get more
        mask, truth = masks(segmenter, records[name], data)
        for c, line in strokes_of(mask, truth, len(data.classes), most):
            drawn.append(Drawn(name, data.classes.names[c], line, WIDTH))
    return Corrections("the expert", tuple(drawn))


def errors(segmenter: Segmenter, data: Manifest, names: set[str] | None = None) -> dict[str, float]:
    """The share of wrong pixels of training patches: all, or those of `names`."""
    found = {}
    for record in data.split("train"):
        name = path_below(record.path, data.root)
        if names is None or name in names:
            mask, truth = masks(segmenter, record, data)
            found[name] = float((mask != truth)[truth != IGNORE].mean())
    return found


def masks(segmenter: Segmenter, record: PatchRecord, data: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """The predicted and the true mask of a patch, in the internal numbering."""
    assert record.mask is not None
    image = read_image(record.path)
    values = segmenter.segment(image).mask
    return data.classes.to_internal()[values], read_mask(record.mask, data.classes, image.shape[:2])


def strokes_of(
    mask: np.ndarray, truth: np.ndarray, classes: int, most: int
) -> Iterator[tuple[int, shapely.LineString]]:
    """Class and line of at most `most` strokes in the largest wrong regions of a patch."""
    wrong = (mask != truth) & (truth < classes)
    for _ in range(most):
        found = largest(wrong, truth, classes)
        if found is None:
            return
        c, region = found
        line = longest_way(region)
        yield c, line
        near = line.buffer(WIDTH)  # no stroke over the one before
        y, x = np.mgrid[: wrong.shape[0], : wrong.shape[1]] + 0.5
        wrong = wrong & ~shapely.contains_xy(near, x, y)


def largest(wrong: np.ndarray, truth: np.ndarray, classes: int) -> tuple[int, np.ndarray] | None:
    """The largest connected region of wrong pixels that are of one class, and the class."""
    best: tuple[int, int, np.ndarray] | None = None
    for c in range(classes):
        labels, count = ndimage.label(wrong & (truth == c))
        if count:
            sizes = np.bincount(labels.ravel())[1:]
            if best is None or sizes.max() > best[0]:
                best = int(sizes.max()), c, labels == 1 + int(sizes.argmax())
    return None if best is None else best[1:]


def longest_way(region: np.ndarray) -> shapely.LineString:
    """The longest line of at most `LENGTH` px through the deepest point of a region that stays within it."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    ends = []
    for angle in np.arange(16) * np.pi / 16:
        step = np.array([np.sin(angle), np.cos(angle)])
        ends.append([_reach(region, (int(y), int(x)), sign * step) * sign * step for sign in (-1, 1)])
    first, last = max(
        ends, key=lambda pair: float(np.abs(pair[1] - pair[0]).sum() and np.hypot(*(pair[1] - pair[0])))
    )
    return shapely.LineString([(x + 0.5 + end[1], y + 0.5 + end[0]) for end in (first, last)])


def _reach(region: np.ndarray, start: tuple[int, int], step: np.ndarray) -> float:
    """How far a straight way from the middle of a pixel stays within a region: 0.5 to half of `LENGTH`."""
    far = 0.5
    for distance in np.arange(1.0, LENGTH / 2 + 0.5):
        row, column = (round(at + distance * one) for at, one in zip(start, step, strict=True))
        inside = 0 <= row < region.shape[0] and 0 <= column < region.shape[1]
        if not inside or not region[row, column]:
            break
        far = float(distance)
    return far


def table(asked: argparse.Namespace, data: Manifest, found: Sequence[Mapping[str, Mapping[str, Any]]]) -> str:
    """Rows with figures, and differences with their intervals over patients and seeds."""
    tissue = len(data.classes)
    by_row = {row: np.array([list(seed[row]["by_patient"].values()) for seed in found]) for row in ROWS}
    lines = [
        f"{asked.patches} training and {asked.valid} valid patches of 112 px, of 24 and {asked.patients} patients; "
        f"predicted gate, seeds {', '.join(map(str, asked.seeds))}. Per cent, mean over the seeds; in brackets the "
        "95 % interval over patients and seeds. Wrong: pixels of the corrected training patches.",
        "",
        "| | mIoU | " + " | ".join(f"IoU {name}" for name in data.classes.names) + " | wrong |",
        "|---" * (tissue + 3) + "|",
    ]
    for row in ROWS:
        miou = _shown(mean_miou(by_row[row], tissue), "")
        ious = [[seed[row]["classes"][name]["iou"] or 0 for name in data.classes.names] for seed in found]
        means = [f"{value:.1f}" for value in np.mean(ious, axis=0)]
        wrong = 100 * np.mean([seed[row]["wrong"] for seed in found])
        lines.append(f"| {row} | {miou} | {' | '.join(means)} | {wrong:.1f} |")
    before, on, corrected = (by_row[row] for row in ROWS)
    lines += [
        "",
        "| difference of mIoU | |",
        "|---|---|",
        f"| with the strokes, less before | {_shown(paired_difference(corrected, before, tissue))} |",
        f"| without a word, less before | {_shown(paired_difference(on, before, tissue))} |",
        f"| **with the strokes, less without a word** | {_shown(paired_difference(corrected, on, tissue))} |",
    ]
    return "\n".join(lines) + "\n"


def _shown(one: Estimate, sign: str = "+") -> str:
    ends = () if one.interval is None else one.interval
    shown = ", ".join(f"{100 * end:{sign}.1f}" for end in ends)
    return f"{100 * one.value:{sign}.1f}" + (f" [{shown}]" if shown else "")


if __name__ == "__main__":
    main()
