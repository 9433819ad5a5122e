"""Folders of weights that cannot be used say what they are and what to do."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from lpdseg.cli.main import main
from lpdseg.errors import WeightsError
from lpdseg.model.encoders import build_encoder
from lpdseg.model.image_encoders import build_image_encoder
from lpdseg.model.pretrained import read_normalisation
from lpdseg.model.weights_folder import check_weights_folder

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18 with random weights, as the library saves it."""
    folder = tmp_path_factory.mktemp("weights")
    build_encoder("resnet18").backbone.save_pretrained(folder)  # type: ignore[operator]
    return folder


def told(folder: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        build_encoder("resnet18", str(folder))
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def write(folder: Path, config: Any, *files: str) -> Path:
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    for name in files:
        (folder / name).write_bytes(b"x")
    return folder


def test_a_folder_of_timm(tmp_path: Path) -> None:
    config = {"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {"mean": MEAN}}
    write(tmp_path, config, "model.safetensors")
    assert re.search(r"of the library timm \(resnet18\).*such as microsoft/resnet-18", told(tmp_path))
    with pytest.raises(WeightsError, match="of the library timm"):
        build_image_encoder(f"hf:{tmp_path}", build_encoder("resnet18", stages=3))


@pytest.mark.parametrize(
    ("config", "files", "sentence"),
    [
        ({"hidden_size": 3}, ["model.safetensors"], r"does not say what network it is \(no model_type\)"),
        ("[", ["model.safetensors"], "is not the JSON of a network"),
        ("[1]", ["model.safetensors"], "is not the JSON of a network"),
        (
            {"model_type": "beit"},
            ["model.safetensors"],
            r"'beit' cannot be the encoder; those that can are convnext, ",
        ),
        ({"model_type": "resnet"}, [], "holds no safetensors; get"),
        ({"model_type": "resnet"}, ["tf_model.h5"], r"holds tf_model\.h5 and no safetensors"),
        ({"model_type": "resnet"}, ["a.bin", "b.pt"], r"holds a\.bin, b\.pt and no safetensors; .*may run code"),
    ],
)
def test_other_folders(tmp_path: Path, config: Any, files: list[str], sentence: str) -> None:
    assert re.search(sentence, told(write(tmp_path, config, *files)))


def test_a_file_in_place_of_its_folder(weights: Path) -> None:
    with pytest.raises(WeightsError, match=r"model\.safetensors is a file; name the folder .* weights convert /"):
        check_weights_folder(str(weights / "model.safetensors"), "lab/net")
    check_weights_folder("lab/net", "lab/net")  # the hub's affair


def test_the_conversion_that_is_told_works(weights: Path, tmp_path: Path) -> None:
    build = build_encoder("resnet18", str(weights))
    (tmp_path / "config.json").write_bytes((weights / "config.json").read_bytes())
    torch.save(build.backbone.state_dict(), tmp_path / "pytorch_model.bin")
    sentence = told(tmp_path)
    assert "pytorch_model.bin" in sentence
    command = shlex.split(sentence[sentence.index("lpdseg weights") :])[:5]
    assert main([*command[1:4], str(tmp_path / "out")]) == 0 and command[4] == "OUT"
    again = build_encoder("resnet18", str(tmp_path / "out"))
    for name, value in build.backbone.state_dict().items():
        assert torch.equal(again.backbone.state_dict()[name], value)


def test_weights_without_a_configuration(tmp_path: Path) -> None:
    assert told(tmp_path).endswith("name the folder that has one")
    (tmp_path / "a.pth").write_bytes(b"x")
    assert told(tmp_path).endswith(f"or make one with lpdseg weights convert {tmp_path} OUT")


def test_shards_that_are_missing(weights: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((weights / name).read_bytes())
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks 1 of the 2 files that model.safetensors.index.json names" in told(tmp_path)


def test_weights_of_the_hub_that_have_to_be_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    config: dict[str, Any] = {"architecture": "vit_large_patch16_224", "pretrained_cfg": {}}
    monkeypatch.setattr("transformers.PreTrainedConfig.get_config_dict", lambda *_, **__: (config, {}))
    with pytest.raises(
        WeightsError, match=r"lab/net holds weights of the library timm .*weights convert lab/net OUT"
    ):
        build_encoder("auto", "lab/net")

    def without(*_: Any, **__: Any) -> None:
        raise OSError("lab/net … and thus cannot be loaded with `safetensors`. Please do not set it")

    config |= {"model_type": "resnet"}
    monkeypatch.setattr("transformers.ResNetBackbone.from_pretrained", without)
    with pytest.raises(WeightsError, match=r"lab/net has no safetensors on the hub.*weights convert lab/net OUT"):
        build_encoder("auto", "lab/net")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"image_mean": [123.675, 116.28, 103.53], "image_std": [58.395, 57.12, 57.375]}, "divide them by 255"),
        ({"image_mean": [0.5] * 3, "image_std": [0, 0, 0]}, "sds in 0.001..1"),
        ({"image_mean": [0.5] * 3, "image_std": [-0.2] * 3}, "sds in 0.001..1"),
        ({"image_mean": [-0.1, 0.5, 0.5], "image_std": [0.2] * 3}, "cannot be of RGB in 0..1"),
        ({"image_mean": [1.5, 0.5, 0.5], "image_std": [0.2] * 3}, "cannot be of RGB in 0..1"),
        ({"image_mean": [0.5] * 3, "image_std": [58.0] * 3}, "cannot be of RGB in 0..1"),
        ({"image_mean": [float("nan")] * 3, "image_std": STD}, "are no numbers"),
        ({"image_mean": MEAN, "image_std": [float("inf")] * 3}, "are no numbers"),
        ({"image_mean": MEAN, "image_std": STD, "rescale_factor": 1 / 127.5}, "is not 1/255"),
        ({"image_mean": [0.5], "image_std": [0.5]}, "three numbers"),
        ({"image_mean": None}, "is not the JSON of an image processor"),
    ],
)
def test_mean_and_sd_that_cannot_be(tmp_path: Path, values: dict[str, Any], sentence: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=rf"preprocessor_config\.json.*{sentence}"):
        read_normalisation(str(tmp_path), tuple(MEAN), tuple(STD))


def test_mean_and_sd_that_can_be(tmp_path: Path) -> None:
    for mean, std in ((MEAN, STD), ([0.0] * 3, [1.0] * 3)):
        values = {"image_mean": mean, "image_std": std, "rescale_factor": 0.00392156862745098}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
        assert read_normalisation(str(tmp_path), (0.1,) * 3, (0.2,) * 3) == (tuple(mean), tuple(std))
