"""What each variant of benchmarks/configs/encoders.yaml costs: a training step, a predicted patch, peak memory.

LPDSEG_DATA=… python benchmarks/encoder_cost.py [--rounds 5] [--steps 4] [--threads 2] [--out FILE]

On generated patches of 112 px. Variants take turns, so that noise hits all of them; a frozen encoder's features are
kept, and what it takes to compute them for one patch is told beside. Memory is that of a process with one variant
alone, above what it held before. Variants whose weights are not there are left out.
"""

import argparse
import json
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch

from frozen import _stepper
from lpdseg.benchmark.config import read_config
from lpdseg.benchmark.plan import all_settings
from lpdseg.benchmark.sources import available, possible
from lpdseg.data.records import Manifest
from lpdseg.data.synthetic import generate
from lpdseg.files import write_text
from lpdseg.quiet import quiet
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.settings import Settings
from lpdseg.training.engine import chosen_precision
from lpdseg.training.setup import build_task
from measuring import in_a_process, peak_above, ratios, spread, take_turns

CONFIG = Path(__file__).parent / "configs" / "encoders.yaml"
PATCHES, SIDE, BATCH = 64, 112, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each variant")
    parser.add_argument("--steps", type=int, default=4, help="steps in a turn")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")
    parser.add_argument("--out", type=Path, help="also write the table there, as Markdown")
    parser.add_argument("--peak", help="print the peak memory of this variant alone, in MiB")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, quiet():
        os.environ["LPDSEG_CACHE"] = folder
        data = generate(
            Path(folder) / "data", size=SIDE, mpp=1.0, patches={"train": PATCHES}, patients={"train": 8}
        )
        chosen = variants()
        if options.peak:
            print(json.dumps(peak_above(_stepper(stack, chosen[options.peak], data, options.steps))))
            return
        lines = table(stack, chosen, data, options)
    if options.out is not None:
        write_text(options.out, "\n".join([*lines, ""]))


def variants() -> dict[str, Settings]:
    """Settings by variant, without those that differ in the number of steps alone."""
    config, _ = possible(read_config(CONFIG), os.environ)
    data, _ = available(config, os.environ)
    found = all_settings(config, {"generated": data["generated"]}, os.environ)
    return {
        name: settings
        for (_, name, seed), settings in found.items()
        if seed == config.seeds[0] and "equal time" not in name
    }


def table(stack: ExitStack, chosen: dict[str, Settings], data: Manifest, options: argparse.Namespace) -> list[str]:
    steps = {name: _stepper(stack, settings, data, options.steps) for name, settings in chosen.items()}
    images = torch.randint(0, 256, (BATCH, SIDE, SIDE, 3), dtype=torch.uint8).numpy()
    segmenters = {name: segmenter(settings, data) for name, settings in chosen.items()}
    predicting = {name: (lambda one=one: one.segment_batch(images)) for name, one in segmenters.items()}
    encoders = {name: build_task(settings, data.classes).model.encoder.eval() for name, settings in chosen.items()}
    pixels = torch.rand(BATCH, 3, SIDE, SIDE)

    def encode(name: str) -> None:
        with torch.no_grad():
            encoders[name].encode(pixels)

    encoding = {name: (lambda name=name: encode(name)) for name, one in encoders.items() if one.frozen}
    step, predict, computed = (
        take_turns(calls, options.rounds, list(calls)) for calls in (steps, predicting, encoding)
    )
    first = next(iter(chosen))
    precision = chosen_precision(chosen[first].train, torch.device("cpu"))
    lines = [
        f"Batch {chosen[first].train.batch} with half as many composites, {precision}, threads: {options.threads}; "
        f"median of {options.rounds} turns (least to most).",
        "",
        "| variant | ms per step | of the first's | to encode a patch once, ms | to predict one, ms | peak, MiB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name in chosen:
        memory = in_a_process(Path(__file__), "--peak", name, "--threads", str(options.threads))
        once = [1000 * taken / BATCH for taken in computed.get(name, ())]
        cells = (
            name,
            spread([1000 * taken / options.steps for taken in step[name]], 0),
            f"{statistics.median(ratios(step, name, first)):.2f}",
            spread(once) if once else "–",
            spread([1000 * taken / BATCH for taken in predict[name]]),
            "killed" if memory is None else f"{memory:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def segmenter(settings: Settings, data: Manifest) -> Segmenter:
    """With fresh weights, which cost what trained ones do."""
    model = build_task(settings, data.classes).model.eval().to(memory_format=torch.channels_last)
    calibration = Calibration.plain(len(data.classes))
    return Segmenter(
        model, data.classes, settings.predict, calibration, settings.loss.scale_weights, settings.model.merge
    )


if __name__ == "__main__":
    main()
