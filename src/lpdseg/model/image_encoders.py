"""Frozen image encoders for the foreground/background contrast: one small protocol, four ways to fill it.

N images of any size, RGB in [0, 1]; D the width of an embedding.
"""

import hashlib
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lpdseg.errors import SettingsError, WeightsError
from lpdseg.files import read_json
from lpdseg.model.configuration import check_affordable, first_line, plain_configuration, understood
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoder_kinds import IMAGENET_MEAN, IMAGENET_STD
from lpdseg.model.pretrained import (
    check_numbers,
    load_network,
    read_normalisation,
    read_values,
    try_network,
    weights_source,
)
from lpdseg.model.tensor_files import load_tensors
from lpdseg.model.weights_folder import check_file, convert_command, gated, values_in
from lpdseg.quiet import library

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_MEDCLIP_MEAN = (0.5862785803043838,) * 3
_MEDCLIP_STD = (0.27950088968644304,) * 3


@runtime_checkable
class ImageEncoder(Protocol):
    """What the contrast needs: embeddings whose gradient reaches the image and no weight."""

    width: int
    source: dict[str, str]

    def __call__(
        self, images: Float[Tensor, "N 3 H W"], shown: Float[Tensor, "N 1 H W"] | None = None
    ) -> Float[Tensor, "N D"]:
        """RGB in [0, 1] → embeddings; `shown` is the share of each pixel that a mask leaves, None for all."""
        ...


class SelfEncoder:
    """The model's own encoder at its present weights, without gradient to them.

    The embedding is the mean over the last scale, each position weighted by how much of it is shown: a plain mean
    would say how large the mask is before it says what the mask holds.

    It runs in evaluation mode, as every frozen encoder does: masked images neither change batch norm statistics nor
    depend on one another.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.width = encoder.widths[-1]
        self.source = {"encoder": "self"}

    def __call__(
        self, images: Float[Tensor, "N 3 H W"], shown: Float[Tensor, "N 1 H W"] | None = None
    ) -> Float[Tensor, "N D"]:
        """RGB in [0, 1] → embeddings in the space of the last scale's features."""
        frozen = {name: value.detach() for name, value in self.encoder.named_parameters()}
        mode = self.encoder.training
        self.encoder.eval()
        try:
            features: list[Tensor] = torch.func.functional_call(self.encoder, frozen, (images,))
        finally:
            self.encoder.train(mode)
        last = features[-1].float()
        if shown is None:
            return last.mean((2, 3))
        weights = F.adaptive_avg_pool2d(shown.float(), (last.shape[-2], last.shape[-1]))
        return (last * weights).sum((2, 3)) / weights.sum((2, 3)).clamp(min=1e-6)


class FrozenTower(nn.Module):
    """A pretrained image tower and, where it has one, its projection; never trained."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        tower: nn.Module,
        head: nn.Module,
        width: int,
        size: int,
        source: dict[str, str],
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.tower, self.head, self.width, self.size, self.source = tower, head, width, size, source
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._attention = ""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "FrozenTower":
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(
        self, images: Float[Tensor, "N 3 H W"], shown: Float[Tensor, "N 1 H W"] | None = None
    ) -> Float[Tensor, "N D"]:
        """RGB in [0, 1] → embeddings, at the input size of the tower, which pools as it was trained to.

        `shown` is not used.
        """
        del shown
        self._choose_attention(images.device.type)
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)
        output = self.tower((images - self.mean) / self.std)
        pooled = getattr(output, "image_embeds", None)
        embedding: Tensor = self.head(output.pooler_output if pooled is None else pooled)
        return embedding

    def _choose_attention(self, device: str) -> None:
        """On CPUs, in bfloat16, PyTorch's fused attention is slower through small windows than products."""
        transformers = library("transformers")

        wanted = "eager" if device == "cpu" and torch.is_autocast_enabled("cpu") else "sdpa"
        if wanted != self._attention and isinstance(self.tower, transformers.PreTrainedModel):
            self.tower.set_attn_implementation(wanted)
            self._attention = wanted


def build_image_encoder(spec: str, encoder: Encoder) -> ImageEncoder | None:
    """`self | hf:FOLDER_OR_ID | medclip:FOLDER | none` → an image encoder, or None.

    - `self`: the model's own encoder; needs no download.
    - `hf:`: a CLIP-type vision tower with its projection, or a `transformers` vision model that pools.
    - `medclip:`: a folder with MedCLIP's vision part as `model.safetensors`: Swin-T and Linear 768 → 512.

    **Raises:** `SettingsError` for another spec; `WeightsError` where weights are missing or do not fit.
    """
    kind, _, source = spec.partition(":")
    if spec == "none":
        return None
    if spec == "self":
        return SelfEncoder(encoder)
    if kind == "hf" and source:
        return _hugging_face(source)
    if kind == "medclip" and source:
        return _medclip(Path(source).expanduser())
    raise SettingsError(f"loss.contrast.encoder = {spec!r} is none of: self, hf:FOLDER_OR_ID, medclip:FOLDER, none")


