from pathlib import Path

import pytest

from lpdseg.benchmark.config import read_config
from lpdseg.benchmark.plan import all_settings

OTHER_BUDGET = {
    "CAM, as long as LPD",
    "a fifth of the steps",
    "encoder frozen",
    "twice the steps",
    "twice the steps, linear head",
}
"""Variants that say in their name that they take other steps or rates."""
ENCODERS = {"demo", "encoders", "glas"}
"""Benchmarks that compare encoders, each at the learning rate that suits it."""
CONFIGS = sorted((Path(__file__).parents[2] / "benchmarks" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_run_of_a_shipped_benchmark_has_valid_settings(path: Path) -> None:
    config = read_config(path)
    found = all_settings(config, config.data, {"LPDSEG_DATA": "somewhere"})
    pairs = [variant.runs_on(data) for variant in config.variants.values() for data in config.data]
    assert len(found) == len(config.seeds) * sum(pairs)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_variants_of_a_shipped_benchmark_train_alike(path: Path) -> None:
    config = read_config(path)
    found = all_settings(config, config.data, {"LPDSEG_DATA": "somewhere"})
    for (data, name, seed), settings in found.items():
        reference = found[data, config.reference, seed]
        if path.stem in ENCODERS:
            assert settings.train.batch == reference.train.batch
            assert settings.train.epochs == reference.train.epochs or "equal time" in name or path.stem == "demo"
            continue
        if path.stem == "batch":
            rest = settings.train.model_copy(update={"batch": reference.train.batch, "lr": reference.train.lr})
            assert rest == reference.train and settings.model == reference.model
            continue
        other = name in OTHER_BUDGET or name.startswith("random start")
        assert (settings.train == reference.train) == (not other)
        assert settings.model.encoder == reference.model.encoder


def test_batches_are_compared_at_rates_that_follow_three_rules() -> None:
    config = read_config(CONFIGS[0].with_name("batch.yaml"))
    generated = config.data["generated"].generate
    assert generated is not None and generated.patches["train"] >= 20_000
    assert generated.patches["train"] % 256 == 0, "epochs are equally long"
    found = {name: run.train for (_, name, _), run in all_settings(config, config.data, {}).items()}
    first = found.pop("batch 16")
    assert first.batch == 16
    for times in (4, 16):
        rules = {"as it is": 1.0, "by the square root": times**0.5, "linear": times}
        for rule, factor in rules.items():
            run = found.pop(f"batch {16 * times}, rate {rule}")
            assert (run.batch, run.lr) == (16 * times, pytest.approx(factor * first.lr))
    assert not found


def test_there_is_something_to_check() -> None:
    assert {"main", "smoke", "ablation-losses"} <= {path.stem for path in CONFIGS}


def test_a_variant_runs_only_on_the_data_sets_that_it_names() -> None:
    config = read_config(CONFIGS[0].with_name("main.yaml"))
    found = {(data, name) for data, name, _ in all_settings(config, config.data, {"LPDSEG_DATA": "somewhere"})}
    assert ("generated", "supervised") in found
    assert ("glas", "supervised") not in found
    assert {("glas", "CAM"), ("generated", "CAM")} <= found
