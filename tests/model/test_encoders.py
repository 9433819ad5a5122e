import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from lpdseg.errors import SettingsError, WeightsError
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoder_kinds import IMAGENET_MEAN, IMAGENET_STD
from lpdseg.model.encoders import ENCODERS, build_encoder


def features(encoder: Encoder) -> list[Tensor]:
    torch.manual_seed(5)
    with torch.no_grad():
        return encoder.eval()(torch.rand(1, 3, 64, 64))


def assert_same(first: Encoder, second: Encoder) -> None:
    for mine, theirs in zip(features(first), features(second), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_entry_of_the_table_builds_with_four_scales(name: str) -> None:
    # Early transformers 5 ask for autocast where DINOv3 is, which torch does not know on `meta`.
    with torch.device("cpu" if ENCODERS[name].model_type == "dinov3_vit" else "meta"):
        encoder = build_encoder(name)
        scales = encoder(torch.rand(2, 3, 64, 64))
    assert [part.shape[1] for part in scales] == list(encoder.widths)
    halted = {"pvt_v2", "segformer", "dinov3_vit"}  # their last scale is no coarser than the one before
    coarse = {"dinov2": [5, 5]}.get(ENCODERS[name].model_type, [4, 4 if ENCODERS[name].model_type in halted else 2])
    assert [tuple(part.shape[2:]) for part in scales] == [(side, side) for side in (16, 8, *coarse)]


@pytest.mark.parametrize("name", ["pvt_v2_b0", "mit_b0", "resnet18", "swin_tiny", "convnext_tiny"])
def test_the_configuration_builds_the_same_architecture_again(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name)
    again = Encoder.from_config(json.loads(json.dumps(encoder.config)))
    assert again.config == encoder.config
    assert again.widths == encoder.widths
    again.load_state_dict(encoder.state_dict())
    assert_same(encoder, again)


def test_an_unknown_name_is_told_the_table() -> None:
    with pytest.raises(SettingsError, match=r"unknown encoder 'resnet'; the table has pvt_v2_b0, .*resnet18"):
        build_encoder("resnet")


def test_images_are_normalised_inside() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("resnet18").eval()
    images = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(values)[None, :, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        inside = encoder.backbone((images - mean) / std).feature_maps
        for mine, theirs in zip(encoder(images), inside, strict=True):
            torch.testing.assert_close(mine, theirs)


def resnet_config(**changes: Any) -> transformers.ResNetConfig:
    options = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}
    return transformers.ResNetConfig(**(options | changes))


def save_backbone(folder: Path) -> Encoder:
    torch.manual_seed(3)
    encoder = build_encoder("resnet18")
    encoder.backbone.save_pretrained(folder)
    return encoder


def test_weights_of_a_saved_backbone_come_back(tmp_path: Path) -> None:
    assert_same(save_backbone(tmp_path), build_encoder("resnet18", str(tmp_path)))


def test_a_home_folder_may_be_written_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = save_backbone(tmp_path / "weights")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_same(encoder, build_encoder("resnet18", "~/weights"))


def classifier(kind: str) -> tuple[str, Any]:
    """A whole classification network, as published weights are, and the module inside that is the encoder."""
    if kind == "resnet18":
        return "resnet", transformers.ResNetForImageClassification(resnet_config())
    if kind == "mit_b0":
        options = {"hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2]}
        return "segformer", transformers.SegformerForImageClassification(transformers.SegformerConfig(**options))
    if kind == "pvt_v2_b0":
        return "pvt_v2", transformers.PvtV2ForImageClassification(transformers.PvtV2Config())
    if kind == "convnext_tiny":
        return "convnext", transformers.ConvNextForImageClassification(transformers.ConvNextConfig())
    return "swin", transformers.SwinForImageClassification(transformers.SwinConfig())


@pytest.mark.parametrize("name", ["resnet18", "mit_b0", "pvt_v2_b0", "swin_tiny", "convnext_tiny"])
def test_weights_of_a_whole_classifier_come_in_with_their_prefix(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    prefix, network = classifier(name)
    network.save_pretrained(tmp_path)
    encoder = build_encoder(name, str(tmp_path))
    found = encoder.backbone.state_dict()
    state = network.state_dict()
    pairs = 0
    for key, value in state.items():
        for candidate in (key.removeprefix(f"{prefix}."), key):
            if candidate in found:
                torch.testing.assert_close(found[candidate], value, rtol=0, atol=0)
                pairs += 1
                break
    assert pairs >= len(state) - 4  # all but a last norm and the head
    assert len(features(encoder)) == 4


def test_published_strides_are_kept_although_the_weights_were_made_with_others(tmp_path: Path) -> None:
    transformers.PvtV2Backbone(transformers.PvtV2Config()).save_pretrained(tmp_path)
    assert [part.shape[-1] for part in features(build_encoder("pvt_v2_b0", str(tmp_path)))] == [16, 8, 4, 4]


def test_a_folder_may_hold_fewer_stages(tmp_path: Path) -> None:
    config = resnet_config(
        hidden_sizes=[64, 128, 256], depths=[2, 2, 2], out_features=["stage1", "stage2", "stage3"]
    )
    torch.manual_seed(2)
    backbone = transformers.ResNetBackbone(config)
    backbone.save_pretrained(tmp_path)
    encoder = build_encoder("resnet18", str(tmp_path))
    assert encoder.widths == (64, 128, 256)
    assert [part.shape[-1] for part in features(encoder)] == [16, 8, 4]
    assert Encoder.from_config(encoder.config).widths == (64, 128, 256)


def test_mean_and_sd_come_from_the_weights_own_file(tmp_path: Path) -> None:
    save_backbone(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}))
    encoder = build_encoder("resnet18", str(tmp_path))
    assert encoder.config["mean"] == pytest.approx([0.1, 0.2, 0.3])
    assert encoder.config["std"] == pytest.approx([0.4, 0.5, 0.6])
    for text in ("{", "[]", '{"image_mean": 0.5}', '{"image_std": [1, 2]}'):
        path.write_text(text)
        with pytest.raises(WeightsError, match=r"preprocessor_config\.json"):
            build_encoder("resnet18", str(tmp_path))


def one_sentence(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 500
    return text


def drop_a_parameter(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state.pop(next(key for key in state if key.endswith("convolution.weight")))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def resize_a_parameter(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    key = next(key for key in state if key.endswith("convolution.weight"))
    state[key] = state[key][:, :1].contiguous()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def put_in_nan(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state[next(key for key in state if key.endswith("convolution.weight"))][0] = float("nan")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def cut_the_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (drop_a_parameter, r"lacks 1 parameters of the encoder 'resnet18' \(the first is .*convolution\.weight\)"),
        (
            resize_a_parameter,
            r"lacks 1 parameters of the encoder 'resnet18' \(the first is .*convolution\.weight\)",
        ),
        (put_in_nan, r"values that are no numbers \(NaN or infinite\) in .*convolution\.weight; get it again"),
        (cut_the_file, "cannot be read as safetensors"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not the JSON of a network"),
        (lambda folder: (folder / "config.json").write_text("{}"), "does not say what network it is"),
    ],
)
def test_damaged_weights_are_an_error_in_one_sentence(
    harm: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    save_backbone(tmp_path)
    harm(tmp_path)
    with pytest.raises(WeightsError, match=words) as caught:
        build_encoder("resnet18", str(tmp_path))
    one_sentence(caught.value)


def test_weights_of_another_family_are_an_error_that_names_auto(tmp_path: Path) -> None:
    save_backbone(tmp_path)
    with pytest.raises(WeightsError, match=r"holds weights of a 'resnet' network.*--encoder auto") as caught:
        build_encoder("swin_tiny", str(tmp_path))
    one_sentence(caught.value)


@pytest.mark.parametrize("name", ["resnet50", "auto"])
def test_weights_say_themselves_what_size_they_are(name: str, tmp_path: Path) -> None:
    original = save_backbone(tmp_path)
    encoder = build_encoder(name, str(tmp_path))
    assert_same(original, encoder)
    assert encoder.source["network"] == "resnet, 11.2 million parameters"


@pytest.mark.parametrize("weights", [None, "imagenet"])
def test_auto_needs_weights_that_say_what_they_are(weights: str | None) -> None:
    with pytest.raises(SettingsError, match=r"'auto' takes family and size from weights.*pvt_v2_b0") as caught:
        build_encoder("auto", weights)
    one_sentence(caught.value)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no config\.json") as caught:
        build_encoder("resnet18", str(tmp_path / "nowhere"))
    one_sentence(caught.value)


@pytest.mark.parametrize("source", ["microsoft/resnet-18", "no such id at all"])
def test_a_hub_id_that_cannot_be_had_is_an_error(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="cannot get weights") as caught:
        build_encoder("resnet18", source)
    one_sentence(caught.value)


def norms(encoder: Encoder) -> dict[str, Tensor]:
    return {
        name: value.clone()
        for name, value in encoder.state_dict().items()
        if "normalization" in name or "running" in name or "num_batches" in name
    }


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_norm_is_untouched_by_a_training_step(frozen: bool) -> None:
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", freeze_norm=frozen).train()
    before = norms(encoder)
    weight = next(value for value in encoder.parameters() if value.ndim == 4)
    start = weight.detach().clone()
    optimiser = torch.optim.SGD([value for value in encoder.parameters() if value.requires_grad], lr=0.1)
    sum(part.mean() for part in encoder(torch.rand(2, 3, 64, 64))).backward()
    optimiser.step()
    after = norms(encoder)
    moved = [name for name in before if not before[name].equal(after[name])]
    assert bool(moved) is not frozen
    assert not weight.equal(start)
    assert Encoder.from_config(encoder.config).freeze_norm is frozen


@pytest.mark.skipif("LPDSEG_DATA" not in os.environ, reason="LPDSEG_DATA does not point at the development data")
def test_imagenet_weights_of_three_stages_load() -> None:
    folder = Path(os.environ["LPDSEG_DATA"]) / "weights" / "resnet18-stages123-imagenet"
    if not folder.is_dir():
        pytest.skip("no ImageNet weights in LPDSEG_DATA")
    encoder = build_encoder("resnet18", str(folder), freeze_norm=True)
    assert encoder.widths == (64, 128, 256)
    reference = transformers.ResNetBackbone.from_pretrained(
        folder, out_features=["stage1", "stage2", "stage3"]
    ).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = reference((images - encoder.mean) / encoder.std).feature_maps
        for mine, theirs in zip(encoder.eval()(images), expected, strict=True):
            torch.testing.assert_close(mine, theirs)


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    original = build_encoder("resnet18", stages=3)
    original.backbone.half().save_pretrained(tmp_path)  # type: ignore[operator]
    loaded = build_encoder("resnet18", str(tmp_path))
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert loaded(torch.rand(1, 3, 32, 32))[-1].dtype == torch.float32


@pytest.mark.parametrize(("last_stride", "sizes"), [(None, (16, 8, 8)), (2, (16, 8, 4))])
def test_the_last_kept_stage_has_the_last_stride_whatever_the_number_of_stages(
    last_stride: int | None, sizes: tuple[int, ...], tmp_path: Path
) -> None:
    build_encoder("pvt_v2_b0", stages=3).backbone.save_pretrained(tmp_path / "three")  # type: ignore[operator]
    build_encoder("pvt_v2_b0").backbone.save_pretrained(tmp_path / "four")  # type: ignore[operator]
    image = torch.rand(1, 3, 64, 64)
    for encoder in (
        build_encoder("pvt_v2_b0", stages=3, last_stride=last_stride),
        build_encoder("pvt_v2_b0", str(tmp_path / "three"), last_stride=last_stride),
        build_encoder("pvt_v2_b0", str(tmp_path / "four"), stages=3, last_stride=last_stride),
    ):
        assert tuple(features.shape[-1] for features in encoder(image)) == sizes


def test_where_weights_came_from_is_known(tmp_path: Path) -> None:
    fresh = build_encoder("resnet18", stages=3)
    assert fresh.source == {"weights": "random"}
    assert Encoder.from_config(fresh.config).source == {"weights": "checkpoint"}
    fresh.backbone.save_pretrained(tmp_path)  # type: ignore[operator]
    loaded = build_encoder("resnet18", str(tmp_path)).source
    assert loaded["weights"] == str(tmp_path) and len(loaded["sha256"]) == 64
