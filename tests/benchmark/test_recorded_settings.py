"""Presets and committed benchmarks mean what they meant when their figures were made, whatever becomes of defaults.

`recorded_settings.json` holds every setting of each preset as it was before the recommended recipe became the
default, and for each variant of each benchmark what it changes of its preset. `ON_PURPOSE` lists what is to differ.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from lpdseg.benchmark.config import read_config
from lpdseg.benchmark.plan import all_settings
from lpdseg.settings import Settings, load_settings

CONFIGS = Path(__file__).parents[2] / "benchmarks" / "configs"
RECORDED = json.loads((Path(__file__).parent / "recorded_settings.json").read_text(encoding="utf-8"))
_LITE = {"model.encoder": "efficientnet_lite0", "model.weights": "auto", "train.lr": 2e-3}
_DENSE = {"loss.diversity.pixels": "batch"}
_CHUNK = {"loss.contrast.chunk": "auto"}  # 4 on a CPU, as before
_THREE_SCALES = {
    "model.stages": 3,
    "loss.scale_weights": [0.0, 0.1, 1.0],
    "predict.fusion": [0.0, 0.4, 0.6],
    "train.batch": 16,
}
ON_PURPOSE: dict[str, dict[str, Any]] = {
    "demo": {
        **_LITE,
        **_DENSE,
        **_CHUNK,
        "model.freeze_norm": True,
        "model.last_stride": None,
        "train.epochs": 6.0,
    },
    "glas": {
        **_LITE,
        **_DENSE,
        **_CHUNK,
        "model.freeze_norm": False,
        "model.last_stride": None,
        "train.prototype_lr": 1.0,
    },
    **dict.fromkeys(("bcss", "luad", "wsss4luad"), _LITE | _DENSE | _THREE_SCALES | _CHUNK),
    "paper": _CHUNK,
}
"""By preset: settings that are others now."""


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def resolved(settings: Settings, known: dict[str, Any]) -> dict[str, Any]:
    """Those settings that there were."""
    values = flat(settings.model_dump(mode="json"))
    return {name: values[name] for name in known}


@pytest.mark.parametrize("name", RECORDED["presets"])
def test_a_preset_is_what_it_was(name: str) -> None:
    known = RECORDED["presets"][name]
    assert resolved(load_settings(name), known) == known | ON_PURPOSE.get(name, {})


def test_every_variant_of_every_benchmark_is_what_it_was() -> None:
    found = {}
    for path in sorted(CONFIGS.glob("*.yaml")):
        config = read_config(path)
        for (data, variant, seed), settings in all_settings(config, config.data, {"LPDSEG_DATA": "/DATA"}).items():
            if seed == config.seeds[0]:
                found[f"{config.name} | {data} | {variant}"] = settings
    assert set(RECORDED["variants"]) <= set(found)
    for title, changed in RECORDED["variants"].items():
        known = RECORDED["presets"][found[title].name]
        assert resolved(found[title], known) == known | changed, title


def test_paper_and_the_benchmarks_hang_on_no_default() -> None:
    everything = set(RECORDED["presets"]["paper"])
    paper = CONFIGS.parents[1] / "src" / "lpdseg" / "presets" / "paper.yaml"
    for path in (paper, *sorted((CONFIGS / "settings").glob("*.yaml"))):
        assert everything - set(flat(read_yaml(path))) == set(), path
    for path in CONFIGS.glob("*.yaml"):
        assert all(part.preset for part in read_config(path).data.values()), path


def test_presets_of_data_sets_are_small_differences() -> None:
    """And state nothing that the recommended recipe says already."""
    default = flat(Settings().model_dump(mode="json"))
    for name in ("bcss", "luad", "wsss4luad", "own", "glas", "demo"):
        stated = flat(read_yaml(CONFIGS.parents[1] / "src" / "lpdseg" / "presets" / f"{name}.yaml"))
        assert [key for key, value in stated.items() if default[key] == value] == [], name


def read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values
