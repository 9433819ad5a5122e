"""What one word of an expert is worth: a sub-type whose training labels are wrong, and the prototype of it moved.

python benchmarks/move.py OUT [--subtype spindle] [--label STR] [--weights FOLDER] [--seeds 0 1 2]

Generated patches whose tissue of one sub-type carries the label of another class, in training alone; masks of the
valid split are true. Four runs for each seed, of equal steps, in five rows:

- before: trained on the wrong labels; the same with the edits, which costs no training.
- on, without a word: the run goes on, as a control, and with the edits, `train --from RUN --edits FILE`.
- right: trained on the right labels, which is what could be hoped for.

The expert looks at training patches: of the prototypes of the wrong class the one is moved whose pixels are most of
all of the sub-type. The last line of the output is one JSON object. A command that was interrupted goes on.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lpdseg import api
from lpdseg.checkpoint import has_checkpoint
from lpdseg.data.patches import read_image, read_mask
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.data.synthetic import SUBTYPES, generate
from lpdseg.data.synthetic.subtypes import named
from lpdseg.files import write_text
from lpdseg.insight.subtypes import read_subtypes
from lpdseg.segmenting.edited import edited
from lpdseg.segmenting.edits import prototype_keys
from lpdseg.segmenting.segmenter import Segmenter

ROWS = ("before", "before, edited", "on, without a word", "on, with the edits", "right")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--subtype", default="spindle", choices=[one.name for one in SUBTYPES])
    parser.add_argument("--label", default="STR", help="the class that it is taken for")
    parser.add_argument("--patches", type=int, default=1200)
    parser.add_argument("--weights", default=None, help="of the encoder; by default the preset's")
    parser.add_argument("--epochs", type=float, default=12.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    counts = {"train": asked.patches, "valid": 160}
    right = generate(
        asked.out / "data", size=112, mpp=1.0, patches=counts, patients={"train": 24, "valid": 6}, train_masks=True
    )
    wrong = mislabelled(right, named(asked.subtype), right.classes.names.index(asked.label))
    changed = sum(a.labels != b.labels for a, b in zip(right.records, wrong.records, strict=True))
    print(f"{changed} of {asked.patches} training patches have a wrong label")
    found = [one_seed(asked, right, wrong, seed) for seed in asked.seeds]
    page = table(asked, found)
    write_text(asked.out / "move.md", page)
    print(page)
    print(json.dumps({row: [seed[row] for seed in found] for row in ROWS}))


def mislabelled(data: Manifest, subtype: int, label: int) -> Manifest:
    """The data with the labels of training patches as if tissue of `subtype` were of the class `label`."""

    def of(record: PatchRecord) -> PatchRecord:
        if record.split != "train":
            return record
        subtypes, mask = truth(record, data)
        seen = np.where(subtypes == subtype, label, mask)
        labels = tuple(int((seen == c).any()) for c in range(len(data.classes)))
        return replace(record, labels=labels)

    return replace(data, records=tuple(of(record) for record in data.records))


def truth(record: PatchRecord, data: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Sub-types and classes of the pixels."""
    assert record.mask is not None
    size = read_image(record.path).shape[:2]
    return read_subtypes(record, data.classes, size), read_mask(record.mask, data.classes, size)


def one_seed(asked: argparse.Namespace, right: Manifest, wrong: Manifest, seed: int) -> dict[str, dict[str, Any]]:
    """The figures of every row."""
    folder, subtype = asked.out / f"seed-{seed}", named(asked.subtype)
    train(asked, wrong, folder / "before", seed)
    edits = folder / "edits.yaml"
    segmenter = api.load(folder / "before", device=asked.device)
    if not edits.exists():
        write_text(edits, expert(segmenter, wrong, subtype, asked.label))
    print(f"seed {seed}: {edits.read_text().strip()}")
    train(asked, wrong, folder / "on", seed, start=folder / "before")
    train(asked, wrong, folder / "taught", seed, start=folder / "before", edits=edits)
    train(asked, right, folder / "right", seed)
    runs = {
        "before": segmenter,
        "before, edited": edited(segmenter, edits),
        "on, without a word": api.load(folder / "on", device=asked.device),
        "on, with the edits": api.load(folder / "taught", device=asked.device),
        "right": api.load(folder / "right", device=asked.device),
    }
    return {row: figures(one, right, subtype) for row, one in runs.items()}


