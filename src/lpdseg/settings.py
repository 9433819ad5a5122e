"""The settings of one run: typed, validated, read from presets and YAML, and written beside every result.

Only `training`, `segment` and what stands above them see this object; building blocks take plain arguments.
"""

import difflib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from lpdseg.choices import MethodName
from lpdseg.errors import SettingsError
from lpdseg.files import is_there, read_text
from lpdseg.plain_yaml import read_yaml, write_yaml
from lpdseg.sections import (
    AnySection,
    DataSettings,
    LossSettings,
    ModelSettings,
    PredictSettings,
    Section,
    TrainSettings,
)

_ALIASES = {
    "learning_rate": "train.lr",
    "prototype_learning_rate": "train.prototype_lr",
    "wd": "train.weight_decay",
    "batch_size": "train.batch",
    "max_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "random_seed": "train.seed",
    "grad_clip": "train.clip",
    "gradient_clip": "train.clip",
    "num_workers": "data.workers",
    "backbone": "model.encoder",
    "pretrained": "model.weights",
    "k": "model.prototypes",
    "num_prototypes": "model.prototypes",
    "warmup_steps": "loss.warmup",
    "lambda_sim": "loss.contrast.weight",
    "lambda_div": "loss.diversity.weight",
    "tta": "predict.views",
}
"""What other programs call a setting, by its last word."""


_LONGEST = 100
"""Letters of a word that may have been meant for another; to liken longer ones takes long."""


class Settings(Section):
    """All settings of one run. As they are, they are the recommended recipe; presets say what differs from it."""

    name: str = Field("custom", description="of this set of settings")
    description: str = Field("", description="what it is for")
    method: MethodName = Field("lpd", description="what is trained: LPD, or one of what it is compared with")
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    train: TrainSettings = TrainSettings()
    predict: PredictSettings = PredictSettings()

    def __repr__(self) -> str:
        return f"Settings({self.name}: {self.method}, encoder {self.model.encoder}, seed {self.train.seed})"

    @model_validator(mode="after")
    def _scales_agree(self) -> "Settings":
        if len(self.loss.scale_weights) != len(self.predict.fusion):
            raise ValueError(
                f"loss.scale_weights has {len(self.loss.scale_weights)} numbers and predict.fusion "
                f"{len(self.predict.fusion)}; give one number per scale in both"
            )
        if not any(self.loss.scale_weights) or not any(self.predict.fusion):
            raise ValueError("loss.scale_weights and predict.fusion each need a number above 0")
        return self

    @model_validator(mode="after")
    def _needs_no_truth(self) -> "Settings":
        if self.predict.gate == "oracle":
            raise ValueError(
                "predict.gate = 'oracle' needs ground truth, which only evaluation has; use 'predicted' or 'none'"
            )
        return self


def preset_names() -> tuple[str, ...]:
    """Names of the presets that the package ships."""
    folder = resources.files("lpdseg") / "presets"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_settings(preset: str | Path | Settings | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Reads a preset by name, or a YAML file by path, and applies overrides such as `train.lr=1e-4`.

    `preset` may be settings as well, or None for the plain ones.

    **Raises:** `SettingsError` for an unknown preset or setting (it names the nearest valid one), a value that
    a setting cannot hold, or a file that is no YAML mapping.
    """
    if isinstance(preset, str | Path):
        values, source = _read(preset), str(preset)
    else:
        values, source = {} if preset is None else preset.model_dump(), "settings"
    for override in overrides:
        _apply(values, override)
    return parse_settings(values, source)


def parse_settings(values: dict[str, Any], source: str) -> Settings:
    """Plain nested values → settings; `source` is what an error message names.

    **Raises:** `SettingsError`.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error, source)) from error


def change_section(section: AnySection, changes: dict[str, Any], name: str) -> AnySection:
    """A section such as `predict` with other values; `name` is what an error message calls it.

    **Raises:** `SettingsError`.
    """
    try:
        return type(section).model_validate(section.model_dump() | changes)
    except ValidationError as error:
        raise SettingsError(_explain(error, "settings", f"{name}.")) from error


def as_yaml(settings: Settings, remarks: Iterable[str] = ()) -> str:
    """Settings as YAML that `load_settings` reads back, with remarks above them."""
    return "".join(f"# {remark}\n" for remark in remarks) + write_yaml(settings.model_dump(mode="json"))


def _read(preset: str | Path) -> dict[str, Any]:
    names = preset_names()
    if str(preset) in names:
        text = (resources.files("lpdseg") / "presets" / f"{preset}.yaml").read_text(encoding="utf-8")
    elif Path(preset).suffix in {".yaml", ".yml"}:
        try:
            text = read_text(Path(preset))
        except (OSError, ValueError) as error:
            raise SettingsError(f"cannot read the settings file {preset}: {error}") from error
    elif is_there(Path(preset)):
        raise SettingsError(
            f"{preset} is no preset, and settings are read from files that end in .yaml alone; name such a file, "
            f"or a preset ({', '.join(names)})"
        )
    else:
        raise SettingsError(
            f"unknown preset {str(preset)!r}{_nearest(str(preset), names)} "
            f"(presets: {', '.join(names)}; or give a .yaml file)"
        )
    try:
        values = read_yaml(text) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{preset} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{preset} must hold settings such as 'train: {{epochs: 4}}'")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"cannot read the override {override!r}; write it as section.setting=value")
    try:
        value = read_yaml(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"cannot read the value of the override {override!r}") from error
    *sections, name = key.strip().split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"unknown setting {key.strip()!r}: {section!r} holds no settings of its own")
        values = inner
    values[name] = value


def _explain(error: ValidationError, source: str, prefix: str = "") -> str:
    """The deepest fault of a validation, in a sentence: of a choice of types that is the one that came closest."""
    fault = max(error.errors(), key=lambda found: len(found["loc"]))
    # Types of such a choice stand in the path as well, for instance `constrained-int`.
    steps = [str(step) for step in fault["loc"] if isinstance(step, int) or step.isidentifier()]
    path = prefix + ".".join(steps)
    if fault["type"] == "extra_forbidden":
        path = prefix + ".".join(map(str, fault["loc"]))
        return f"unknown setting {path!r} in {source}{_nearest(path, _all_keys())}"
    if fault["type"] == "value_error":
        return f"{source}: {fault['ctx']['error']}"
    return f"{source}: {path} = {fault['input']!r} cannot be used: {fault['msg'].lower()}"


def _all_keys(section: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _all_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _nearest(word: str, known: Iterable[str]) -> str:
    """What was probably meant: by a common name, else by the whole path or its last word, whichever is closer."""
    known = list(known)
    found = _ALIASES.get(_last(word))
    if len(word) > _LONGEST:
        return ""
    if found not in known:
        likeness, found = max(((_likeness(word, other), other) for other in known), default=((0.0, 0.0), ""))
        if likeness[0] < 0.5:
            return ""
    return f"; did you mean {found!r}?"


def _likeness(word: str, other: str) -> tuple[float, float]:
    """In 0..1, and that of the whole paths, which decides between sections with a setting of the same name."""
    whole = difflib.SequenceMatcher(None, word, other).ratio()
    last = difflib.SequenceMatcher(None, _last(word), _last(other)).ratio()
    return max(whole, last if last >= 0.75 else 0.0), whole


def _last(path: str) -> str:
    return path.rpartition(".")[2]
