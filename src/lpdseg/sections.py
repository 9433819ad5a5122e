"""The sections of a run's settings: what there is to set, with bounds, defaults and a description of each."""

from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lpdseg.choices import (
    AnySource,
    BackgroundRule,
    EncoderName,
    Fill,
    Gate,
    HeadMerge,
    HeadName,
    ImageMerge,
    MapSource,
    Merge,
    MorphologyFit,
    Negatives,
    Palette,
    Precision,
    Refinement,
    Tuning,
    View,
)

Fraction = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=10**6)]
Size = Annotated[int, Field(ge=1, le=1 << 14)]
Prototypes = Annotated[int, Field(ge=1, le=1000)]
Width = Annotated[float, Field(ge=1)]


class Section(BaseModel):
    """Settings that belong together: no other names, nothing changes once read, no NaN and no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _none_as_people_write_it(cls, values: Any) -> Any:
        """`none` is null where that can be, as the descriptions say."""
        if not isinstance(values, dict):
            return values
        optional = {name for name, field in cls.model_fields.items() if NoneType in get_args(field.annotation)}
        return {name: None if name in optional and value == "none" else value for name, value in values.items()}


AnySection = TypeVar("AnySection", bound=Section)


class DataSettings(Section):
    """What is read, and how it is varied in training."""

    classes: str | None = Field(None, description="class preset, or names separated by commas")
    mask_values: tuple[str, ...] = Field((), description="what values of masks stand for, as in [255=gland]")
    flips: bool = Field(True, description="random flips and 90° rotations")
    stain_jitter: NonNegative = Field(0.1, description="spread of random stain strength, in log units")
    workers: int = Field(0, ge=0, le=1000, description="loader processes, at most one per core; 0: none")
    cache: bool = Field(True, description="keep decoded patches in memory while they fit")
    device_share: Fraction = Field(
        0.25,
        description="of a CUDA device's free memory, for patches or kept features; the rest is sent in batches",
    )


class ModelSettings(Section):
    """Encoder and prototypes (method §1)."""

    encoder: EncoderName = Field("efficientnet_lite0", description="architecture; auto: that of the weights")
    weights: str | None = Field(
        "auto",
        description="of the encoder: folder or hub id; imagenet: by pip; auto: that where installed; none: random",
    )
    last_stride: Literal[1, 2] | None = Field(
        None, description="of the last stage; none: 1 for PVTv2 and MiT, else 2"
    )
    stages: Literal[3, 4] | None = Field(3, description="scales of the encoder; none: all it has")
    tune: Tuning = Field("auto", description="what of the encoder learns; auto: all, but nothing of plain ViTs")
    feature_cache: NonNegative = Field(
        20.0, description="GB on disk, of all runs, for what frozen encoders give; 0: encode in each step"
    )
    freeze_norm: bool = Field(False, description="keep batch norm layers of the encoder as they are")
    prototypes: Prototypes | tuple[Prototypes, ...] = Field(10, description="k per class, or one number per class")
    prototype_dim: Size = Field(512, description="width of a prototype")
    hidden_dim: Size = Field(256, description="width inside the projection of prototypes to each scale")
    temperature: Positive = Field(0.07, description="start of 1/s, s the learnable scale of the cosine")
    merge: ImageMerge = Field("pixel", description="prototypes → class while training")
    head: HeadName = Field("prototypes", description="what decides in the segmentation head, where there is one")
    head_merge: HeadMerge = Field("softmax", description="its prototypes → class")
    head_width: Size = Field(128, description="channels of the segmentation head")


class ContrastSettings(Section):
    """Foreground/background contrast L_sim with a frozen image encoder (method §2)."""

    weight: NonNegative = Field(0.0, description="λ_sim, published 0.1; 0: no contrast")
    source: MapSource = Field("auto", description="maps that it cuts out with")
    encoder: str = Field("self", description="self | hf:FOLDER_OR_ID | medclip:FOLDER | none")
    threshold: Fraction = Field(0.5, description="α: the mask is where a map reaches α times its maximum")
    temperature: Positive = Field(0.07, description="of the softmax over similarities")
    map_weight: NonNegative = Field(5e-4, description="μ: weight of the mean map, inside the bracket of L_sim")
    negatives: Negatives = Field("other_classes", description="which prototypes a pair is pushed away from")
    fill: Fill = Field("white", description="what masked-out tissue becomes; white is glass")
    pairs_per_image: Count | None = Field(None, description="active prototypes drawn per image; none: all")
    size: Size | None = Field(None, description="side in px at which masked images are encoded; none: as they are")
    chunk: Count | Literal["auto"] = Field(
        "auto",
        description="pairs encoded at once, a number; changes rounding alone. auto: as memory allows, 4 on a CPU",
    )


class DiversitySettings(Section):
    """Jeffrey's-divergence diversity L_div (method §2)."""

    weight: NonNegative = Field(0.1, description="λ_div, published 0.5; 0: no diversity term")
    source: MapSource = Field("auto", description="maps whose prototypes it keeps apart")
    temperature: Positive = Field(0.1, description="τ_v, of the cosine in [-1, 1]")
    space: Literal["projected", "raw"] = Field(
        "projected", description="which prototypes meet the features; raw needs model.prototype_dim of their width"
    )
    pixels: Literal["class", "image", "batch"] = Field(
        "batch", description="Ω_c: pixels of c in each image, all of each image, or those of c in the batch"
    )


class PseudoSettings(Section):
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


