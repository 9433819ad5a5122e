"""Settings in YAML. What was taken is the same once it was written."""

from pathlib import Path
from random import Random

from lpdseg.settings import as_yaml, load_settings
from mutations import bytes_changed, json_changed

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 1500


def seeds(folder: Path) -> list[bytes]:
    some = "train: {lr: 1e-4}\nmodel:\n  encoder: mit_b1\n  prototypes: [3, 2]\npredict: {fusion: [0, 0.5, 1]}\n"
    shared = "loss: &x\n  scale_weights: [0, 0.1, 1]\n# a word\npredict:\n  <<: {views: [plain]}\n"
    as_json = (
        '{"loss": {"contrast": {"weight": 0.1}}, "data": {"workers": 0, "stain_jitter": 0.2}, "method": "cam"}'
    )
    return [as_json.encode(), some.encode(), shared.encode()]


def mutate(data: bytes, random: Random) -> bytes:
    return json_changed(data, random) if data.startswith(b"{") else bytes_changed(data, random)


def parse(data: bytes, folder: Path) -> None:
    path = folder / "settings.yaml"
    path.write_bytes(data)
    settings = load_settings(path)
    again = folder / "again.yaml"
    again.write_text(as_yaml(settings), encoding="utf-8")
    assert load_settings(again) == settings
