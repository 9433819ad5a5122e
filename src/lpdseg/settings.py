"""The settings of one run: typed, validated, read from presets and YAML, and written beside every result.

Only `training`, `segment` and what stands above them see this object; building blocks take plain arguments.
"""

import difflib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lpdseg.choices import (
    AnySource,
    BackgroundRule,
    EncoderName,
    Fill,
    Gate,
    ImageMerge,
    Merge,
    MethodName,
    Negatives,
    Palette,
    Precision,
    Refinement,
    View,
)
from lpdseg.errors import SettingsError
from lpdseg.plain_yaml import read_yaml, write_yaml

Fraction = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Width = Annotated[float, Field(ge=1)]

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


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=_Section)


class DataSettings(_Section):
    """What is read, and how it is varied in training."""

    classes: str | None = Field(None, description="class preset, or names separated by commas")
    mask_values: tuple[str, ...] = Field((), description="what values of masks stand for, as in [255=gland]")
    flips: bool = Field(True, description="random flips and 90° rotations")
    stain_jitter: NonNegative = Field(0.1, description="spread of random stain strength, in log units")
    workers: int = Field(0, ge=0, description="loader processes, at most one per core; 0: none")
    cache: bool = Field(True, description="keep decoded patches in memory while they fit")


class ModelSettings(_Section):
    """Encoder and prototypes (method §1)."""

    encoder: EncoderName = Field("pvt_v2_b1", description="architecture of the encoder")
    weights: str | None = Field(None, description="folder or hub id of encoder weights; none: random")
    last_stride: Literal[1, 2] | None = Field(
        None, description="of the last stage; none: 1 for PVTv2 and MiT, else 2"
    )
    stages: Literal[3, 4] | None = Field(None, description="scales of the encoder; none: all it has")
    freeze_norm: bool = Field(False, description="keep batch norm layers of the encoder as they are")
    prototypes: Count | tuple[Count, ...] = Field(10, description="k per class, or one number per class")
    prototype_dim: Count = Field(512, description="width of a prototype")
    hidden_dim: Count = Field(256, description="width inside the projection of prototypes to each scale")
    temperature: Positive = Field(0.07, description="start of 1/s, s the learnable scale of the cosine")
    merge: ImageMerge = Field("pixel", description="prototypes → class while training")
    head_width: Count = Field(128, description="channels of the segmentation head, where there is one")


class ContrastSettings(_Section):
    """Foreground/background contrast L_sim with a frozen image encoder (method §2)."""

    weight: NonNegative = Field(0.0, description="λ_sim, published 0.1; 0: no contrast")
    encoder: str = Field("self", description="self | hf:FOLDER_OR_ID | medclip:FOLDER | none")
    threshold: Fraction = Field(0.5, description="α: the mask is where a map reaches α times its maximum")
    temperature: Positive = Field(0.07, description="of the softmax over similarities")
    map_weight: NonNegative = Field(5e-4, description="μ: weight of the mean map, inside the bracket of L_sim")
    negatives: Negatives = Field("other_classes", description="which prototypes a pair is pushed away from")
    fill: Fill = Field("white", description="what masked-out tissue becomes; white is glass")
    pairs_per_image: Count | None = Field(None, description="active prototypes drawn per image; none: all")
    size: Count | None = Field(None, description="side in px at which masked images are encoded; none: as they are")
    chunk: Count = Field(4, description="pairs that are encoded at once; bounds the memory, changes rounding alone")


class DiversitySettings(_Section):
    """Jeffrey's-divergence diversity L_div (method §2)."""

    weight: NonNegative = Field(0.1, description="λ_div, published 0.5; 0: no diversity term")
    temperature: Positive = Field(0.1, description="τ_v, of the cosine in [-1, 1]")
    space: Literal["projected", "raw"] = Field(
        "projected", description="which prototypes meet the features; raw needs model.prototype_dim of their width"
    )
    pixels: Literal["class", "image", "batch"] = Field(
        "class",
        description="Ω_c: of the pseudo mask of c, of the image, or of c in the batch",
    )


class PseudoSettings(_Section):
    """The segmentation head, taught by a moving average of the model with its own label-limited pseudo masks."""

    weight: NonNegative = Field(0.0, description="0: the head is not taught so")
    start: Fraction = Field(0.2, description="share of the steps before the head is taught")
    temperature: Positive = Field(0.1, description="of the softmax over the teacher's class scores in [0, 1]")
    confidence: Fraction = Field(0.7, description="pixels below this probability are ignored")
    candidates: NonNegative = Field(
        1.0, description="weight of the loss that allows unsure pixels the classes of the label alone"
    )
    balance: Fraction = Field(0.0, description="0 weighs pixels of a pseudo mask alike, 1 its classes")
    blend: Fraction = Field(
        0.5, description="share of the teacher's head in the pseudo mask, the rest its class maps"
    )
    ramp: Positive = Field(0.3, description="share of the steps over which that share rises")
    momentum: Momentum = Field(0.99, description="of the teacher")
    stride: Count = Field(2, description="pixels of the patch per pixel of the pseudo mask")


