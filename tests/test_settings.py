from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lpdseg.errors import SettingsError
from lpdseg.sections import PredictSettings
from lpdseg.settings import (
    _ALIASES,
    Settings,
    _all_keys,
    as_yaml,
    change_section,
    load_settings,
    parse_settings,
    preset_names,
)


def test_presets_load_and_say_what_they_are_for(tmp_path: Path) -> None:
    for name in preset_names():
        settings = load_settings(name)
        assert settings.name == name
        assert settings.description
        path = tmp_path / f"{name}.yaml"
        path.write_text(as_yaml(settings), encoding="utf-8")
        assert load_settings(path) == settings


def test_no_preset_is_the_defaults() -> None:
    assert load_settings() == Settings()
    assert Settings().predict.gate == "predicted"


def test_overrides_change_only_what_they_name() -> None:
    settings = load_settings(None, ["train.lr=1e-4", "predict.views=[plain]", "model.prototypes=[2, 3]"])
    assert settings.train.lr == 1e-4
    assert settings.predict.views == ("plain",)
    assert settings.model.prototypes == (2, 3)
    assert settings.train.model_copy(update={"lr": 2e-3}) == Settings().train
    assert settings.loss == Settings().loss


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E-3", 1e-3), ("3", 3.0), (".5", 0.5), ("2.5e-05", 2.5e-5), (" 0.1 ", 0.1)],
)
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    assert load_settings(None, [f"train.lr={text}"]).train.lr == value


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("model.weights=null", "weights", None),
        ("model.weights=/some/folder", "weights", "/some/folder"),
        ("model.freeze_norm=yes", "freeze_norm", True),
        ("model.merge=softmax", "merge", "softmax"),
        ("model.weights=none", "weights", None),
        ("model.stages=none", "stages", None),
        ("model.tune=none", "tune", "none"),
    ],
)
def test_values_of_other_kinds(override: str, path: str, value: object) -> None:
    assert getattr(load_settings(None, [override]).model, path) == value