class CompositeSettings(Section):
    """The segmentation head, taught with composites of patches that show one class alone; their masks are exact."""

    weight: NonNegative = Field(0.5, description="0: the head is not taught so")
    every: Count = Field(2, description="one composite for so many patches of a batch")
    sources: int = Field(3, ge=2, description="most patches, each of another class, in a composite")


class MorphologySettings(Section):
    """Prototypes of the segmentation head, taught the morphologies of their class on composites."""

    weight: NonNegative = Field(0.3, description="0: prototypes may stand for anything")
    encoder: str = Field(
        "auto",
        description="who tells morphologies apart: start, the weights that the run starts from; imagenet, by pip; "
        "a folder or hub id; stain, needs none; own, the run's after the warm-up; auto: start where that is "
        "pretrained, else imagenet where it is installed, else stain",
    )
    fit: MorphologyFit = Field("mixture", description="how they are found; kmeans always takes k")


class CorrectionSettings(Section):
    """The segmentation head, taught with pixels that an expert has corrected, where there are any."""

    weight: NonNegative = Field(0.1, description="0: corrected pixels are not learnt from, labels are")
    every: Count = Field(
        4, description="one corrected patch, drawn from all of them, for so many patches of a batch"
    )


class LossSettings(Section):
    """What is minimised."""

    scale_weights: tuple[NonNegative, ...] = Field((0.0, 0.1, 1.0), description="w_l, coarsest scale last")
    warmup: Fraction = Field(0.16, description="share of the steps without contrast and diversity")
    contrast: ContrastSettings = ContrastSettings()
    diversity: DiversitySettings = DiversitySettings()
    composite: CompositeSettings = CompositeSettings()
    morphology: MorphologySettings = MorphologySettings()
    pseudo: PseudoSettings = PseudoSettings()
    correction: CorrectionSettings = CorrectionSettings()

    @property
    def teaches_head(self) -> bool:
        """Whether there is a segmentation head: something teaches it."""
        return self.composite.weight > 0 or self.pseudo.weight > 0


class TrainSettings(Section):
    """Optimiser and loop."""

    epochs: Positive = Field(8, description="passes over the training split; may be a fraction")
    batch: Count = Field(16, description="patches per step over all processes")
    lr: Positive = Field(2e-3, description="learning rate at its highest; n times the batch: about √n times it")
    prototype_lr: Positive = Field(1.0, description="learning rate of all that stands on the backbone, times lr")
    weight_decay: NonNegative = Field(1e-3, description="not on biases, norms, scales and prototypes")
    betas: tuple[Momentum, Momentum] = Field((0.9, 0.999), description="of AdamW")
    lr_warmup: Fraction = Field(0.1, description="share of the steps with rising learning rate")
    clip: NonNegative = Field(1.0, description="largest gradient norm; 0: no clipping")
    precision: Precision = Field("auto", description="auto: bf16 where supported")
    compile: bool = Field(False, description="the encoder by torch.compile, slow to start; a CPU needs g++")
    seed: int = Field(0, ge=0, lt=2**32, description="of all that is random")
    deterministic: bool = Field(False, description="the same bits on a GPU each time, at some cost of speed")
    validations: int = Field(
        8, ge=0, le=10_000, description="times that the validation split is scored, evenly spread"
    )
    log_every: Count = Field(10, description="steps between rows of metrics.jsonl")
    checkpoint_minutes: NonNegative = Field(2.0, description="time between saves of the last state")
    profile: bool = Field(
        False, description="trace steps 51 to 60, or the last ten, in trace.json for viewers of PyTorch's profiler"
    )


class CrfSettings(Section):
    """The dense CRF; the defaults are the published ones, which suit patches of 224 px at 0.25–0.5 µm/px."""

    iterations: int = Field(5, ge=1, le=1000, description="of mean field")
    gaussian_sxy: float = Field(15.0, ge=0.5, description="px; below it the kernel is the pixel itself")
    gaussian_compat: NonNegative = Field(30.0, description="weight of the smoothness kernel")
    bilateral_sxy: Width = Field(10.0, description="px; this and the next: large enough for the lattice")
    bilateral_srgb: Width = Field(20.0, description="of 0..255")
    bilateral_compat: NonNegative = Field(50.0, description="weight of the appearance kernel")


class PredictSettings(Section):
    """From class maps to a mask (method §4)."""

    views: Annotated[
        tuple[View, ...], Field(min_length=1, max_length=16, description="test-time views, averaged")
    ] = (
        "plain",
        "flip",
    )
    source: AnySource = Field(
        "auto", description="class maps, or the segmentation head; auto: the head where there is one"
    )
    merge: Merge = Field("softmax", description="prototypes → class")
    gate: Gate = Field("predicted", description="predicted | none; a run itself cannot have oracle")
    fusion: tuple[NonNegative, ...] = Field((0.0, 0.4, 0.6), description="weight of each scale, coarsest last")
    background: BackgroundRule = Field("glass", description="how background is found; glass: pixels without tissue")
    background_power: Positive = Field(10.0, description="exponent of the rule power")
    temperature: Positive = Field(0.1, description="of the softmax over class scores in [0, 1]")
    offsets: bool = Field(True, description="class offsets of best validation mIoU; false: none")
    unsure: Fraction = Field(0.2, description="a pixel is unsure where its two best probabilities differ by less")
    refine: Refinement = Field("none", description="what is done to the class maps before the mask")
    palette: Palette = Field("own", description="colours of masks and pictures: those of the classes, or safe ones")
    crf: CrfSettings = CrfSettings()
    batch: Count = Field(16, description="patches at once")
