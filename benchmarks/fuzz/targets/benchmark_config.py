"""Benchmarks in YAML."""

from pathlib import Path
from random import Random

from lpdseg.benchmark.config import read_config
from mutations import bytes_changed, json_changed

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 1000


def seeds(folder: Path) -> list[bytes]:
    return [
        b'{"name": "x", "reference": "LPD", "seeds": [0, 1], "split": "test", "data": {"made": {"generate": '
        b'{"patches": {"train": 2}}}, "own": {"path": "p", "set": ["train.epochs=2"]}}, "variants": {"LPD": {}, '
        b'"CAM": {"method": "cam", "only": ["own"], "data": {"made": ["train.lr=1e-4"]}}}}',
        b"name: x\nreference: LPD\ndata:\n  own: {path: p, preset: q.yaml}\nvariants:\n  LPD:\n  B: {set: [a=1]}\n",
    ]


def mutate(data: bytes, random: Random) -> bytes:
    return json_changed(data, random) if data.startswith(b"{") else bytes_changed(data, random)


def parse(data: bytes, folder: Path) -> None:
    path = folder / "benchmark.yaml"
    path.write_bytes(data)
    read_config(path)