def train(asked: argparse.Namespace, data: Manifest, run: Path, seed: int, **more: Any) -> None:
    resume = has_checkpoint(run, "last")
    settings = {} if more else {"preset": "demo", "weights": asked.weights}
    options: dict[str, Any] = {"resume": True} if resume else {**settings, **more}
    overrides = ["predict.refine=none", f"train.epochs={asked.epochs}", *asked.set]
    if not resume:
        options |= {"overrides": overrides, "seed": seed}
    result = api.train(data, run, **options, device=asked.device)
    print(f"{run}: mIoU {result.miou:.2f} after {result.steps} steps, {result.seconds:.0f} s", flush=True)


def expert(segmenter: Segmenter, data: Manifest, subtype: int, label: str) -> str:
    """Edits that move one prototype: of the wrong class that with the largest share of pixels of the sub-type."""
    c, shown = data.classes.names.index(label), segmenter.with_settings(gate="oracle")
    parts = segmenter.model.parts or ()
    pixels = np.zeros((len(parts), 2), np.int64)  # all, and those of the sub-type
    for record in data.split("train"):
        if not (record.labels or ())[c]:
            continue
        image = torch.from_numpy(read_image(record.path).transpose(2, 0, 1).copy())[None]
        labels = torch.tensor([record.labels]).bool()
        winners = shown.decide(shown.observe(image, parts=True), image, labels).prototypes
        assert winners is not None
        won, subtypes = winners[0].cpu().numpy(), truth(record, data)[0]
        for column, where in enumerate((won, won[subtypes == subtype])):
            pixels[:, column] += np.bincount(where.ravel(), minlength=1 << 16)[: len(parts)]
    own = [k for k, of in enumerate(parts) if of == c and pixels[k, 0] > 0]
    best = max(own, key=lambda k: pixels[k, 1] / pixels[k, 0])
    keys = prototype_keys(parts, data.classes.names)
    for k in own:
        print(f"{keys[k]}: {pixels[k, 1] / pixels[k, 0]:.0%} of {pixels[k, 0]} pixels are of the sub-type")
    tissue = data.classes.names[SUBTYPES[subtype].tissue]
    return f"{keys[best]}: {{move: {tissue}, name: {SUBTYPES[subtype].name}}}\n"


def figures(segmenter: Segmenter, data: Manifest, subtype: int) -> dict[str, Any]:
    """mIoU of the valid split with its true masks, IoU by class, and the share of the sub-type that is found."""
    [record] = api.evaluate(segmenter, data)
    found = seen = 0
    for patch in data.split("valid"):
        inside = truth(patch, data)[0] == subtype
        if inside.any():
            mask = segmenter.segment(read_image(patch.path)).mask
            found += int((mask[inside] == data.classes.indices[SUBTYPES[subtype].tissue]).sum())
            seen += int(inside.sum())
    classes = {name: one["iou"] for name, one in record["classes"].items()}
    return {"miou": record["miou"], **classes, "found": 100 * found / max(1, seen)}


def table(asked: argparse.Namespace, found: Sequence[dict[str, dict[str, Any]]]) -> str:
    names = list(found[0]["before"])
    called = {"miou": "mIoU", "found": f"{asked.subtype} found"}
    titles = [called.get(name, f"IoU {name}") for name in names]
    lines = [
        f"# One prototype moved: {asked.subtype}, which training takes for {asked.label}",
        "",
        f"{asked.patches} generated training patches of 112 px, valid split with true masks, predicted gate, "
        f"{asked.epochs:g} epochs a run, weights {asked.weights or 'of the preset'}, seeds "
        f"{', '.join(map(str, asked.seeds))}; per cent, mean over the seeds (lowest to highest).",
        "",
        "| | " + " | ".join(titles) + " |",
        "|---" * (len(titles) + 1) + "|",
    ]
    for row in ROWS:
        values = [[seed[row][name] for seed in found] for name in names]
        lines.append(f"| {row} | " + " | ".join(_shown(one) for one in values) + " |")
    return "\n".join(lines) + "\n"


def _shown(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