def _hugging_face(source: str) -> FrozenTower:
    transformers = library("transformers")
    named, described = f"the image encoder hf:{source}", f"the config.json of hf:{source}"
    try:
        values = read_values(source, "an image encoder", "openai/clip-vit-base-patch16")
        model_type, is_clip = values["model_type"], values["model_type"] in {"clip", "clip_vision_model"}
        if model_type not in transformers.CONFIG_MAPPING:
            raise WeightsError(f"a network of the type {model_type!r} needs code of its own, which is not run")
        with understood(described):
            config = transformers.CONFIG_MAPPING["clip_vision_model" if is_clip else model_type].from_dict(
                values.get("vision_config", values) if is_clip else values
            )
            loader: Any = transformers.CLIPVisionModelWithProjection if is_clip else _model_of(config)
            tower: Any = load_network(loader, source, config, "an image encoder")
    except (OSError, ValueError, ImportError, WeightsError) as error:
        reason = gated(source, error) or first_line(error)
        raise WeightsError(f"cannot load {named}: {reason}") from error
    width = getattr(tower.config, "projection_dim" if is_clip else "hidden_size", None)
    if width is None or tower.main_input_name != "pixel_values":
        raise WeightsError(
            f"hf:{source} is a {model_type!r} model, which has no image embedding; name a CLIP-type model "
            "or a vision transformer that pools"
        )
    size = getattr(tower.config, "image_size", 224)
    if not isinstance(size, int) or size < 1:
        raise WeightsError(f"hf:{source} takes images of {size!r} px; name a model of square ones")
    record = {"encoder": f"hf:{source}", **weights_source(source)}
    mean, std = (_CLIP_MEAN, _CLIP_STD) if is_clip else (IMAGENET_MEAN, IMAGENET_STD)
    return _tried(
        FrozenTower(tower, nn.Identity(), width, size, record, *read_normalisation(source, mean, std)), source
    )


def _tried(tower: FrozenTower, source: str) -> FrozenTower:
    try_network(tower, (tower.size, tower.size), source, (1, tower.width))
    return tower


def _model_of(config: Any) -> Any:
    """The library's own class for a configuration, of several the first."""
    found = library("transformers").MODEL_MAPPING[type(config)]
    return found[0] if isinstance(found, tuple) else found


def _medclip(folder: Path) -> FrozenTower:
    """MedCLIP's vision part: Swin-T 224 and a bias-free Linear to 512, saved as `model.safetensors`."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"{folder} holds no MedCLIP vision weights: model.safetensors is missing; make a folder with it from "
            f"the published pytorch_model.bin with {convert_command(str(folder))}"
        )
    check_file(path)
    state = load_tensors(path)
    prefix = "vision_model."
    state = {key.removeprefix(prefix): value for key, value in state.items() if not key.startswith("text_model.")}
    head_weight = state.pop("projection_head.weight", None)
    if head_weight is None or head_weight.ndim != 2:
        raise WeightsError(f"{path} has no projection_head.weight; it is no MedCLIP vision model")
    transformers = library("transformers")
    config_path = folder / "config.json"
    try:
        values, described = read_json(config_path) if config_path.is_file() else {}, str(config_path)
        with understood(described):
            config = transformers.SwinConfig.from_dict(plain_configuration(values, described))
            check_affordable(lambda: transformers.SwinModel(deepcopy(config)), described, values_in(str(folder)))
            tower = transformers.SwinModel(config)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read {config_path}: it is not the JSON of a Swin configuration") from error
    inner = {key.removeprefix("model."): value for key, value in state.items() if key.startswith("model.")}
    missing, _ = _load_matching(tower, inner, path)
    if missing:
        raise WeightsError(
            f"{path} lacks {len(missing)} parameters of Swin-T (the first is {missing[0]}); it would be random"
        )
    width, inside = head_weight.shape
    if inside != config.hidden_size or not isinstance(config.image_size, int):
        raise WeightsError(f"{path} holds parameters of other shapes than Swin-T's: a projection from {inside}")
    head = nn.Linear(inside, width, bias=False)
    head.weight.data.copy_(head_weight)  # in float32, whatever the file holds
    record = {"encoder": f"medclip:{folder}", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    check_numbers(tower, str(folder))
    check_numbers(head, str(folder))
    return _tried(
        FrozenTower(tower, head, width, config.image_size, record, _MEDCLIP_MEAN, _MEDCLIP_STD), str(folder)
    )


def _load_matching(module: nn.Module, state: dict[str, Tensor], path: Path) -> tuple[list[str], list[str]]:
    try:
        result = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{path} holds parameters of other shapes than Swin-T's") from error
    # Older files lack this buffer, which is computed from the window size.
    missing = [key for key in result.missing_keys if not key.endswith("relative_position_index")]
    return missing, result.unexpected_keys
