"""What a training step takes whose mask prototypes make, against a linear head with the losses as they were before.

python benchmarks/head_cost.py [--rounds 5] [--steps 8] [--threads N]

Both cases take turns, from the loader to the update, all losses on, as in benchmarks/frozen.py. Before each case's
first step its morphologies are found, which is not counted. The last line is one JSON object: prototypes / linear.
"""

import argparse
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch

from frozen import stepper
from lpdseg.data.synthetic import generate
from lpdseg.settings import load_settings
from measuring import ratios, spread, take_turns

PATCHES, SIDE = 64, 112
CASES = {
    "prototypes": (),
    "linear": (
        "model.head=linear",
        "loss.morphology.weight=0",
        "loss.diversity.source=maps",
        "loss.diversity.pixels=class",
    ),
}
ENCODERS = {"efficientnet_lite0": (), "resnet18": ("model.last_stride=1",)}
"""Both from random weights: what they are changes no time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each case")
    parser.add_argument("--steps", type=int, default=8, help="steps in a turn")
    parser.add_argument("--threads", type=int, help="threads of PyTorch; by default all cores")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        data = generate(Path(folder), size=SIDE, mpp=1.0, patches={"train": PATCHES}, patients={"train": 8})
        for encoder, changes in ENCODERS.items():
            shared = [f"model.encoder={encoder}", "model.weights=null", "loss.morphology.encoder=stain", *changes]
            with ExitStack() as stack:
                calls = {
                    case: stepper(stack, load_settings("demo", [*shared, *own]), data, asked.steps)
                    for case, own in CASES.items()
                }
                times = take_turns(calls, asked.rounds, list(calls))
            for case, spent in times.items():
                each = spread([1000 * taken / asked.steps for taken in spent], 0)
                print(f"{encoder}, {case}: {each} ms per step, {spread(ratios(times, case, 'linear'), 3)}")
            found[encoder] = round(statistics.median(ratios(times, "prototypes", "linear")), 3)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
