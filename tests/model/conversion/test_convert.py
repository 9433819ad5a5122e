"""Converted networks give the features of the networks that they were, by a second implementation."""

import json
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from plain_networks import resnet_features, resnet_tensors, vit_features, vit_tensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from lpdseg.model.conversion.convert import Conversion, convert
from lpdseg.model.encoders import build_encoder
from lpdseg.model.weights_folder import RECORD

VITS: dict[str, dict[str, Any]] = {
    "plain, as Phikon and Kaiko": {"layer_scale": False, "patch": 16},
    "layer scale, as UNI": {},
    "8 registers, SwiGLU, positions of patches, as UNI2-h": {
        "registers": 8, "swiglu": True, "class_position": False, "hidden": 88, "patch": 14, "grid": 4,
    },
    "SwiGLU of another width, as Virchow": {"swiglu": True, "hidden": 86, "patch": 14},
    "4 registers with positions, as Virchow2": {"swiglu": True, "hidden": 86, "registers": 4, "patch": 14},
    "4 registers, as H-optimus": {"swiglu": True, "hidden": 88, "registers": 4, "class_position": False, "grid": 2},
    "SwiGLU, as GigaPath": {"swiglu": True, "hidden": 88, "patch": 16},
    "no bias of queries, keys and values": {"qkv_bias": False},
    "a fraction as ratio of the perceptron": {"hidden": 119},
}  # fmt: skip


def loaded(folder: Path) -> Any:
    config = transformers.AutoConfig.from_pretrained(folder)
    network = getattr(transformers, config.architectures[0])
    return network.from_pretrained(folder, out_indices=range(1, len(config.stage_names))).eval()


