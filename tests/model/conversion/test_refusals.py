"""Weights that cannot be converted: one sentence each, and no folder left behind."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_networks import resnet_tensors, vit_tensors
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lpdseg.alone import alone_making
from lpdseg.errors import LpdsegError, OutputError
from lpdseg.model.conversion.convert import convert
from lpdseg.model.conversion.reading import read_source

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Converts what must be refused, and returns the sentence."""

    def run(source: Path | str | dict[str, Tensor], **options: Any) -> str:
        if isinstance(source, dict):
            save_file(source, tmp_path / "a.safetensors")
            source = tmp_path / "a.safetensors"
        with pytest.raises(LpdsegError) as caught:
            convert(str(source), tmp_path / "new" / "out", **options)
        sentence = str(caught.value)
        assert "\n" not in sentence and str(source) in sentence
        assert not list((tmp_path / "new").glob("*")), "nothing is left behind"
        return sentence

    return run


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must not run",))


def test_files_that_run_code(refused: Refused, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(1), "b": _Code()}, path)
    assert "would run code, of print, which is not done" in refused(path)
    torch.save(torch.nn.Linear(2, 2), path)
    assert "would run code, of torch.nn.modules.linear.Linear" in refused(path)
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps({"a": _Code()}, protocol=protocol))
        assert "a.pth" in refused(path)
    assert capsys.readouterr().out == ""


def test_files_that_are_none(refused: Refused, tmp_path: Path) -> None:
    for name, content in (("a.bin", b""), ("b.bin", b"x" * 99), ("c.safetensors", b"x" * 99)):
        (tmp_path / name).write_bytes(content)
        assert f"{name} cannot be read as weights" in refused(tmp_path / name)
    for name in ("d.bin", "e.safetensors"):
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        assert f"{name} only points to the file" in refused(tmp_path / name)
    torch.save([torch.ones(2)], tmp_path / "d.pt")
    assert "holds no tensors by name" in refused(tmp_path / "d.pt")
    torch.save({"epoch": 3, "model": {"a": 1}}, tmp_path / "e.pt")
    assert "holds no tensors by name" in refused(tmp_path / "e.pt")


