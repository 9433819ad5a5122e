"""What a step takes with a tuned encoder, with a frozen one whose features are kept, and with one that is computed.

python benchmarks/frozen.py [--rounds 5] [--steps 8] [--threads N] [--out benchmarks/DATE-frozen.md]

A step is that of the training loop: a batch from the loader, which works ahead on a thread of its own, and one
update. The cases take turns. The last line of the output is one JSON object: kept / tuned for each encoder, smaller
is better.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers
from lightning_fabric import Fabric

from lpdseg.ahead import ahead
from lpdseg.data.reading import look
from lpdseg.data.records import Manifest
from lpdseg.data.synthetic import generate
from lpdseg.files import write_text
from lpdseg.settings import Settings, load_settings
from lpdseg.training.engine import chosen_precision
from lpdseg.training.features import keep_features
from lpdseg.training.loading import loader, on_one_thread
from lpdseg.training.optimiser import build_optimiser
from lpdseg.training.progress import Silent
from lpdseg.training.setup import build_task, training_batches, training_patches
from measuring import ratios, spread, take_turns

PATCHES = 64
DONE = 0.9
"""The share of the steps that lie behind: every loss counts."""

ENCODERS = {
    "resnet18": ("demo", 112, ("data.stain_jitter=0.1",)),
    "pvt_v2_b1": (None, 224, ("data.classes=bcss",)),
    "vit_small": (None, 224, ("data.classes=bcss",)),
}
"""Preset, side of the patches in pixels, and what is set beside it; all of random weights."""

VIT = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "patch_size": 14}
"""ViT-S/14, as DINOv2 has it: its adapter and image stem learn at every step, whatever is kept."""

CASES = {
    "tuned": ("model.tune=all",),
    "frozen, kept": ("model.tune=none",),
    "frozen, computed": ("model.tune=none", "model.feature_cache=0"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each case")
    parser.add_argument("--steps", type=int, default=8, help="steps in a turn")
    parser.add_argument("--threads", type=int, help="threads of PyTorch; by default all cores")
    parser.add_argument("--precision", default="auto", help="as train.precision")
    parser.add_argument("--only", choices=list(ENCODERS), help="one encoder alone")
    parser.add_argument("--out", type=Path, help="also write the table there, as Markdown")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    lines, found = list[str](), {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LPDSEG_CACHE"] = folder
        for name in [options.only] if options.only else ENCODERS:
            found[name] = _measure(lines, name, Path(folder), options)
    if options.out is not None:
        title = f"# Steps with a frozen encoder, {datetime.now(UTC).date().isoformat()}"
        write_text(options.out, "\n".join([title, "", "`python benchmarks/frozen.py`", *lines, ""]))
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


def _measure(lines: list[str], name: str, folder: Path, options: argparse.Namespace) -> float:
    preset, side, changes = ENCODERS[name]
    counts = {"train": PATCHES}
    data = generate(folder / name, size=side, mpp=112 / side, patches=counts, patients={"train": 8})
    encoder = [f"model.encoder={name}"]
    if name == "vit_small":
        torch.manual_seed(0)
        transformers.Dinov2Model(transformers.Dinov2Config(**VIT)).save_pretrained(folder / "weights")
        encoder = ["model.encoder=auto", f"model.weights={folder / 'weights'}"]
    with ExitStack() as stack:
        calls = {}
        for case, own in CASES.items():
            shared = (*encoder, f"train.precision={options.precision}", "train.epochs=2")
            chosen = load_settings(preset, [*changes, *shared, *own])
            calls[case] = stepper(stack, chosen, data, options.steps)
        times = take_turns(calls, options.rounds, list(calls))
    told = [
        "",
        f"{name}, {side} px, batch {chosen.train.batch} with half as many composites, "
        f"{chosen_precision(chosen.train, torch.device('cpu'))}, threads: {torch.get_num_threads()}",
        "",
        "| encoder | ms per step | of the tuned one's |",
        "|---|---|---|",
    ]
    for case, spent in times.items():
        each = spread([1000 * taken / options.steps for taken in spent], 0)
        told.append(f"| {case} | {each} | {spread(ratios(times, case, 'tuned'), 3)} |")
    print("\n".join(told), flush=True)
    lines += told
    return statistics.median(ratios(times, "frozen, kept", "tuned"))


def stepper(stack: ExitStack, chosen: Settings, data: Manifest, steps: int) -> Callable[[], None]:
    """Some steps as the training loop makes them, from batches that are made ahead as they are there."""
    precision = chosen_precision(chosen.train, torch.device("cpu"))
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]
    looked = look(data, room=2**30)
    batches = training_batches(training_patches(data.split("train"), chosen, data.classes, looked), chosen)
    task = build_task(chosen, data.classes).to(memory_format=torch.channels_last)
    module, optimiser = fabric.setup(task, build_optimiser(task, chosen.train))
    task.prepare(batches.patches)
    source, _ = stack.enter_context(keep_features(batches, task, chosen, looked, fabric, Silent()))
    module.train()
    ready = ahead(on_one_thread(loader(source, chosen, 0, 10**6, fabric)), 2)
    stack.callback(ready.close)

    def call() -> None:
        for _ in range(steps):
            parts = module(next(ready), DONE)
            optimiser.zero_grad()
            fabric.backward(parts["loss"])
            fabric.clip_gradients(module, optimiser, max_norm=chosen.train.clip, error_if_nonfinite=False)
            optimiser.step()

    return call


if __name__ == "__main__":
    main()