def saved(tensors: dict[str, Tensor], path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return str(path)


def close(ours: Tensor, theirs: Tensor) -> bool:
    return float((ours - theirs).abs().max()) < 1e-5 * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("options", VITS.values(), ids=VITS)
@torch.no_grad()
def test_vits(options: dict[str, Any], tmp_path: Path) -> None:
    tensors = vit_tensors(**options)
    done = convert(saved(tensors, tmp_path / "a.safetensors"), tmp_path / "out", heads=4)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["model_type"] == ("dinov2_with_registers" if options.get("registers") else "dinov2")
    side = config["image_size"]
    assert side == options.get("grid", 3) * options.get("patch", 8)
    image = torch.randn(1, 3, side, side)
    found = loaded(tmp_path / "out")(image).feature_maps[-1]
    theirs = vit_features(tensors, image, heads=4)
    assert close(found[0].flatten(1).T, theirs)
    assert done.record["left_out"] == ["head.bias", "head.weight"]
    assert not close(found[0].flatten(1).T, vit_features(tensors, image, heads=2)), "heads matter"


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("depths", [(2, 1, 1, 1), (1, 2, 3)])
@torch.no_grad()
def test_resnets(bottleneck: bool, depths: tuple[int, ...], tmp_path: Path) -> None:
    tensors = resnet_tensors(depths, bottleneck)
    done = convert(saved(tensors, tmp_path / "a.pth"), tmp_path / "out")
    images = torch.randn(2, 3, 70, 64)
    found = loaded(tmp_path / "out")(images).feature_maps
    theirs = resnet_features(tensors, images)
    assert len(found) == len(theirs) == len(depths)
    for ours, expected in zip(found, theirs, strict=True):
        assert ours.shape == expected.shape and close(ours, expected)
    assert done.record["model_type"] == "resnet" and done.record["left_out"] == ["fc.bias", "fc.weight"]


@torch.no_grad()
def test_a_converted_resnet18_is_an_encoder(tmp_path: Path) -> None:
    tensors = resnet_tensors((2, 2, 2, 2), stem=64)
    convert(saved(tensors, tmp_path / "a.bin"), tmp_path / "out")
    encoder = build_encoder("resnet18", str(tmp_path / "out")).eval()
    images = torch.rand(1, 3, 64, 64)
    theirs = resnet_features(tensors, (images - encoder.mean) / encoder.std)
    assert all(close(ours, expected) for ours, expected in zip(encoder(images), theirs, strict=True))


@torch.no_grad()
def test_a_converted_vit_is_an_encoder(tmp_path: Path) -> None:
    source = timm_folder(tmp_path / "in")
    convert(source, tmp_path / "out", heads=4, of="lab/net")
    encoder = build_encoder("auto", str(tmp_path / "out")).eval()
    assert encoder.source["of"] == "lab/net" and encoder.mean.flatten().tolist() == pytest.approx([0.7, 0.6, 0.7])
    images = torch.rand(1, 3, 24, 24)
    last = encoder.kind.features(encoder.backbone, (images - encoder.mean) / encoder.std)[-1]
    theirs = vit_features(vit_tensors(width=64), (images - encoder.mean) / encoder.std, heads=4)
    assert close(last[0].flatten(1).T, theirs)
    assert len(encoder(torch.rand(1, 3, 48, 32))) == 3, "a scale for each of its three blocks, at another size"


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.encoder."])
@pytest.mark.parametrize("nested", [(), ("state_dict",), ("teacher",), ("epoch", "model")])
def test_prefixes_and_nesting(prefix: str, nested: tuple[str, ...], tmp_path: Path) -> None:
    tensors = resnet_tensors((1, 1, 1))
    checkpoint: Any = {f"{prefix}{name}": values for name, values in tensors.items()} | {
        "other.weight": torch.ones(2)
    }
    if nested:
        checkpoint = {
            nested[-1]: checkpoint,
            "epoch": 7,
            "args": Namespace(lr=0.1),
            "student": {"conv1.weight": torch.zeros(1)},
        }
    torch.save(checkpoint, tmp_path / "a.pth")
    done = convert(str(tmp_path / "a.pth"), tmp_path / "out")
    assert done.record["left_out"] == ["fc.bias", "fc.weight", "other.weight"]
    expected = tensors["layer2.0.downsample.1.running_var"]
    found = load_file(tmp_path / "out/model.safetensors")
    assert torch.equal(found["encoder.stages.1.layers.0.shortcut.normalization.running_var"], expected)


def test_the_network_to_use_of_moco_and_the_encoder_of_mae(tmp_path: Path) -> None:
    tensors = resnet_tensors((1, 1, 1))
    both = {
        f"module.{name}.{key}": values + 0 for name in ("encoder_k", "encoder_q") for key, values in tensors.items()
    }
    both["module.encoder_q.conv1.weight"] += 1
    convert(saved(both, tmp_path / "moco.pth"), tmp_path / "moco")
    found = load_file(tmp_path / "moco/model.safetensors")["embedder.embedder.convolution.weight"]
    assert torch.equal(found, tensors["conv1.weight"] + 1)
    decoder = {"decoder_embed.weight": torch.ones(8, 32), "decoder_pos_embed": torch.ones(1, 10, 8)}
    mae = vit_tensors() | decoder | {"mask_token": torch.ones(1, 1, 8)}
    done = convert(saved(mae, tmp_path / "mae.pth"), tmp_path / "mae", heads=4)
    assert done.record["left_out"] == [
        "decoder_embed.weight",
        "decoder_pos_embed",
        "head.bias",
        "head.weight",
        "mask_token",
    ]


@torch.no_grad()
def test_the_teacher_of_two_networks_and_names_of_dinov2(tmp_path: Path) -> None:
    tensors = vit_tensors(swiglu=True, hidden=88, registers=2, class_position=False)
    image = torch.randn(1, 3, 24, 24)
    theirs = vit_features(tensors, image, heads=4)
    class_position = torch.zeros(1, 1, 32)
    tensors["pos_embed"] = torch.cat([class_position, tensors["pos_embed"]], dim=1)  # of class and patches
    renamed = {
        re.sub(r"^blocks\.", "blocks.0.", name)  # a chunk of blocks
        .replace("mlp.fc1", "mlp.w12")
        .replace("mlp.fc2", "mlp.w3")
        .replace("reg_token", "register_tokens"): values
        for name, values in tensors.items()
        if not name.startswith("head")
    } | {"mask_token": torch.full((1, 32), 0.5)}
    both = {f"teacher.{name}": values for name, values in renamed.items()}
    both |= {f"student.{name}": torch.zeros_like(values) for name, values in renamed.items()}
    done = convert(saved(both, tmp_path / "a.pth"), tmp_path / "out", heads=4)
    found = loaded(tmp_path / "out")(image).feature_maps[-1]
    assert close(found[0].flatten(1).T, theirs)
    assert all(name.startswith("student.") for name in done.record["left_out"])
    again = load_file(tmp_path / "out/model.safetensors")
    assert torch.equal(again["embeddings.mask_token"], torch.full((1, 32), 0.5))


def timm_folder(folder: Path) -> str:
    saved(vit_tensors(width=64), folder / "model.safetensors")
    facts = {"mean": [0.7, 0.6, 0.7], "std": [0.2, 0.3, 0.2], "input_size": [3, 24, 24]}
    config = {"architecture": "vit_tiny", "pretrained_cfg": facts, "model_args": {"init_values": 1e-5}}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_what_a_folder_of_timm_says(tmp_path: Path) -> None:
    source = timm_folder(tmp_path / "in")
    done = convert(source, tmp_path / "out", mpp=0.5, of="lab/net")
    assert json.loads((tmp_path / "out/preprocessor_config.json").read_text()) == {
        "image_mean": [0.7, 0.6, 0.7], "image_std": [0.2, 0.3, 0.2], "rescale_factor": 1 / 255,
    }  # fmt: skip
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record == done.record | {"by": record["by"]}
    assert record["hub"] == {"id": "lab/net"} and record["mpp"] == 0.5 and record["source"] == source
    assert [*record["sha256"]] == ["model.safetensors"]
    assert record["notes"] == ["1 attention heads, as usual at a width of 64; --heads says otherwise"]
    told = "\n".join(done.told)
    assert "dinov2, 0.1 million parameters" in told and "left out: 2 tensors" in told and "features of" in told
    old = timm_folder(tmp_path / "old")
    config = {"architecture": "vit", "mean": [0.5] * 3, "std": [0.25] * 3, "num_features": 64}
    (tmp_path / "old/config.json").write_text(json.dumps(config))  # older versions keep them at the top
    convert(old, tmp_path / "out2")
    assert json.loads((tmp_path / "out2/preprocessor_config.json").read_text())["image_std"] == [0.25] * 3
    (tmp_path / "old/config.json").write_text(json.dumps({"model_args": {"num_heads": 2}}))
    convert(old, tmp_path / "out3")
    assert json.loads((tmp_path / "out3/config.json").read_text())["num_attention_heads"] == 2
    assert not (tmp_path / "out3/preprocessor_config.json").exists()


def test_features_are_recorded_and_repeat(tmp_path: Path) -> None:
    source = timm_folder(tmp_path / "in")
    first, second = (convert(source, tmp_path / name).record["proof"] for name in ("a", "b"))
    assert first == second and first["sd"] > 0


def test_halves_stay_halves(tmp_path: Path) -> None:
    tensors = {name: values.half() for name, values in vit_tensors().items()}
    convert(saved(tensors, tmp_path / "a.safetensors"), tmp_path / "out", heads=4)
    assert {values.dtype for values in load_file(tmp_path / "out/model.safetensors").values()} == {torch.float16}


def test_a_transformers_folder_with_a_pickle(tmp_path: Path) -> None:
    network = build_encoder("resnet18").backbone
    network.save_pretrained(tmp_path / "in")  # type: ignore[operator]
    (tmp_path / "in/model.safetensors").unlink()
    tensors = network.state_dict()
    tensors["again"] = tensors["embedder.embedder.convolution.weight"]  # shares memory, as tied weights do
    torch.save(tensors, tmp_path / "in/pytorch_model.bin")
    done: Conversion = convert(str(tmp_path / "in"), tmp_path / "out")
    del tensors["again"]
    again = build_encoder("resnet18", str(tmp_path / "out"))
    assert all(torch.equal(again.backbone.state_dict()[name], values) for name, values in tensors.items())
    assert done.record["proof"] == {"how": "read again, and every tensor is equal bit by bit"}


def test_shards_are_read(tmp_path: Path) -> None:
    tensors = resnet_tensors((1, 1, 1))
    names = sorted(tensors)
    parts = {"a-00001-of-00002.safetensors": names[:9], "a-00002-of-00002.safetensors": names[9:]}
    for file, some in parts.items():
        saved({name: tensors[name] for name in some}, tmp_path / "in" / file)
    index = {"weight_map": {name: file for file, some in parts.items() for name in some}}
    (tmp_path / "in/model.safetensors.index.json").write_text(json.dumps(index))
    done = convert(str(tmp_path / "in"), tmp_path / "out")
    assert sorted(done.record["sha256"]) == sorted(parts)


def test_timm_inside_a_folder_of_transformers(tmp_path: Path) -> None:
    source = timm_folder(tmp_path / "in")
    config = json.loads((tmp_path / "in/config.json").read_text()) | {"model_type": "timm_wrapper"}
    (tmp_path / "in/config.json").write_text(json.dumps(config))
    tensors = {f"timm_model.{name}": values for name, values in vit_tensors(width=64).items()}
    saved(tensors, tmp_path / "in/model.safetensors")
    assert convert(source, tmp_path / "out").record["model_type"] == "dinov2"


def test_medclip_keeps_its_names(tmp_path: Path) -> None:
    tensors = {"vision_model.projection_head.weight": torch.randn(4, 3), "text_model.a": torch.ones(2)}
    done = convert(saved(tensors, tmp_path / "in/pytorch_model.bin"), tmp_path / "out")
    again = load_file(tmp_path / "out/model.safetensors")
    assert done.record["model_type"] == "medclip" and all(
        torch.equal(again[name], tensors[name]) for name in tensors
    )


def test_what_the_card_says_where_no_file_does(tmp_path: Path) -> None:
    cache = tmp_path / "models--bioptimus--H-optimus-0" / "snapshots" / "abc"
    source = timm_folder(cache)
    (cache / "config.json").unlink()
    done = convert(source, tmp_path / "out", heads=4)
    assert done.record["hub"] == {"id": "bioptimus/H-optimus-0"}
    assert "mean and sd are those of the card of bioptimus/H-optimus-0" in done.record["notes"]
    assert build_encoder("auto", str(tmp_path / "out")).mean[0, 0] == pytest.approx(0.707223)
