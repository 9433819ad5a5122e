"""The losses of a short training by each method, beside this file. Where they are to change, record them anew:

python tests/golden/recorded_losses.py [NAME ...]
"""

import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.model.encoders import ENCODERS, EncoderEntry
from lpdseg.settings import load_settings
from lpdseg.tissue import TissueClasses
from lpdseg.training.engine import Engine
from lpdseg.training.loop import train
from lpdseg.training.metrics import read_metrics

FOLDER = Path(__file__).parent
CASES = {
    "lpd": (),
    "lpd-head": ("loss.composite.weight=0.5", "loss.pseudo.weight=0.5", "loss.contrast.pairs_per_image=2"),
    "lpd-variants": (
        "model.merge=mean", "loss.contrast.negatives=published", "loss.contrast.fill=black",
        "loss.contrast.size=32", "loss.diversity.pixels=batch", "predict.background=power",
    ),
    "cam": ("method=cam",),
    "pbip": ("method=pbip", "train.epochs=3"),
    "lpd-released": ("method=lpd-released", "model.prototype_dim=24", "model.merge=mean"),
    "supervised": ("method=supervised",),
}  # fmt: skip
"""What sets each record apart from `settings.yaml`."""

CLASSES = TissueClasses(("pink", "blue", "green"), background=3)
COLOURS = np.array([[230, 120, 170], [80, 70, 160], [110, 160, 90], [250, 250, 250]])
TINY = EncoderEntry(
    "resnet",
    {"layer_type": "basic", "embedding_size": 8, "hidden_sizes": [8, 16, 24, 24], "depths": [1, 1, 1, 1]},
    "none",
    "none",
)


def draw_patches(folder: Path) -> Manifest:
    """Twelve patches of 64 px with one or two classes, cut by a slanted line, some with glass in a corner."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    records = []
    for number in range(12):
        first, second = number % 3, (number + (number % 2)) % 3
        mask = np.where(x + (number - 6) * y / 12 < 30, first, second).astype(np.uint8)
        if number % 4 == 3:
            mask[40:, :30] = 3
        texture = 25 * np.sin((x * (1 + mask) + y * (3 - mask)) / 4)[..., None]
        pixels = COLOURS[mask] + np.where(mask == 3, 0, 1)[..., None] * (texture + rng.normal(0, 12, (64, 64, 3)))
        image, truth = folder / f"{number}.png", folder / f"{number}_mask.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(image)
        Image.fromarray(mask).save(truth)
        labels = tuple(int((mask == c).any()) for c in range(3))
        records.append(PatchRecord(image, labels, "train", f"p{number % 4}", truth))
    return Manifest(CLASSES, tuple(records), folder)


def train_briefly(name: str, folder: Path) -> list[dict[str, float]]:
    """Every part of the loss at each step, on one thread of the CPU in float32."""
    settings = load_settings(FOLDER / "settings.yaml", CASES[name])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with mock.patch.dict(ENCODERS, {"resnet18": TINY}):  # settings take known names alone
            train(settings, draw_patches(folder), folder / "run", engine=Engine("cpu"))
    finally:
        torch.set_num_threads(threads)
    return [
        {key: value for key, value in row.items() if key not in {"kind", "step"}}
        for row in read_metrics(folder / "run")
    ]


def recorded(name: str) -> list[dict[str, float]]:
    """What was recorded."""
    found: list[dict[str, float]] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def record(name: str) -> None:
    """Writes the record: a line for each step, figures to seven digits."""
    with tempfile.TemporaryDirectory() as folder:
        steps = train_briefly(name, Path(folder))
    lines = [json.dumps({key: float(f"{value:.7g}") for key, value in step.items()}) for step in steps]
    (FOLDER / f"{name}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    for one in sys.argv[1:] or CASES:
        record(one)
