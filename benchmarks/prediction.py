"""What each part of prediction is worth, and what each runtime costs, on runs that a benchmark has trained.

python benchmarks/prediction.py runs/bench [--variant LPD] [--out benchmarks/DATE-prediction.md]

`runs/bench` is what `lpdseg benchmark benchmarks/configs/main.yaml --out runs/bench` leaves. Thresholds and class
offsets are chosen anew for each way of predicting, on the split that is scored, except for the runtimes, which take
those of the run. Differences to the run's own settings are paired over patients and seeds. Times are medians of
turns.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lpdseg import api
from lpdseg.data.importers import load_data
from lpdseg.errors import SettingsError
from lpdseg.evaluation.bootstrap import paired_difference
from lpdseg.evaluation.calibration import calibrate
from lpdseg.evaluation.split import LabelledBatch, observe_split, read_labelled, score_split
from lpdseg.files import write_text
from lpdseg.segmenting.backends import with_backend
from lpdseg.segmenting.loading import weights_digest
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import TissueClasses
from measuring import spread, take_turns
from speed_evaluation import in_precision

OWN = "as the run: plain and flip, head, no refinement"
SIX = ("plain", "flip", "dark", "flip_dark", "bright", "flip_bright")
PUBLISHED_CRF = {
    "gaussian_sxy": 15,
    "gaussian_compat": 30,
    "bilateral_sxy": 10,
    "bilateral_srgb": 20,
    "bilateral_compat": 50,
}
WAYS: dict[str, dict[str, object]] = {
    OWN: {},
    "one view": {"views": ("plain",)},
    "plain and bright": {"views": ("plain", "bright")},
    "six views": {"views": SIX},
    "class maps instead of the head": {"source": "maps"},
    "class maps, dense CRF": {"source": "maps", "refine": "crf"},
    "dense CRF": {"refine": "crf"},
    "dense CRF as published": {"refine": "crf", "crf": PUBLISHED_CRF},
    "no gate": {"gate": "none"},
    "no class offsets": {"offsets": False},
}
RUNTIMES = {
    "PyTorch, float32": ("torch", False),
    "PyTorch, bfloat16": ("torch", True),
    "ONNX Runtime, float32": ("onnx", False),
    "ONNX Runtime, 8-bit integers": ("onnx-int8", False),
    "OpenVINO, float32": ("openvino", False),
    "OpenVINO, bfloat16": ("openvino", True),
    "OpenVINO, 8-bit integers": ("openvino-int8", False),
}


@dataclass(frozen=True)
class Trained:
    """A run of a benchmark, what it was trained on, and the split that is scored."""

    run: Path
    source: Path
    classes: TissueClasses
    batches: list[LabelledBatch]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--variant", default="LPD")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", help="this data set alone, or `ways`, or `runtimes`; repeatable")
    parser.add_argument("--out", type=Path, help="also write the tables there, as Markdown")
    options = parser.parse_args()
    lines = [f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}."]
    found = _find(options.runs, options.variant)
    only = set(options.only or [])
    kinds = only & {"ways", "runtimes"} or {"ways", "runtimes"}
    for data, runs in ((name, runs) for name, runs in found.items() if name in (only & set(found) or found)):
        batches = runs[0].batches
        count = sum(len(batch.images) for batch in batches)
        about = f"{len(runs)} seeds, {count} images of {batches[0].images.shape[-1]} px, split valid"
        for kind, title, rows in (
            ("ways", "ways to predict", partial(_ways, runs, options.rounds)),
            ("runtimes", "runtimes", partial(_runtimes, runs, options.rounds)),
        ):
            if kind not in kinds:
                continue
            lines += ["", f"## {data}, {title}", "", about, ""]
            lines += ["| what | mIoU | difference, 95 % | ms per image |", "|---|---:|---:|---:|"]
            print("\n".join(lines[-5:]), flush=True)
            lines += rows()
    if options.out is not None:
        date = datetime.now(UTC).date().isoformat()
        command = f"`python benchmarks/prediction.py {options.runs}`"
        head = [f"# What each part of prediction is worth, {date}", "", command, ""]
        write_text(options.out, "\n".join([*head, *lines, ""]))


def _find(folder: Path, variant: str) -> dict[str, list[Trained]]:
    """The finished runs of a variant by data set, in the order of their seeds."""
    found: dict[str, list[tuple[str, Path, dict[str, object]]]] = {}
    for path in sorted((folder / "runs").glob("*/job.json")):
        job = json.loads(path.read_text(encoding="utf-8"))
        data, _, rest = job["title"].partition(", ")
        name, _, seed = rest.rpartition(", seed ")
        if name == variant and (path.parent / "result.json").is_file():
            found.setdefault(data, []).append((seed, path.parent / "run", job))
    if not found:
        raise SystemExit(f"{folder} holds no finished run of {variant!r}")
    return {data: [_trained(run, job) for _, run, job in sorted(runs)] for data, runs in found.items()}


def _trained(run: Path, job: dict[str, object]) -> Trained:
    source, classes = Path(str(job["source"])), TissueClasses.from_dict(job["classes"])  # type: ignore[arg-type]
    manifest = load_data(source, classes)
    return Trained(run, source, classes, read_labelled(manifest.split("valid"), manifest.classes, 16, "valid"))


def _ways(runs: Sequence[Trained], rounds: int) -> list[str]:
    def build(trained: Trained, changes: dict[str, object]) -> Segmenter:
        segmenter = api.load(trained.run, device="cpu", **changes)
        plain = segmenter.with_settings(refine="none")
        calibration = calibrate(plain, observe_split(plain, trained.batches), segmenter.settings.offsets)
        return segmenter.calibrated(calibration)

    return _rows(runs, {name: partial(build, changes=changes) for name, changes in WAYS.items()}, rounds)


def _runtimes(runs: Sequence[Trained], rounds: int) -> list[str]:
    def build(trained: Trained, backend: str, half: bool) -> Segmenter:
        if backend.endswith("int8"):
            api.export_int8(trained.run, load_data(trained.source, trained.classes))
        segmenter = in_precision(api.load(trained.run, device="cpu"), half)
        if backend == "torch":
            return segmenter
        return with_backend(segmenter, backend, trained.run, weights_digest(trained.run))  # type: ignore[arg-type]

    chosen = {name: partial(build, backend=backend, half=half) for name, (backend, half) in RUNTIMES.items()}
    return _rows(runs, chosen, rounds)


def _rows(runs: Sequence[Trained], builders: dict[str, Callable[[Trained], Segmenter]], rounds: int) -> list[str]:
    lines: list[str] = []
    reference: np.ndarray | None = None
    first, refused = {}, {}
    for name, build in builders.items():
        try:
            first[name] = build(runs[0])
        except SettingsError as error:
            refused[name] = f"| {name} | – | refused: {error} | |"
    images = runs[0].batches[0].images
    calls = {name: (lambda one=one: one.decide(one.observe(images), images).mask) for name, one in first.items()}
    times = take_turns(calls, rounds, list(calls))
    for name, build in builders.items():
        mious, matrices, classes = [], [], 0
        for trained in runs if name in first else ():
            try:
                segmenter = first[name] if trained is runs[0] else build(trained)
            except SettingsError as error:
                refused[name] = (
                    f"| {name} | – | refused for another seed: {error} | {spread(_ms(times[name], images))} |"
                )
                break
            record = score_split(segmenter, observe_split(segmenter, trained.batches), "valid")[0]
            mious.append(float(record["miou"]))
            matrices.append(np.array([record["by_patient"][who] for who in sorted(record["by_patient"])], np.int64))
            classes = len(segmenter.classes)
        if name in refused:
            lines.append(refused[name])
            print(lines[-1], flush=True)
            continue
        found = np.stack(matrices)
        told = "–"
        if reference is None:
            reference = found
        else:
            gap = paired_difference(found, reference, classes)
            low, high = gap.interval or (float("nan"),) * 2
            told = f"{100 * gap.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        sd = f" ± {statistics.stdev(mious):.1f}" if len(mious) > 1 else ""
        each = spread(_ms(times[name], images))
        lines.append(f"| {name} | {statistics.mean(mious):.1f}{sd} | {told} | {each} |")
        print(lines[-1], flush=True)
    return lines


def _ms(seconds: Sequence[float], images: torch.Tensor) -> list[float]:
    return [1000 * one / len(images) for one in seconds]


if __name__ == "__main__":
    main()
