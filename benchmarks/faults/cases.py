"""Commands of seconds to disturb, on small data that is drawn: what each is given, and what it writes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = (
    "model.encoder=resnet18", "model.stages=3", "model.prototypes=2", "model.prototype_dim=16",
    "model.hidden_dim=8",
    "loss.scale_weights=[0,0.1,1]", "predict.fusion=[0,0.4,0.6]", "predict.refine=none", "predict.background=none",
    "train.batch=4", "train.epochs=4", "train.validations=4", "train.precision=32-true", "train.log_every=1",
    "train.lr=1e-3", "train.lr_warmup=0", "data.stain_jitter=0", "loss.contrast.weight=0.1",
    "loss.diversity.weight=0.5", "loss.composite.weight=0", "loss.morphology.encoder=stain",
)  # fmt: skip
BY_PROTOTYPES = (
    "loss.composite.weight=1", "model.head_width=8", "predict.gate=none", "predict.offsets=false",
    "loss.morphology.weight=0",
)  # fmt: skip
"""Masks that prototypes make, so that there is a map of them."""

_COLOURS = np.array([[230, 120, 170], [80, 70, 160]])


@dataclass(frozen=True)
class Case:
    """A command.

    - `words`: of the command line, from the room where its inputs lie and the folder that it writes.
    - `again`: further words of the command that goes on.
    - `inputs`: what it reads until late, for faults of reading, as a pattern below the room; none is tried without.
    - `workers`: whether it has processes of its own at work.
    """

    name: str
    words: Callable[[Path, Path], list[str]]
    again: tuple[str, ...] = ()
    inputs: str = ""
    workers: bool = False


def draw_room(room: Path, train: Callable[[list[str]], None]) -> None:
    """Patches, slides with regions, two trained runs and a benchmark; once, below `room`."""
    rng = np.random.default_rng(0)
    for name in ("patches/train", "patches/valid/img", "patches/valid/mask", "slides", "regions"):
        (room / name).mkdir(parents=True)
    for number in range(20):
        mask = np.zeros((32, 32), np.uint8)
        mask[:, (0, 32, 14)[number % 3] :] = 1
        image, label = _image(mask, rng), f"{int((mask == 0).any())}{int((mask == 1).any())}"
        if number < 12:
            image.save(room / "patches" / "train" / f"t{number % 3}_{number}[{label}].png")
        else:
            image.save(room / "patches" / "valid" / "img" / f"v{number % 2}_{number}.png")
            Image.fromarray(mask).save(room / "patches" / "valid" / "mask" / f"v{number % 2}_{number}.png")
    for name in ("a", "b", "c"):
        mask = np.zeros((256, 320), np.uint8)
        mask[:, 160:] = 1
        _image(mask, rng).save(room / "slides" / f"{name}.png")
        features = [_region("pink", 0), _region("blue", 160)]
        text = json.dumps({"type": "FeatureCollection", "features": features})
        (room / "regions" / f"{name}.geojson").write_text(text, encoding="utf-8")
    (room / "patches" / "classes.yaml").write_text("names: [pink, blue]\n", encoding="utf-8")
    (room / "benchmark.yaml").write_text(
        json.dumps(
            {
                "name": "small", "reference": "A",
                "set": [*SMALL, "train.epochs=1", "train.validations=1", "data.cache=false"],
                "data": {"drawn": {"path": str(room / "patches")}},
                "variants": {"A": {}, "B": {"set": ["train.lr=2e-3"]}},
            }
        ),
        encoding="utf-8",
    )  # fmt: skip
    train(_train(room, room / "run"))
    train(_train(room, room / "prototypes", BY_PROTOTYPES))


def _image(mask: np.ndarray, rng: np.random.Generator) -> Image.Image:
    pixels = _COLOURS[mask] + rng.integers(-20, 20, (*mask.shape, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _region(name: str, left: int) -> dict[str, object]:
    corners = [[left, 0], [left + 160, 0], [left + 160, 256], [left, 256], [left, 0]]
    geometry = {"type": "Polygon", "coordinates": [corners]}
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}


def _train(room: Path, out: Path, more: tuple[str, ...] = ()) -> list[str]:
    settings = [word for one in (*SMALL, *more) for word in ("--set", one)]
    words = ["train", "--data", f"{room}/patches", "--out", str(out), "--classes", "pink,blue", "--device", "cpu"]
    return [*words, *settings]


def _train_loaded(room: Path, out: Path) -> list[str]:
    return [*_train(room, out), "--set", "data.workers=1"]


def _train_anew(room: Path, out: Path) -> list[str]:
    """Every epoch opens the files again, or a file that is cut later than the first is never noticed."""
    return [*_train(room, out), "--set", "data.cache=false"]


def _train_anew_loaded(room: Path, out: Path) -> list[str]:
    return [*_train_loaded(room, out), "--set", "data.cache=false"]


def _segment(room: Path, out: Path, run: str = "run") -> list[str]:
    return ["segment", f"{room}/{run}", f"{room}/patches/valid/img", f"{room}/patches/train", "--out", str(out),
            "--overlay", "--probabilities", "--uncertainty", "--device", "cpu"]  # fmt: skip


def _segment_more(room: Path, out: Path) -> list[str]:
    """Also which prototype won each pixel."""
    return [*_segment(room, out, "prototypes"), "--prototypes"]


def _slides(room: Path, out: Path) -> list[str]:
    return ["segment", f"{room}/run", f"{room}/slides", "--out", str(out), "--to", "geojson,ome-tiff,zarr,png,csv",
            "--mpp", "0.5", "--model-mpp", "0.5", "--device", "cpu", "--workers", "1"]  # fmt: skip


def _tile(room: Path, out: Path) -> list[str]:
    return ["data", "tile", f"{room}/slides", "--regions", f"{room}/regions", "--out", str(out), "--size", "32",
            "--mpp", "0.5", "--patch-mpp", "0.5"]  # fmt: skip


def _evaluate(room: Path, out: Path) -> list[str]:
    return ["evaluate", f"{room}/run", "--data", f"{room}/patches", "--device", "cpu", "--gate", "predicted",
            "--gate", "none", "--json", f"{out}/e.json", "--csv", f"{out}/e.csv"]  # fmt: skip


def _benchmark(room: Path, out: Path) -> list[str]:
    return ["benchmark", f"{room}/benchmark.yaml", "--out", str(out), "--device", "cpu"]


def _bundle(room: Path, out: Path) -> list[str]:
    return ["bundle", f"{room}/run", str(out), "--data", f"{room}/patches", "--split", "valid", "--device", "cpu"]


def _synth(room: Path, out: Path) -> list[str]:
    return [
        "data",
        "synth",
        str(out),
        "--train",
        "8",
        "--valid",
        "4",
        "--test",
        "4",
        "--size",
        "96",
        "--workers",
        "2",
    ]


def _export(room: Path, out: Path) -> list[str]:
    return ["export", f"{room}/run", "--out", f"{out}/run.onnx"]


def _report(room: Path, out: Path) -> list[str]:
    return ["report", f"{room}/run", "--out", f"{out}/report.html", "--device", "cpu"]


def _figure(kind: str) -> Callable[[Path, Path], list[str]]:
    def words(room: Path, out: Path) -> list[str]:
        more = () if kind == "curves" else ("--data", f"{room}/patches", "--split", "valid", "--device", "cpu")
        return ["figure", kind, f"{room}/prototypes", "--out", f"{out}/figure.png", *more]

    return words


def _atlas(room: Path, out: Path) -> list[str]:
    return ["prototypes", f"{room}/prototypes", "--out", f"{out}/atlas.html", "--png", f"{out}/atlas.png",
            "--json", f"{out}/atlas.json", "--data", f"{room}/patches", "--device", "cpu"]  # fmt: skip


CASES = (
    Case("train", _train, ("--resume",)),
    Case("train with a loader", _train_loaded, ("--resume",), workers=True),
    Case("train uncached", _train_anew, ("--resume",), "patches/train/*"),
    Case("train uncached with a loader", _train_anew_loaded, ("--resume",), "patches/train/*", workers=True),
    Case("segment patches", _segment, (), "patches/valid/img/*"),
    Case("segment patches with prototypes", _segment_more, (), "patches/valid/img/*"),
    Case("segment slides", _slides, (), "slides/*", workers=True),
    Case("tile", _tile, (), "slides/*"),
    Case("evaluate", _evaluate, (), "patches/valid/*/*"),
    Case("benchmark", _benchmark, (), "patches/train/*"),
    Case("bundle", _bundle, (), "patches/valid/*/*"),
    Case("synth", _synth, (), workers=True),
    Case("export", _export),
    Case("report", _report, (), "patches/valid/*/*"),
    Case("figure curves", _figure("curves")),
    Case("figure grid", _figure("grid"), (), "patches/valid/*/*"),
    Case("figure prototypes", _figure("prototypes"), (), "patches/valid/*/*"),
    Case("prototypes", _atlas, (), "patches/valid/*/*"),
)


def fresh(out: Path) -> None:
    """Nothing of an earlier trial."""
    shutil.rmtree(out, ignore_errors=True)
