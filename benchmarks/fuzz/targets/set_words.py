"""Words of `--set`, one a line."""

from pathlib import Path
from random import Random

from lpdseg.settings import load_settings
from mutations import bytes_changed

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 300
_PARTS = (
    "train.lr",
    "predict",
    "=",
    ".",
    "[0, 1]",
    "{a: 1}",
    "1e-4",
    "null",
    "&a",
    "*a",
    "!!int",
    "loss.contrast.weight",
)


def seeds(folder: Path) -> list[bytes]:
    return [
        b"train.lr=1e-4\nmodel.prototypes=2\npredict.views=[plain, flip]",
        b"loss.scale_weights=[0,0.1,1]\npredict.fusion=[0,0.4,0.6]\ntrain={epochs: 3}",
        b"name=x\nmethod=cam\nmodel.encoder=mit_b0\ntrain.seed=3",
    ]


def mutate(data: bytes, random: Random) -> bytes:
    if random.random() < 0.5:
        return bytes_changed(data, random)
    at = random.randint(0, len(data))
    return data[:at] + random.choice(_PARTS).encode() + data[at + random.choice((0, 1, 4)) :]


def parse(data: bytes, folder: Path) -> None:
    load_settings(None, data.decode("utf-8", "surrogateescape").split("\n"))