class CompositeSettings(_Section):
    """The segmentation head, taught with composites of patches that show one class alone; their masks are exact."""

    weight: NonNegative = Field(0.5, description="0: the head is not taught so")
    every: Count = Field(2, description="one composite for so many patches of a batch")
    sources: int = Field(3, ge=2, description="most patches, each of another class, in a composite")


class LossSettings(_Section):
    """What is minimised."""

    scale_weights: tuple[NonNegative, ...] = Field((0.0, 0.1, 1.0, 1.0), description="w_l, coarsest scale last")
    warmup: Fraction = Field(0.16, description="share of the steps without contrast and diversity")
    contrast: ContrastSettings = ContrastSettings()
    diversity: DiversitySettings = DiversitySettings()
    composite: CompositeSettings = CompositeSettings()
    pseudo: PseudoSettings = PseudoSettings()

    @property
    def teaches_head(self) -> bool:
        """Whether there is a segmentation head: something teaches it."""
        return self.composite.weight > 0 or self.pseudo.weight > 0


class TrainSettings(_Section):
    """Optimiser and loop."""

    epochs: Positive = Field(8, description="passes over the training split; may be a fraction")
    batch: Count = Field(10, description="patches per step over all processes")
    lr: Positive = Field(5e-5, description="learning rate at its highest")
    prototype_lr: Positive = Field(1.0, description="learning rate of prototypes and projections, times lr")
    weight_decay: NonNegative = Field(1e-3, description="not on biases, norms, scales and prototypes")
    betas: tuple[Momentum, Momentum] = Field((0.9, 0.999), description="of AdamW")
    lr_warmup: Fraction = Field(0.1, description="share of the steps with rising learning rate")
    clip: NonNegative = Field(1.0, description="largest gradient norm; 0: no clipping")
    precision: Precision = Field("auto", description="auto: bf16 where supported")
    compile: bool = Field(False, description="the encoder by torch.compile; on a CPU needs a C++ compiler")
    seed: int = Field(0, ge=0, lt=2**32, description="of all that is random")
    deterministic: bool = Field(False, description="the same bits on a GPU each time, at some cost of speed")
    validations: int = Field(8, ge=0, description="times that the validation split is scored, evenly spread")
    log_every: Count = Field(10, description="steps between rows of metrics.jsonl")
    checkpoint_minutes: NonNegative = Field(2.0, description="time between saves of the last state")


class CrfSettings(_Section):
    """The dense CRF; the defaults are the published ones, which suit patches of 224 px at 0.25–0.5 µm/px."""

    iterations: Count = Field(5, description="of mean field")
    gaussian_sxy: float = Field(15.0, ge=0.5, description="px; below it the kernel is the pixel itself")
    gaussian_compat: NonNegative = Field(30.0, description="weight of the smoothness kernel")
    bilateral_sxy: Width = Field(10.0, description="px; this and the next: large enough for the lattice")
    bilateral_srgb: Width = Field(20.0, description="of 0..255")
    bilateral_compat: NonNegative = Field(50.0, description="weight of the appearance kernel")


class PredictSettings(_Section):
    """From class maps to a mask (method §4)."""

    views: Annotated[tuple[View, ...], Field(min_length=1, description="test-time views, averaged")] = (
        "plain",
        "flip",
    )
    source: AnySource = Field(
        "auto", description="class maps, or the segmentation head; auto: the head where there is one"
    )
    merge: Merge = Field("softmax", description="prototypes → class")
    gate: Gate = Field("predicted", description="predicted | none; a run itself cannot have oracle")
    fusion: tuple[NonNegative, ...] = Field((0.0, 0.3, 0.3, 0.4), description="weight of each scale, coarsest last")
    background: BackgroundRule = Field("glass", description="how background is found; glass: pixels without tissue")
    background_power: Positive = Field(10.0, description="exponent of the rule power")
    temperature: Positive = Field(0.1, description="of the softmax over class scores in [0, 1]")
    offsets: bool = Field(True, description="class offsets of best validation mIoU; false: none")
    refine: Refinement = Field("none", description="what is done to the class maps before the mask")
    palette: Palette = Field("own", description="colours of masks and pictures: those of the classes, or safe ones")
    crf: CrfSettings = CrfSettings()
    batch: Count = Field(16, description="patches at once")


class Settings(_Section):
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
            text = Path(preset).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read the settings file {preset}: {error}") from error
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
