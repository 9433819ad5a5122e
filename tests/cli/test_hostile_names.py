"""Names that would steer a terminal, in whatever a command prints of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lpdseg.benchmark.log import LOG
from lpdseg.cli.main import main

FORGED = "all is well"
STEERS = f"x\x1b[2J\x07\nlpdseg: {FORGED} "
"""Clears a terminal, rings its bell, and adds a line of its own."""

CLASSES = ("pi\x1b[31m\x07nk", "blu\x1b]0;title\x07e")

Shown = Callable[..., str]


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str]) -> Shown:
    """Runs a command and gives what it printed, every line of which leaves a terminal as it is."""

    def run(*words: object, code: int = 0) -> str:
        capfd.readouterr()
        ended = main([str(word) for word in words])
        told = capfd.readouterr()
        both = told.out + told.err
        assert ended == code, both
        for line in both.split("\n"):
            assert line.isprintable(), line
            assert not line.startswith(f"lpdseg: {FORGED}"), line
        return both

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / STEERS
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def data(small_data: Path, place: Path) -> Path:
    """As `small_data`, with patients whose names steer, in a folder whose name does."""
    copy = Path(shutil.copytree(small_data, place / "data"))
    for path in sorted(copy.rglob("*.png")):
        path.rename(path.with_name(f"{STEERS}{path.name}"))
    return copy


@pytest.fixture(scope="module")
def run(data: Path, place: Path, small_settings: tuple[str, ...]) -> Path:
    """A run in such a folder, with such classes, whose masks are made of prototypes."""
    from lpdseg.api import train

    taught = ("loss.composite.weight=1", "model.head_width=8", "predict.gate=none", "predict.offsets=false")
    taught += ("loss.morphology.weight=0",)
    train(data, place / "run", classes=",".join(CLASSES), overrides=(*small_settings, *taught), device="cpu")
    return place / "run"


def test_train(data: Path, place: Path, small_settings: tuple[str, ...], shown: Shown) -> None:
    changes = [word for one in (*small_settings, "train.epochs=1") for word in ("--set", one)]
    told = shown(
        "train", "--data", data, "--classes", ",".join(CLASSES), "--out", place / "new", "--device", "cpu", *changes
    )
    assert "The run is in" in told and "x�[2J��lpdseg: all is well" in told
    assert "already holds a run" in shown(
        "train", "--data", data, "--out", place / "new", "--device", "cpu", code=1
    )


def test_data(data: Path, place: Path, shown: Shown) -> None:
    odd = Path(shutil.copytree(data, place / "odd"))
    (odd / "train" / f"{STEERS}[10].png").write_bytes(b"no image")
    told = shown("data", "check", odd, "--classes", ",".join(CLASSES), code=1)
    assert "label pi�[31m�nk" in told and "share of mask pixels" in told
    shown("data", "synth", place / "made", "--size", 56, "--train", 2, "--valid", 0, "--test", 0, "--workers", 1)


def test_tile(place: Path, shown: Shown) -> None:
    tifffile = pytest.importorskip("tifffile")
    from shapely.geometry import box, mapping

    pixels = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    (place / "slides").mkdir()
    tifffile.imwrite(place / "slides" / f"{STEERS}.tif", pixels, photometric="rgb", tile=(64, 64), metadata=None)
    regions = [
        {
            "type": "Feature",
            "geometry": mapping(box(80 * number, 0, 80 * number + 80, 96)),
            "properties": {"classification": {"name": name, "color": [number, 9, 9]}},
        }
        for number, name in enumerate(CLASSES)
    ]
    (place / "drawn.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": regions}))
    out = place / "tiled"
    words = ("data", "tile", place / "slides", "--regions", place / "drawn.geojson", "--out", out, "--mpp", 0.5)
    assert "pi�[31m�nk" in shown(*words, "--size", 32)


def test_evaluate(run: Path, data: Path, place: Path, shown: Shown) -> None:
    words = ("evaluate", run, "--data", data, "--classes", ",".join(CLASSES), "--split", "valid", "--device", "cpu")
    told = shown(
        *words, "--gate", "none", "--worst", 4, "--patches", place / "p.csv", "--patients", place / "q.csv"
    )
    assert "IoU pi�[31m�nk" in told and "lpdseg: all is" in told


def test_segment(run: Path, data: Path, place: Path, shown: Shown) -> None:
    images = Path(shutil.copytree(data / "valid" / "img", place / "images"))
    (images / f"{STEERS}.png").write_bytes(b"no image")
    words = ("segment", run, images, "--device", "cpu", "--on-error", "skip", "--overlay", "--prototypes")
    told = shown(*words, "--uncertainty", "--out", place / "masks", code=1)
    assert "Skipped 1 of 5" in told and "pi�[31m�nk" in told
    shown("segment", run, place / "none", "--out", place / "masks", "--device", "cpu", code=1)


def test_segment_slides(run: Path, place: Path, shown: Shown) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels = np.full((128, 128, 3), 246, np.uint8)
    pixels[20:100, 20:100] = (220, 120, 170)
    (place / "in").mkdir()
    tifffile.imwrite(place / "in" / f"{STEERS}.tif", pixels, photometric="rgb", tile=(64, 64), metadata=None)
    (place / "in" / f"{STEERS}2.tif").write_bytes(b"no slide")
    words = ("segment", run, place / "in", "--out", place / "slides-out", "--to", "geojson,csv", "--device", "cpu")
    told = shown(*words, "--mpp", 0.5, "--model-mpp", 0.5, "--workers", 0, "--on-error", "skip", code=1)
    assert "1 of 2 slides failed" in told and "tissue mm²" in told


def test_pages_and_figures(run: Path, data: Path, place: Path, shown: Shown) -> None:
    asked = ("--data", data, "--classes", ",".join(CLASSES), "--split", "valid", "--device", "cpu")
    told = shown("prototypes", run, "--out", place / "atlas.html", "--json", place / "atlas.json", *asked)
    assert "pi�[31m�nk" in told
    shown("report", run, "--out", place / "report.html", *asked)
    shown("figure", "confusion", run, "--out", place / "f.png", *asked)
    shown("figure", "curves", run, "--out", place / "g.png")


def test_giving_away(run: Path, data: Path, place: Path, shown: Shown) -> None:
    assert "README.md" in shown("bundle", run, place / "bundle", "--title", STEERS)
    shown("bundle", "pull", "hf:lab/\x1b[2Jtissue", place / "got", code=1)
    pytest.importorskip("onnx")
    shown("export", run, "--out", place / "graph.onnx")
    shown("licenses", run)


def test_verify(run: Path, data: Path, shown: Shown) -> None:
    assert "All that could be checked holds" in shown("verify", run, "--device", "cpu")
    changed = next((data / "train").iterdir())
    before = changed.read_bytes()
    Image.new("RGB", (32, 32)).save(changed)
    try:
        assert "Not as recorded" in shown("verify", run, "--device", "cpu", code=1)
    finally:
        changed.write_bytes(before)


def test_view(run: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    from lpdseg.view import serving

    def serve(visit: Any, **options: Any) -> None:
        options["told"]("http://127.0.0.1:1/?token=x")
        visit.close()

    monkeypatch.setattr(serving, "serve", serve)
    told = shown("view", run, "--no-browser", "--device", "cpu")
    assert told.endswith("images. Look at them: http://127.0.0.1:1/?token=x\nStop with Ctrl-C.\n")


def test_benchmark(data: Path, place: Path, shown: Shown) -> None:
    config = {
        "name": "steers",
        "reference": STEERS,
        "data": {
            f"tiles \x1b[2J{FORGED}": {"path": str(data), "set": [f"data.classes={json.dumps(','.join(CLASSES))}"]}
        },
        "set": ["model.encoder=resnet18", f"model.weights={json.dumps(str(place))}"],
        "variants": {STEERS: None},
    }
    (place / "config.yaml").write_text(json.dumps(config))
    out = place / "benchmark"
    assert "failed" in shown("benchmark", place / "config.yaml", "--out", out, "--device", "cpu", code=1)
    (log,) = out.rglob(LOG)
    lines = log.read_text(encoding="utf-8").split("\n")
    assert all(line.isprintable() for line in lines) and len(lines) < 9, lines


def test_what_cannot_be_understood(shown: Shown) -> None:
    shown(STEERS, code=2)
    shown("train", f"--{STEERS}", code=2)
    shown("weights", "convert", STEERS, "out", code=1)
    shown("licenses", STEERS, code=1)
    shown("doctor", "--patches", 2, "--preset", STEERS, code=2)


def test_documents_stay_as_they_are(run: Path, shown: Shown, capfd: pytest.CaptureFixture[str]) -> None:
    """JSON and YAML, whose writers escape what names hold."""
    from lpdseg.plain_yaml import read_yaml

    assert main(["licenses", str(run), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["licences"]
    assert main(["settings", "--set", f"model.weights={json.dumps(STEERS)}"]) == 0
    out = capfd.readouterr().out
    assert "\x1b" not in out and read_yaml(out)["model"]["weights"] == STEERS
