"""`edits.yaml`: what an expert says of prototypes, and what it means for a run."""

from pathlib import Path
from random import Random

from lpdseg.segmenting.edits import plan, read_edits
from mutations import bytes_changed, json_changed

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 400


def seeds(folder: Path) -> list[bytes]:
    return [
        b'{"TUM 1": {"name": "cribriform"}, "TUM 2": {"merge": "TUM 1"}, "STR 1": {"hide": "true"}}',
        b"TUM 1: {move: STR}\nSTR 2:\n  name: lymphoid band\nTUM 2: {move: background}\n",
    ]


def mutate(data: bytes, random: Random) -> bytes:
    return json_changed(data, random) if data.startswith(b"{") else bytes_changed(data, random)


def parse(data: bytes, folder: Path) -> None:
    path = folder / "edits.yaml"
    path.write_bytes(data)
    found = plan(
        read_edits(path), ("TUM", "STR"), (0, 0, 1, 1), frozenset({3}) if len(data) % 2 else frozenset(), True
    )
    assert all(0 <= target <= 2 for target in found.target) and all(0 <= shown < 4 for shown in found.shown)
