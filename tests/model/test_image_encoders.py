import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch.nn import functional as F

from lpdseg.errors import SettingsError, WeightsError
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoders import build_encoder
from lpdseg.model.image_encoders import FrozenTower, SelfEncoder, build_image_encoder

VISION: dict[str, Any] = {
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 16, "patch_size": 8,
}  # fmt: skip
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return build_encoder("resnet18")


def build(spec: str, encoder: Encoder) -> FrozenTower:
    tower = build_image_encoder(spec, encoder)
    assert isinstance(tower, FrozenTower)
    return tower


def pixels(images: torch.Tensor, mean: list[float], std: list[float], size: int = 16) -> torch.Tensor:
    """What the tower must see: its input size and its own normalisation."""
    resized = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    return (resized - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def assert_frozen(tower: FrozenTower) -> None:
    """The gradient reaches the image and no weight, and training mode changes nothing."""
    images = torch.rand(2, 3, 20, 20, requires_grad=True)
    still = tower(images)
    tower.train()
    again = tower(images)
    torch.testing.assert_close(still, again, rtol=0, atol=0)
    again.square().sum().backward()
    assert images.grad is not None and bool(images.grad.any())
    assert all(not value.requires_grad and value.grad is None for value in tower.parameters())


def test_none_is_none_and_other_words_are_an_error(encoder: Encoder) -> None:
    assert build_image_encoder("none", encoder) is None
    for spec in ("clip", "hf:", "medclip:", "", "self:x"):
        with pytest.raises(SettingsError, match="none of: self, hf:FOLDER_OR_ID, medclip:FOLDER, none"):
            build_image_encoder(spec, encoder)


@pytest.mark.parametrize("training", [True, False])
def test_self_is_the_encoder_without_gradient_to_it(training: bool, encoder: Encoder) -> None:
    encoder.train(training)
    own = build_image_encoder("self", encoder)
    assert isinstance(own, SelfEncoder)
    assert own.width == 512
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    embedded = own(images)
    embedded.square().sum().backward()
    assert images.grad is not None and bool(images.grad.any())
    assert all(value.grad is None for value in encoder.parameters())
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)  # batch norm's statistics too
    assert encoder.training is training
    with torch.no_grad():  # in evaluation mode, whatever the mode of the encoder that learns
        torch.testing.assert_close(embedded, encoder.eval()(images)[-1].mean((2, 3)))
    encoder.load_state_dict(before)


def test_self_pools_over_what_is_shown(encoder: Encoder) -> None:
    own = build_image_encoder("self", encoder.eval())
    assert own is not None
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        last = encoder(images)[-1]
        shown = torch.zeros(2, 1, 64, 64)
        shown[0, :, :32, :32] = 0.5
        shown[1] = 0.3
        found = own(images, shown)
    torch.testing.assert_close(found[0], last[0, :, 0, 0])
    torch.testing.assert_close(found[1], last[1].mean((1, 2)))


def test_self_follows_the_encoder_as_it_learns(encoder: Encoder) -> None:
    own = build_image_encoder("self", encoder.eval())
    assert own is not None
    images = torch.rand(1, 3, 64, 64)
    before = own(images)
    parameter = next(encoder.parameters())
    with torch.no_grad():
        parameter.mul_(2)
    assert not torch.allclose(own(images), before)
    with torch.no_grad():
        parameter.div_(2)


def clip_vision(folder: Path) -> transformers.CLIPVisionModelWithProjection:
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(**VISION, projection_dim=6)
    model = transformers.CLIPVisionModelWithProjection(config).eval()
    model.save_pretrained(folder)
    return model


def test_a_clip_vision_tower_comes_with_its_projection(tmp_path: Path, encoder: Encoder) -> None:
    model = clip_vision(tmp_path)
    tower = build(f"hf:{tmp_path}", encoder)
    assert (tower.width, tower.size) == (6, 16)
    assert tower.source["encoder"] == f"hf:{tmp_path}" and len(tower.source["sha256"]) == 64
    images = torch.rand(2, 3, 24, 20)
    torch.testing.assert_close(tower(images), model(pixels(images, *CLIP)).image_embeds)
    assert_frozen(tower)


def test_a_whole_clip_gives_its_vision_tower(tmp_path: Path, encoder: Encoder) -> None:
    torch.manual_seed(0)
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=text | {"vocab_size": 20, "projection_dim": 6},
        vision_config=VISION | {"projection_dim": 6},
        projection_dim=6,
    )
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    tower = build(f"hf:{tmp_path}", encoder)
    assert (tower.width, tower.size) == (6, 16)
    images = torch.rand(2, 3, 16, 16)
    expected = model.visual_projection(model.vision_model(pixels(images, *CLIP)).pooler_output)
    torch.testing.assert_close(tower(images), expected)
    assert_frozen(tower)


def test_a_plain_vision_model_is_pooled(tmp_path: Path, encoder: Encoder) -> None:
    torch.manual_seed(0)
    vit = transformers.ViTModel(transformers.ViTConfig(**VISION)).eval()
    vit.save_pretrained(tmp_path / "vit")
    config = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    dino = transformers.Dinov2Model(config).eval()
    dino.save_pretrained(tmp_path / "dino")
    images = torch.rand(2, 3, 16, 16)
    for name, model in (("vit", vit), ("dino", dino)):
        tower = build(f"hf:{tmp_path / name}", encoder)
        assert (tower.width, tower.size) == (8, 16)
        torch.testing.assert_close(tower(images), model(pixels(images, *IMAGENET)).pooler_output)
        assert_frozen(tower)