def test_a_later_override_wins_and_lists_hold_numbers_too() -> None:
    settings = load_settings(None, ["train.lr=1", "train.lr=2", "loss.scale_weights=[0, 1e-1, 1]"])
    assert settings.train.lr == 2
    assert settings.loss.scale_weights == (0, 0.1, 1)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.lrr=1", r"unknown setting 'train\.lrr' in settings; did you mean 'train\.lr'\?"),
        ("loss.wramup=0.2", r"did you mean 'loss\.warmup'\?"),
        ("loss.contrast.treshold=0.2", r"did you mean 'loss\.contrast\.threshold'\?"),
        ("lr=1", r"unknown setting 'lr' in settings; did you mean 'train\.lr'\?"),
        ("loss.lr=1", r"did you mean 'train\.lr'\?"),
        ("model.batch=1", r"did you mean '(train|predict)\.batch'\?"),
        ("train.learning_rate=1", r"did you mean 'train\.lr'\?"),
        ("batch_size=1", r"did you mean 'train\.batch'\?"),
        ("model.k=1", r"did you mean 'model\.prototypes'\?"),
        ("train.seed=4294967296", r"train\.seed = 4294967296 cannot be used: input should be less than 4294967296"),
        ("predict.views=[]", r"predict\.views = \[\] cannot be used"),
        ("predict.crf.gaussian_sxy=0.4", r"predict\.crf\.gaussian_sxy = 0\.4 cannot be used"),
        ("predict.crf.bilateral_sxy=0.9", r"predict\.crf\.bilateral_sxy = 0\.9 cannot be used"),
        ("predict.crf.bilateral_srgb=0.9", r"predict\.crf\.bilateral_srgb = 0\.9 cannot be used"),
        ("predict.gate=oracle", r"predict\.gate = 'oracle' needs ground truth, .*; use 'predicted' or 'none'"),
        ("xyzzy=1", r"unknown setting 'xyzzy' in settings$"),
        ("train.lr=fast", r"settings: train\.lr = 'fast' cannot be used: input should be a valid number"),
        ("train.lr=0", r"train\.lr = 0 cannot be used: input should be greater than 0"),
        ("train.lr=.nan", r"train\.lr = nan cannot be used: input should be a finite number"),
        ("train.lr=.inf", r"train\.lr = inf cannot be used"),
        ("train.betas=[0.9, 1]", r"train\.betas\.1 = 1 cannot be used: input should be less than 1"),
        ("predict.gate=oracl", r"predict\.gate = 'oracl' cannot be used: input should be 'predicted', 'oracle' or"),
        ("predict.views=[upside_down]", r"predict\.views\.0 = 'upside_down' cannot be used"),
        ("model.prototypes=0", r"model\.prototypes = 0 cannot be used: input should be greater than or equal to 1"),
        ("model.prototypes=[2, 0]", r"model\.prototypes\.1 = 0 cannot be used: input should be greater than or"),
        ("loss.scale_weights=[0, 1]", r"loss\.scale_weights has 2 numbers and predict\.fusion [34]"),
        ("loss.warmup=1.5", r"loss\.warmup = 1\.5 cannot be used: input should be less than or equal to 1"),
        ("train.lr.x=2", r"train\.lr"),
        ("train.epochs", r"cannot read the override 'train\.epochs'; write it as section\.setting=value"),
        ("=3", r"cannot read the override '=3'"),
        ("train.lr=[1", r"cannot read the value of the override 'train\.lr=\[1'"),
        ("name.x.y=1", r"name"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(override: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        load_settings(None, [override])
    assert "\n" not in str(caught.value)


def test_every_common_name_stands_for_a_setting() -> None:
    assert set(_ALIASES.values()) <= set(_all_keys())
    assert not set(_ALIASES) & {key.rpartition(".")[2] for key in _all_keys()}


def test_evaluation_may_ask_for_the_oracle() -> None:
    assert change_section(Settings().predict, {"gate": "oracle"}, "predict").gate == "oracle"


def test_weights_that_are_all_0_train_and_predict_nothing() -> None:
    for changes in ({"loss": {"scale_weights": (0, 0, 0)}}, {"predict": {"fusion": (0, 0, 0)}}):
        with pytest.raises(SettingsError, match="each need a number above 0"):
            parse_settings(changes, "here")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [", r"custom\.yaml is not valid YAML"),
        ("- 1\n- 2\n", r"custom\.yaml must hold settings such as"),
        ("train:\n  lrr: 1\n", r"unknown setting 'train\.lrr' in .*custom\.yaml; did you mean 'train\.lr'"),
    ],
)
def test_files_that_cannot_be_used(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "custom.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words) as caught:
        load_settings(path)
    assert "\n" not in str(caught.value)


def test_files_and_presets_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*none\.yaml"):
        load_settings(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot read the settings file"):
        load_settings(tmp_path / "bytes.yaml")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(
        SettingsError, match=r"run\.json is no preset, and settings are read from files that end in"
    ):
        load_settings(tmp_path / "run.json")
    for name in preset_names():
        with pytest.raises(SettingsError, match=rf"unknown preset '{name}x'; did you mean '{name}'\?"):
            load_settings(f"{name}x")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert load_settings(path) == Settings()


@given(
    st.floats(1e-9, 1),
    st.floats(1e-3, 100),
    st.lists(st.integers(1, 20), min_size=1, max_size=5),
    st.text(max_size=20),
)
@example(1.0, 1.0, [1], "a line\x85 of Unicode\u2028 breaks\u2029 thrice")
def test_yaml_round_trip_is_exact(lr: float, epochs: float, prototypes: list[int], description: str) -> None:
    values: dict[str, Any] = {
        "description": description,
        "train": {"lr": lr, "epochs": epochs},
        "model": {"prototypes": prototypes},
        "loss": {"scale_weights": [0.0, 0.1, lr]},
        "predict": {"fusion": [0.0, 0.5, 0.5]},
    }
    settings = parse_settings(values, "here")
    import yaml

    assert parse_settings(yaml.safe_load(as_yaml(settings)), "there") == settings


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().train.lr = 1.0  # type: ignore[misc]


def test_a_section_changes_into_a_new_one() -> None:
    before = PredictSettings()
    after = change_section(before, {"gate": "none", "views": ["plain"]}, "predict")
    assert (after.gate, after.views) == ("none", ("plain",))
    assert before == PredictSettings()
    with pytest.raises(SettingsError, match=r"unknown setting 'predict\.gat' .*did you mean 'predict\.gate'"):
        change_section(before, {"gat": "none"}, "predict")
    with pytest.raises(SettingsError, match=r"predict\.batch = 0 cannot be used"):
        change_section(before, {"batch": 0}, "predict")


def test_words_that_yaml_1_1_would_change_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("data: {classes: 'NO,YES'}\nmodel: {weights: NO}\n")
    assert load_settings(path).model.weights == "NO"
    settings = load_settings(None, ["model.weights=2020-01-01", "train.compile=yes"])
    assert (settings.model.weights, settings.train.compile) == ("2020-01-01", True)
    path.write_text(as_yaml(load_settings(None, ["model.weights='1e3'"])))
    assert load_settings(path).model.weights == "1e3"


def test_a_long_word_is_not_likened_to_all_settings() -> None:
    with pytest.raises(SettingsError, match="unknown setting") as caught:
        load_settings(None, [f"{'x' * 30_000}=1"])
    assert "did you mean" not in str(caught.value)
