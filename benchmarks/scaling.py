"""How the cost of a training step grows with prototypes, classes, batch and image size, and with processes.

python benchmarks/scaling.py [--rounds 3] [--out benchmarks/DATE-scaling.md]

Bfloat16 where the machine multiplies it; MiT-B1, the contrast with the model's own encoder, all losses.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch

import speed_cases as cases
from lpdseg.data.synthetic import generate
from lpdseg.files import write_text
from lpdseg.model.device import bfloat16_pays
from measuring import spread, take_turns

PRECISION = "bf16-mixed" if bfloat16_pays(torch.device("cpu")) else "32-true"
GROWTH = {
    "prototypes per class": ("k", [1, 3, 10, 20]),
    "prototypes per class, one pair per image": ("k, sampled", [1, 3, 10, 20]),
    "classes": ("C", [2, 4, 8, 16]),
    "batch": ("B", [5, 10, 20]),
    "image side": ("px", [112, 224, 448]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write the tables there, as Markdown")
    options = parser.parse_args()
    lines = [f"{PRECISION}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}.", ""]
    lines += _growth(options.rounds) + _processes(options.rounds)
    text = "\n".join(lines)
    print(text)
    if options.out is not None:
        date = datetime.now(UTC).date().isoformat()
        write_text(
            options.out,
            f"# How the cost of a training step grows, {date}\n\n`python benchmarks/scaling.py`\n\n{text}\n",
        )


def _growth(rounds: int) -> list[str]:
    lines = ["| what grows | at | pairs | step | exponent from the smallest |", "|---|---|---|---|---|"]
    for what, (kind, values) in GROWTH.items():
        first: tuple[int, float] | None = None
        for value in values:
            k = value if kind.startswith("k") else 3
            classes = value if kind == "C" else cases.CLASSES
            one = cases.batch(value if kind == "B" else cases.BATCH, value if kind == "px" else cases.SIDE, classes)
            sampled = ["loss.contrast.pairs_per_image=1"] if "sampled" in kind else []
            chosen = cases.settings(k, *sampled)
            step = cases.our_step(cases.task(chosen, "self", classes), chosen, PRECISION, one)
            times = take_turns({"step": step}, rounds, ["step"])["step"]
            middle = statistics.median(times)
            pairs = cases.active_pairs(cases.network(chosen, classes), one)
            exponent = "" if first is None else f"{math.log(middle / first[1]) / math.log(value / first[0]):.2f}"
            first = first or (value, middle)
            lines.append(f"| {what} | {value} | {pairs} | {spread(times, 2, ' s')} | {exponent} |")
            print(lines[-1], flush=True)
    return [*lines, ""]


_TRAIN = """
import json, sys, torch
from pathlib import Path
from lpdseg import api
if __name__ == "__main__":
    data, out, devices, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    changes = ["train.epochs=3", "train.validations=0", "train.batch=16", "train.checkpoint_minutes=60"]
    api.train(data, out, preset="demo", overrides=changes, device="cpu", devices=int(devices))
"""


def _processes(rounds: int) -> list[str]:
    """Seconds per step of preset demo with one process of one thread, two such, and one of two threads."""
    cases_of = {
        "one process, one thread": (1, 1),
        "two processes, one thread each": (2, 1),
        "one process, two threads": (1, 2),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "data", size=112, mpp=1.0, patches={"train": 320}, patients={"train": 8}, workers=2)
        script = folder / "train.py"
        script.write_text(_TRAIN, encoding="utf-8")

        def run(what: str) -> float:
            devices, threads = cases_of[what]
            out = Path(tempfile.mkdtemp(dir=folder))
            words = [
                sys.executable,
                str(script),
                str(folder / "data"),
                str(out / "run"),
                str(devices),
                str(threads),
            ]
            subprocess.run(
                words, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)}
            )
            told = json.loads((out / "run" / "run.json").read_text(encoding="utf-8"))
            return float(told["seconds"]) / int(told["steps"])

        times: dict[str, list[float]] = {what: [] for what in cases_of}
        for _ in range(rounds):
            for what in cases_of:
                times[what].append(run(what))
    alone = times["one process, one thread"]
    lines = [
        "| preset demo, batch 16 over all processes | step | faster than one thread | efficiency |",
        "|---|---|---|---|",
    ]
    for what, spent in times.items():
        gain = [a / b for a, b in zip(alone, spent, strict=True)]
        lines.append(
            f"| {what} | {spread(spent, 3, ' s')} | {spread(gain, 2, 'x')} | "
            f"{100 * statistics.median(gain) / math.prod(cases_of[what]):.0f} % |"
        )
    return lines


if __name__ == "__main__":
    main()
