"""Which settings stand above which, what makes two runs the same, and data sets that may be missing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lpdseg.benchmark.config import Config, DataSet
from lpdseg.benchmark.plan import Run, all_settings, chosen, content_key, plan
from lpdseg.benchmark.sources import Loaded, available, expand, load, possible
from lpdseg.data.importers import load_data
from lpdseg.errors import DataError, SettingsError
from lpdseg.sections import DataSettings
from lpdseg.settings import Settings
from lpdseg.tissue import tissue_classes

Make = Callable[..., Config]


def settings_of(config: Config, variant: str, **environment: str) -> Settings:
    return all_settings(config, config.data, environment)["tiles", variant, config.seeds[0]]


def test_later_settings_stand_above_earlier_ones(config: Make) -> None:
    data = {"tiles": {"path": "p", "preset": "glas", "weights": "w", "set": ["train.epochs=2", "train.lr=2"]}}
    bench = config(
        data=data,
        set=["train.epochs=1", "train.lr=1", "train.clip=1"],
        variants={
            "LPD": {},
            "own": {"preset": "demo", "set": ["train.lr=3", "train.clip=3"], "data": {"tiles": ["train.clip=4"]}},
            "from scratch": {"set": ["model.weights=null", "train.seed=9"]},
        },
        seeds=[5],
    )
    plain = settings_of(bench, "LPD")
    assert (plain.name, plain.model.weights, plain.train.seed) == ("glas", "w", 5)
    assert (plain.train.epochs, plain.train.lr, plain.train.clip) == (2, 2, 1)
    own = settings_of(bench, "own")
    assert (own.name, own.train.epochs, own.train.lr, own.train.clip) == ("demo", 2, 3, 4)
    assert own.model.weights == "w"
    scratch = settings_of(bench, "from scratch")
    assert (scratch.model.weights, scratch.train.seed) == (None, 5)


def test_a_method_is_set_last(config: Make) -> None:
    bench = config(variants={"LPD": {}, "CAM": {"method": "cam"}})
    assert (settings_of(bench, "LPD").method, settings_of(bench, "CAM").method) == ("lpd", "cam")


def test_a_wrong_setting_names_variant_and_data_set(config: Make) -> None:
    bench = config(variants={"LPD": {}, "CAM": {"set": ["train.epohcs=1"]}})
    with pytest.raises(SettingsError, match=r"variant 'CAM' on 'tiles': .*did you mean 'train.epochs'"):
        settings_of(bench, "CAM")


def test_only_takes_variants_and_data_sets(config: Make) -> None:
    bench = config(data={"a": {"path": "a"}, "b": {"path": "b"}})
    runs = [Run(*place, entry, "key") for place, entry in all_settings(bench, bench.data, {}).items()]
    assert len(chosen(bench, runs, ())) == 8
    assert {run.variant for run in chosen(bench, runs, ["CAM"])} == {"CAM"}
    assert [run.seed for run in chosen(bench, runs, ["CAM", "b"])] == [0, 1]
    with pytest.raises(SettingsError, match="'c' is no variant and no data set"):
        chosen(bench, runs, ["c"])


def test_the_key_is_that_of_what_would_be_computed(
    config: Make, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_data(small_data, tissue_classes("pink,blue"))
    loaded = Loaded("tiles", manifest)
    bench = config(
        variants={"LPD": {}, "same": {"set": ["description=other words"]}, "CAM": {"set": ["train.lr=1"]}}
    )
    runs = plan(bench, all_settings(bench, bench.data, {}), {"tiles": loaded})
    keys = {(run.variant, run.seed): run.key for run in runs}
    assert keys["LPD", 0] == keys["same", 0]
    assert len(set(keys.values())) == 4  # two seeds, two different variants
    settings = runs[0].settings
    key = content_key(settings, loaded, "valid")
    assert key == keys["LPD", 0]
    assert key != content_key(settings, loaded, "test")
    assert key != content_key(settings, Loaded("tiles", replace(manifest, records=manifest.records[1:])), "valid")
    masked = replace(manifest, records=tuple(replace(one, mask=one.mask or one.path) for one in manifest.records))
    assert key == content_key(settings, Loaded("tiles", masked), "valid")
    supervised = settings.model_copy(update={"method": "supervised"})
    assert content_key(supervised, Loaded("tiles", masked), "valid") != content_key(supervised, loaded, "valid")

    def with_weights(folder: str, content: bytes) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "model.safetensors").write_bytes(content)
        model = settings.model.model_copy(update={"weights": str(tmp_path / folder)})
        return content_key(settings.model_copy(update={"model": model}), loaded, "valid")

    assert with_weights("here", b"1") == with_weights("there", b"1") != with_weights("here", b"2")
    monkeypatch.setattr("lpdseg.benchmark.plan.__version__", "9")
    assert key != content_key(settings, loaded, "valid")


def test_variables_come_from_the_environment_and_what_is_optional_may_be_missing(
    config: Make, tmp_path: Path
) -> None:
    assert expand("a ${X}/${X}$Y", {"X": "b"}) == "a b/b$Y"
    here = {"path": str(tmp_path)}
    data = {"here": here, "glas": {"path": "${NOT_SET}/glas", "optional": True}}
    found, skipped = available(config(data=data), {})
    assert list(found) == ["here"]
    assert skipped == ["The data set 'glas' is left out: the environment variable NOT_SET is not set."]
    found, skipped = available(config(data=data), {"NOT_SET": str(tmp_path)})
    assert "does not exist" in skipped[0]
    (tmp_path / "glas").mkdir()
    found, skipped = available(config(data=data), {"NOT_SET": str(tmp_path)})
    assert found["glas"].path == str(tmp_path / "glas") and not skipped
    with pytest.raises(SettingsError, match="data set 'glas': the environment variable NOT_SET is not set"):
        available(config(data={"glas": {"path": "${NOT_SET}/glas"}}), {})
    with pytest.raises(SettingsError, match="has no data set left"):
        available(config(data={"glas": {"path": "${NOT_SET}/glas", "optional": True}}), {})
    with pytest.raises(SettingsError, match=r"the weights .* do not exist"):
        available(config(data={"here": here | {"weights": str(tmp_path / "none")}}), {})
    available(config(data={"here": here | {"weights": "owner/model"}}), {})


def test_data_that_cannot_be_scored_is_refused_before_any_run(small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no masks in its split 'train'"):
        load("tiles", DataSet(path=str(small_data)), "train", DataSettings(classes="pink,blue"), True, tmp_path)
    found = load("tiles", DataSet(path=str(small_data)), "valid", DataSettings(classes="pink,blue"), True, tmp_path)
    assert found.manifest.classes.names == ("pink", "blue")


def test_generated_data_is_kept_by_what_it_is(tmp_path: Path) -> None:
    def made(size: int, train_masks: bool = False) -> Loaded:
        values = {
            "size": size,
            "mpp": 1.0,
            "patches": {"train": 1, "valid": 2},
            "patients": {"train": 1, "valid": 1},
        }
        return load(
            "made",
            DataSet.model_validate({"generate": values}),
            "valid",
            DataSettings(),
            False,
            tmp_path,
            train_masks=train_masks,
        )

    first, other, again = made(64), made(72), made(64, train_masks=True)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.manifest.source == again.manifest.source != other.manifest.source
    assert [one.manifest.split("train")[0].mask is None for one in (first, again)] == [True, False]
    assert len(list((tmp_path / "data").iterdir())) == 2


def test_an_optional_variant_is_left_out_where_what_it_names_is_missing(config: Make, tmp_path: Path) -> None:
    bench = config(
        variants={
            "LPD": {},
            "own weights": {"set": ["model.weights=${NOT_SET}/net"], "optional": True},
            "hub": {"data": {"tiles": ["model.weights=owner/model"]}, "optional": True},
        }
    )
    left, skipped = possible(bench, {})
    assert list(left.variants) == ["LPD", "hub"]
    assert skipped == ["The variant 'own weights' is left out: the environment variable NOT_SET is not set."]
    left, skipped = possible(bench, {"NOT_SET": str(tmp_path)})
    assert "own weights" not in left.variants and "do not exist" in skipped[0]
    (tmp_path / "net").mkdir()
    assert possible(bench, {"NOT_SET": str(tmp_path)}) == (bench, [])