def test_nothing_there(refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not exist" in refused(tmp_path / "none")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no weights" in refused(empty)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "the hub did not give it" in refused("lab/nonesuch")


def test_a_gated_id(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from huggingface_hub.errors import GatedRepoError

    def closed(*_: Any, **__: Any) -> None:
        error = GatedRepoError.__new__(GatedRepoError)
        Exception.__init__(error, "403")
        error.response = SimpleNamespace()
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", closed)
    assert "lab/net is gated: ask for access" in refused("lab/net")


def test_shards(refused: Refused, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    save_file({"a": torch.ones(1)}, folder / "model-00001-of-00003.safetensors")
    assert "one of 3 files and their index is missing" in refused(folder)
    index = {"weight_map": {"a": "model-00001-of-00003.safetensors", "b": "model-00002-of-00003.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks 1 of the 2 files" in refused(folder)
    (folder / "model.safetensors.index.json").write_text("[]")
    assert "is not the index" in refused(folder)


def test_several_files(refused: Refused, tmp_path: Path) -> None:
    for name in ("one.pth", "two.pth"):
        torch.save(resnet_tensors((1, 1, 1)), tmp_path / name)
    assert "holds several files of weights (one.pth, two.pth); name the file" in refused(tmp_path)
    torch.save(resnet_tensors((1, 1, 1)), tmp_path / "pytorch_model.bin")
    assert [path.name for path in read_source(str(tmp_path)).files] == ["pytorch_model.bin"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(value: float, refused: Refused) -> None:
    tensors = resnet_tensors((1, 1, 1))
    tensors["layer2.0.conv1.weight"][0, 0, 0, 0] = value
    assert "no numbers (NaN or infinite) in layer2.0.conv1.weight" in refused(tensors)


def test_an_existing_folder(tmp_path: Path) -> None:
    save_file(resnet_tensors((1, 1, 1)), tmp_path / "a.safetensors")
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists; name a new folder"):
        convert(str(tmp_path / "a.safetensors"), tmp_path / "out")


def without(tensors: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: values for name, values in tensors.items() if name not in names}


RESNET, VIT, DEEP = resnet_tensors((1, 1, 1)), vit_tensors(), vit_tensors(depth=3)
UNKNOWN: dict[str, tuple[dict[str, Tensor], str]] = {
    "another network": ({"features.0.weight": torch.ones(2)}, "a network that is not known (features.0.weight"),
    "squeeze and excite": (RESNET | {"layer1.0.se.fc1.bias": torch.ones(2)}, "(the first is layer1.0.se.fc1.bias)"),
    "a deep stem": (without(RESNET, "conv1.weight") | {"conv1.0.weight": torch.ones(2)}, "lacks conv1.weight"),
    "groups": (RESNET | {"layer1.0.conv2.weight": torch.ones(8, 2, 3, 3)}, "is 8 x 2 x 3 x 3, not 8 x 8 x 3 x 3"),
    "a shortcut by pooling": (without(RESNET, "layer2.0.downsample.0.weight"), "lacks layer2.0.downsample.0"),
    "a missing norm": (without(RESNET, "layer1.0.bn1.running_var"), "lacks layer1.0.bn1.running_var"),
    "a missing stage": (without(RESNET, *[name for name in RESNET if "layer2." in name]), "lacks all of layer2"),
    "norms of queries": (VIT | {"blocks.0.attn.q_norm.weight": torch.ones(8)}, "(the first is blocks.0.attn.q"),
    "a norm before": (VIT | {"norm_pre.weight": torch.ones(32)}, "(the first is norm_pre.weight)"),
    "no class token": (without(VIT, "cls_token"), "lacks cls_token"),
    "no positions": (without(VIT, "pos_embed"), "lacks pos_embed"),
    "no last norm": (without(VIT, "norm.weight"), "lacks norm.weight"),
    "a missing block": (without(DEEP, *[name for name in DEEP if "blocks.1." in name]), "lacks all of blocks.1"),
    "patches that are no square": (VIT | {"patch_embed.proj.weight": torch.ones(32, 3, 8, 4)}, "no squares"),
    "grey images": (VIT | {"patch_embed.proj.weight": torch.ones(32, 1, 8, 8)}, "is 32 x 1 x 8 x 8"),
    "positions of an oblong": (VIT | {"pos_embed": torch.ones(1, 13, 32)}, "no square of patches"),
    "positions of two squares": (
        vit_tensors(registers=4, grid=2) | {"pos_embed": torch.ones(1, 9, 32)}, "in more than one way",
    ),
    "another perceptron": (VIT | {"blocks.0.mlp.fc1.weight": torch.ones(96, 32)}, "96 to 128 units"),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "sentence"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_networks_are_told_what_is_known(
    tensors: dict[str, Tensor], sentence: str, refused: Refused
) -> None:
    told = refused(tensors, heads=4)
    assert sentence in told
    assert "ResNets" in told or "get it again" in told


def test_heads_that_cannot_be_told(refused: Refused) -> None:
    assert "cannot be told from it; give --heads" in refused(vit_tensors())
    assert "5 do not divide it; give --heads" in refused(vit_tensors(), heads=5)


def test_two_networks(refused: Refused) -> None:
    both = {f"{name}.{key}": values for name in ("a", "b") for key, values in RESNET.items()}
    assert "holds several networks (a., b.)" in refused({key: values.clone() for key, values in both.items()})


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("[", "is not the JSON of a network"),
        ("[1]", "is not the JSON of a network"),
        ({"model_args": {"act_layer": "quick_gelu"}}, "sets act_layer = quick_gelu, which is not understood"),
        ({"model_args": {"output_stride": 8}}, "sets output_stride = 8"),
        ({"pretrained_cfg": 3}, "its config.json is none of timm"),
        ({"pretrained_cfg": {"mean": ["a"], "std": 3}}, "mean and std of its config.json are no numbers"),
        ({"pretrained_cfg": {"mean": [123.0] * 3, "std": [58.0] * 3}}, "divide them by 255"),
        ({"model_type": "resnet", "num_channels": 3}, "with safetensors already; use it as it is"),
        ({"model_type": "nonesuch"}, "of the type 'nonesuch', which needs code of its own that is not run"),
    ],
)
def test_configurations(config: Any, sentence: str, refused: Refused, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    of_transformers = isinstance(config, dict) and "model_type" in config
    save_file({"embedder.weight": torch.ones(2)} if of_transformers else RESNET, folder / "model.safetensors")
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    assert sentence in refused(folder)


def test_two_at_once_into_one_folder(tmp_path: Path) -> None:
    """The second would replace what the first has just written."""
    save_file(RESNET, tmp_path / "a.safetensors")
    with (
        alone_making(tmp_path / "out"),
        pytest.raises(OutputError, match=r"another process is writing .*out; wait"),
    ):
        convert(str(tmp_path / "a.safetensors"), tmp_path / "out")
    convert(str(tmp_path / "a.safetensors"), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "out"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    save_file(RESNET, tmp_path / "a.safetensors")
    monkeypatch.setattr("lpdseg.model.conversion.convert.save_tensors", full)
    with pytest.raises(OutputError, match=r"cannot write the weights into .*No space left.*choose another folder"):
        convert(str(tmp_path / "a.safetensors"), tmp_path / "new" / "out")
    assert not list((tmp_path / "new").glob("*"))
