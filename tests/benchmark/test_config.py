"""Config files: every mistake is one sentence that names the file and the entry."""

from pathlib import Path

import pytest
import yaml

from lpdseg.benchmark.config import read_config
from lpdseg.errors import SettingsError

CONFIGS = sorted((Path(__file__).parents[2] / "benchmarks" / "configs").glob("*.yaml"))
GOOD = {
    "name": "main",
    "reference": "LPD",
    "data": {"glas": {"path": "glas"}},
    "variants": {"LPD": None, "CAM": {"method": "cam", "data": {"glas": ["train.lr=1"]}}},
}


def test_a_variant_may_be_empty_and_defaults_hold(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, GOOD))
    assert (config.seeds, config.split, config.coverage) == ((0,), "valid", False)
    assert config.variants["LPD"].overrides == ()
    assert config.variants["CAM"].data == {"glas": ("train.lr=1",)}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path: Path) -> None:
    read_config(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"variant": {}}, "unknown entry 'variant'; did you mean 'variants'?"),
        ({"variants": {"LPD": {"sets": []}}}, "unknown entry 'variants.LPD.sets'; did you mean 'set'?"),
        ({"data": {"x": {"paht": "p"}}}, "unknown entry 'data.x.paht'; did you mean 'path'?"),
        ({"data": {"x": {"generate": {"patches": {}, "zzz": 1}}}}, "known are seed, size, mpp, patches, patients"),
        ({"reference": "PBIP"}, "the reference 'PBIP' is none of the variants LPD, CAM"),
        ({"seeds": [1, 1]}, "a seed is listed twice"),
        ({"seeds": []}, "seeds = [] cannot be used"),
        ({"seeds": [-1]}, "seeds.0 = -1 cannot be used"),
        ({"split": "val"}, "split = 'val' cannot be used: input should be 'train', 'valid' or 'test'"),
        ({"name": None}, "name = None cannot be used"),
        ({"set": "train.epochs=6"}, "set = 'train.epochs=6' cannot be used"),
        ({"data": {"x": {}}}, "data.x: a data set needs either 'path' or 'generate'"),
        ({"data": {"x": {"path": "p", "generate": {"patches": {"train": 1}}}}}, "either 'path' or 'generate'"),
        ({"variants": {"LPD": {"data": {"bcss": []}}}}, "the variant 'LPD' names 'bcss', which is no data set"),
        ({"variants": {"LPD": {}, "CAM": {"only": ["x"]}}}, "the variant 'CAM' names 'x', which is no data set"),
        ({"variants": {"LPD": {"only": ["glas"]}}}, "the reference 'LPD' must run on every data set"),
        ({"variants": {"LPD": {}, "glas": {}}}, "'glas' is both a variant and a data set"),
    ],
)
def test_mistakes_are_told_in_a_sentence(changes: dict[str, object], told: str, tmp_path: Path) -> None:
    path = write(tmp_path, GOOD | changes)
    with pytest.raises(SettingsError) as error:
        read_config(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and told in text and "\n" not in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "is not valid YAML"),
        ("- a", "is no benchmark"),
        (
            '{name: x, reference: a, data: {d: {path: p}}, variants: {"\\ud83e\\uddec": {}}}',
            "holds text that is no Unicode",
        ),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=told):
        read_config(path)
    with pytest.raises(SettingsError, match="cannot read the benchmark"):
        read_config(tmp_path / "none.yaml")


def test_a_missing_entry_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the entry 'reference' is missing"):
        read_config(write(tmp_path, {key: value for key, value in GOOD.items() if key != "reference"}))


def write(folder: Path, values: dict[str, object]) -> Path:
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path