def test_a_tower_owns_the_mean_and_sd_of_its_folder(tmp_path: Path, encoder: Encoder) -> None:
    model = clip_vision(tmp_path)
    mean, std = [0.5, 0.4, 0.3], [0.5, 0.6, 0.7]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean, "image_std": std}))
    images = torch.rand(1, 3, 16, 16)
    found = build(f"hf:{tmp_path}", encoder)(images)
    torch.testing.assert_close(found, model(pixels(images, mean, std)).image_embeds)


def test_a_tower_without_its_pooler_is_an_error(tmp_path: Path, encoder: Encoder) -> None:
    transformers.ViTForImageClassification(transformers.ViTConfig(**VISION)).save_pretrained(tmp_path)
    with pytest.raises(
        WeightsError, match=r"lacks 2 parameters of an image encoder \(the first is pooler.dense.bias\)"
    ):
        build_image_encoder(f"hf:{tmp_path}", encoder)


def test_a_model_that_pools_nothing_is_an_error(tmp_path: Path, encoder: Encoder) -> None:
    config = transformers.SegformerConfig(
        hidden_sizes=[4, 4, 4, 4], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1]
    )
    transformers.SegformerModel(config).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="no image embedding"):
        build_image_encoder(f"hf:{tmp_path}", encoder)


@pytest.mark.parametrize("harm", ["cut", "no weights", "no config", "no folder"])
def test_damaged_towers_are_an_error_in_one_sentence(harm: str, tmp_path: Path, encoder: Encoder) -> None:
    clip_vision(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:200])
    elif harm == "no weights":
        weights.unlink()
    elif harm == "no config":
        config.unlink()
    folder = tmp_path / "nowhere" if harm == "no folder" else tmp_path
    with pytest.raises(WeightsError, match="cannot load the image encoder hf:") as caught:
        build_image_encoder(f"hf:{folder}", encoder)
    assert "\n" not in str(caught.value)


def test_a_hub_tower_offline_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoder: Encoder) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="cannot load the image encoder hf:vinid/plip") as caught:
        build_image_encoder("hf:vinid/plip", encoder)
    assert "\n" not in str(caught.value)


def medclip(folder: Path) -> tuple[transformers.SwinModel, torch.Tensor]:
    """MedCLIP's vision part in its published key layout, tiny."""
    torch.manual_seed(0)
    config = transformers.SwinConfig(image_size=32, embed_dim=4, depths=[1, 1], num_heads=[1, 2], window_size=2)
    model = transformers.SwinModel(config).eval()
    config.save_pretrained(folder)
    head = torch.randn(6, 8)
    state = {f"vision_model.model.{key}": value for key, value in model.state_dict().items()}
    state |= {"vision_model.projection_head.weight": head, "text_model.bias": torch.zeros(2)}
    state |= {"logit_scale": torch.tensor(1.0)}
    save_file(state, folder / "model.safetensors")
    return model, head


@pytest.mark.parametrize("older", [False, True])
def test_medclip_loads_swin_and_projection(older: bool, tmp_path: Path, encoder: Encoder) -> None:
    model, head = medclip(tmp_path)
    path = tmp_path / "model.safetensors"
    if older:
        state = {f"model.{key}": value for key, value in model.state_dict().items()}
        state = {key: value for key, value in state.items() if not key.endswith("relative_position_index")}
        save_file(state | {"projection_head.weight": head}, path)
    tower = build(f"medclip:{tmp_path}", encoder)
    assert (tower.width, tower.size) == (6, 32)
    assert tower.source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    images = torch.rand(2, 3, 32, 32)
    mean, std = [0.5862785803043838] * 3, [0.27950088968644304] * 3
    torch.testing.assert_close(tower(images), model(pixels(images, mean, std, 32)).pooler_output @ head.T)
    assert_frozen(tower)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("missing", r"lacks 1 parameters of Swin-T \(the first is layernorm.bias\)"),
        ("shape", "other shapes than Swin-T's"),
        ("head", "has no projection_head.weight"),
        ("narrow", "other shapes than Swin-T's"),
        ("cut", "cannot be read as safetensors"),
        ("config", "cannot read"),
        ("none", "model.safetensors is missing"),
    ],
)
def test_damaged_medclip_is_an_error_in_one_sentence(
    harm: str, words: str, tmp_path: Path, encoder: Encoder
) -> None:
    model, head = medclip(tmp_path)
    path = tmp_path / "model.safetensors"
    state = {f"vision_model.model.{key}": value for key, value in model.state_dict().items()}
    state["vision_model.projection_head.weight"] = head[:, :3].contiguous() if harm == "narrow" else head
    if harm == "missing":
        state.pop("vision_model.model.layernorm.bias")
    elif harm == "shape":
        state["vision_model.model.layernorm.bias"] = torch.zeros(3)
    elif harm == "head":
        state.pop("vision_model.projection_head.weight")
    save_file(state, path)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif harm == "none":
        path.unlink()
    elif harm == "config":
        (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=words) as caught:
        build_image_encoder(f"medclip:{tmp_path}", encoder)
    assert "\n" not in str(caught.value)


def test_half_precision_towers_become_float32(tmp_path: Path, encoder: Encoder) -> None:
    clip_vision(tmp_path / "clip").half().save_pretrained(tmp_path / "clip")
    model, head = medclip(tmp_path / "medclip")
    state = {f"vision_model.model.{key}": value for key, value in model.half().state_dict().items()}
    state["vision_model.projection_head.weight"] = head.half()
    save_file(state, tmp_path / "medclip" / "model.safetensors")
    for spec in (f"hf:{tmp_path / 'clip'}", f"medclip:{tmp_path / 'medclip'}"):
        tower = build(spec, encoder)
        assert {value.dtype for value in tower.parameters()} == {torch.float32}
        assert tower(torch.rand(1, 3, 32, 32)).dtype == torch.float32
