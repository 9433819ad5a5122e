"""The evaluation half of the speed benchmark: a split of generated patches, scored with the published six views."""

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lpdseg import api
from lpdseg.data.records import Manifest
from lpdseg.data.synthetic import generate
from lpdseg.evaluation.confusion import Scores
from lpdseg.evaluation.split import LabelledBatch, observe_split, read_labelled, score_split
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.views import make_views
from lpdseg.settings import Settings, load_settings
from measuring import ratios, spread, take_turns
from reference_evaluation import count_pixels, reference_masks
from speed_table import Table

TRAIN, SCORED, SIDE, BATCH = 120, 32, 224, 10
STEPS = 120
"""Enough that maps look like maps; more would change no time."""


def measure(table: Table, rounds: int) -> dict[str, float]:
    """Trains the published network and the default one shortly, scores with both, and returns the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        people = {"train": 6, "valid": 4}
        data = generate(
            Path(folder) / "data", size=SIDE, patches={"train": TRAIN, "valid": SCORED}, patients=people, workers=2
        )
        settings, published = _trained(data, Path(folder) / "paper", "paper", "loss.contrast.weight=0")
        _, default = _trained(data, Path(folder) / "default", "bcss")
        _loader(table, {name: Path(folder) / run for name, run in (("paper", "paper"), ("bcss", "default"))})
        batches = read_labelled(data.split("valid"), data.classes, published.settings.batch, "valid")
    return _evaluation(table, settings, published, batches, rounds) | _overhead(table, default, batches, 9 * rounds)


def _loader(table: Table, runs: dict[str, Path]) -> None:
    """What the training loop says of its loader: a thread makes batches beside the model, on the same cores."""
    table.section(f"Waiting for batches of {BATCH} while training, {STEPS} steps, no loader processes")
    for preset, run in runs.items():
        told = json.loads((run / "run.json").read_text(encoding="utf-8"))
        what = "preset paper without contrast" if preset == "paper" else f"preset {preset}, composites included"
        table.row(what, f"{100 * told['loader_wait_share']:.1f} % of {told['seconds']:.0f} s")


def _trained(data: Manifest, run: Path, preset: str, *changes: str) -> tuple[Settings, Segmenter]:
    epochs = STEPS * BATCH / TRAIN
    short = [f"train.epochs={epochs}", "train.validations=1", "train.lr=2e-4", "data.workers=0"]
    settings = load_settings(preset, [*changes, *short, "predict.offsets=false"])
    api.train(data, run, preset=settings, device="cpu")
    return settings, api.load(run, device="cpu")


def _evaluation(
    table: Table, settings: Settings, segmenter: Segmenter, batches: list[LabelledBatch], rounds: int
) -> dict[str, float]:
    channels = segmenter.classes.channels
    images = torch.cat([batch.images for batch in batches])
    truth = np.concatenate([batch.masks for batch in batches])
    thresholds = segmenter.calibration.thresholds.tolist()
    found: dict[str, np.ndarray] = {}

    def reference() -> float:
        masks = list(reference_masks(segmenter.model, settings, images, thresholds))  # type: ignore[arg-type]
        matrix = sum(count_pixels(one, mask, channels) for one, mask in zip(truth, masks, strict=True))
        found["reference"] = np.stack(masks)
        return float(100 * Scores.of(np.asarray(matrix), len(segmenter.classes)).miou)

    def ours(name: str, chosen: Segmenter) -> Callable[[], float]:
        def run() -> float:
            observed = observe_split(chosen, batches)
            return float(score_split(chosen, observed, "valid")[0]["miou"])

        masks = [chosen.decide(chosen.observe(batch.images), batch.images).mask.numpy() for batch in batches]
        found[name] = np.concatenate(masks)
        return run

    fast = {
        "six views, CRF, float32": in_precision(segmenter, autocast=False),
        "six views, CRF, bfloat16": in_precision(segmenter, autocast=True),
        "two views, no CRF, bfloat16": in_precision(
            segmenter.with_settings(views=("plain", "flip"), refine="none"), autocast=True
        ),
    }
    calls = {"reference": reference} | {name: ours(name, chosen) for name, chosen in fast.items()}
    miou = {name: call() for name, call in calls.items()}
    times = take_turns(calls, rounds)
    table.section(
        f"Evaluation of {len(images)} patches of {SIDE} px, MiT-B1: network, fusion, CRF, confusion matrix"
    )
    for name, spent in times.items():
        each = spread([1000 * t / len(images) for t in spent], 1, " ms per image")
        if name == "reference":
            table.row(f"reference, mIoU {miou[name]:.2f}", each)
            continue
        same = 100 * float((found[name] == found["reference"]).mean())
        table.row(
            f"{name}, mIoU {miou[name]:.2f}, {same:.3f} % of pixels equal",
            each,
            spread(ratios(times, "reference", name), 1, "x"),
        )
    return {
        "evaluation": statistics.median(ratios(times, "reference", "six views, CRF, bfloat16")),
        "evaluation_fp32": statistics.median(ratios(times, "reference", "six views, CRF, float32")),
        "evaluation_default": statistics.median(ratios(times, "reference", "two views, no CRF, bfloat16")),
    }


def _overhead(table: Table, segmenter: Segmenter, batches: list[LabelledBatch], rounds: int) -> dict[str, float]:
    """Prediction by the default preset beside its encoder alone, at the same views and precision."""
    images = batches[0].images
    pixels = images.float() / 255
    views = segmenter.settings.views

    @torch.inference_mode()
    def encoder() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=segmenter.autocast):
            segmenter.model.encoder(make_views(pixels, views))

    calls = {
        "encoder alone": encoder,
        "prediction": lambda: segmenter.decide(segmenter.observe(images), images),
    }
    times = take_turns(calls, rounds, list(calls))
    about = f"{', '.join(views)}; refine {segmenter.settings.refine}"
    table.section(f"Prediction by the default preset ({about}), batch {len(images)}")
    for name, spent in times.items():
        table.row(name, spread([1000 * t / len(images) for t in spent], 1, " ms per image"))
    overhead = ratios(times, "prediction", "encoder alone")
    table.row("prediction / encoder alone", spread(overhead, 2))
    return {"predict_overhead": statistics.median(overhead)}


def in_precision(segmenter: Segmenter, autocast: bool) -> Segmenter:
    """The same with its network in bfloat16, or in float32."""
    return Segmenter(
        segmenter.model,
        segmenter.classes,
        segmenter.settings,
        segmenter.calibration,
        segmenter.level_weights,
        segmenter.train_merge,
        autocast,
    )
