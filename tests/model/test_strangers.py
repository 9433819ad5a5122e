"""Weights by strangers: code beside them never runs, nobody is asked whether to, and no size is taken on trust."""

import builtins
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from lpdseg.errors import LpdsegError, WeightsError
from lpdseg.model.catalogue import native_mpp
from lpdseg.model.configuration import check_affordable, plain_configuration
from lpdseg.model.describing import build_describer
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoders import build_encoder
from lpdseg.model.image_encoders import build_image_encoder
from lpdseg.model.pretrained import read_normalisation
from lpdseg.model.weights_folder import hub_id_of, shards
from small_families import save_small

CODE = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import PreTrainedConfig, PreTrainedModel
class Config(PreTrainedConfig):
    model_type = "brought"
class Model(PreTrainedModel):
    config_class = Config
"""
CLASSES = ("AutoConfig", "AutoModel", "AutoBackbone", "AutoModelForImageClassification")
SWIN: dict[str, Any] = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "image_size": 64, "window_size": 4}


class Silent:
    """Standard input that nobody may read."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"standard input was asked for {name}")


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: object) -> str:
        raise AssertionError("somebody was asked")

    monkeypatch.setattr(builtins, "input", ask)
    monkeypatch.setattr(sys, "stdin", Silent())


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """A file that code beside weights would make."""
    yield tmp_path / "mark"
    assert not (tmp_path / "mark").exists()


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return build_encoder("resnet18", stages=3)


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def bring_code(folder: Path, mark: Path, **values: Any) -> Path:
    """Code beside weights, and a configuration that names it in every way that is known."""
    (folder / "brought.py").write_text(CODE.format(mark=str(mark)))
    change(folder, auto_map=dict.fromkeys(CLASSES, "brought.Model") | {"AutoConfig": "brought.Config"}, **values)
    return folder


def vit(folder: Path) -> Path:
    save_small("vit", folder)
    torch.manual_seed(0)
    transformers.ViTModel(transformers.ViTConfig.from_pretrained(folder)).save_pretrained(folder)  # with its pooler
    return folder


def medclip(folder: Path) -> Path:
    torch.manual_seed(0)
    model = transformers.SwinModel(transformers.SwinConfig(**SWIN))
    model.save_pretrained(folder)
    state = {f"vision_model.model.{key}": value.contiguous() for key, value in model.state_dict().items()}
    save_file(state | {"vision_model.projection_head.weight": torch.randn(6, 16)}, folder / "model.safetensors")
    return folder


Door = Callable[[Path, Encoder], object]
DOORS: dict[str, tuple[Callable[[Path], Path], Door]] = {
    "--weights": (vit, lambda folder, _: build_encoder("auto", str(folder))),
    "loss.morphology.encoder": (vit, lambda folder, encoder: build_describer(str(folder), encoder)),
    "hf:": (vit, lambda folder, encoder: build_image_encoder(f"hf:{folder}", encoder)),
    "medclip:": (medclip, lambda folder, encoder: build_image_encoder(f"medclip:{folder}", encoder)),
}
every_door = pytest.mark.parametrize("door", DOORS)


@every_door
def test_code_beside_weights_of_a_known_type_is_passed_over(
    door: str, tmp_path: Path, mark: Path, encoder: Encoder
) -> None:
    make, enter = DOORS[door]
    assert enter(bring_code(make(tmp_path / "weights"), mark), encoder) is not None


@pytest.mark.parametrize("door", sorted(set(DOORS) - {"medclip:"}))
def test_a_type_that_needs_code_is_refused_in_a_sentence(
    door: str, tmp_path: Path, mark: Path, encoder: Encoder
) -> None:
    make, enter = DOORS[door]
    folder = bring_code(make(tmp_path / "weights"), mark, model_type="brought")
    with pytest.raises(WeightsError, match="a network of the type 'brought' ") as caught:
        enter(folder, encoder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 500


@every_door
@pytest.mark.parametrize("named", ["kernels-community/flash-attn", "lab/kernel", "flash_attention_2", 5, {"": "x"}])
def test_attention_that_a_configuration_names_is_not_fetched(
    door: str, named: Any, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("an implementation was fetched")

    monkeypatch.setattr("transformers.modeling_utils.lazy_import_flash_attention", fetch)
    make, enter = DOORS[door]
    folder = make(tmp_path / "weights")
    names = (
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_internal",
        "experts_implementation",
    )
    change(folder, **dict.fromkeys(names, named), use_kernels=True, kernel_config={"a": named})
    assert enter(folder, encoder) is not None


@every_door
@pytest.mark.parametrize(
    "values",
    [
        {"hidden_size": 10**12, "embed_dim": 10**12}, {"hidden_size": 1 << 19, "embed_dim": 1 << 19},
        {"mlp_ratio": 10**400, "hidden_dropout_prob": 10**400},
        {"num_hidden_layers": 10**6, "depths": [10**6, 1]}, {"layer_norm_eps": float("nan")},
        {"layer_norm_eps": 1e308}, {"layer_norm_eps": -1}, {"image_size": 1 << 20}, {"depths": [1] * 9999,
        "num_hidden_layers": [1] * 9999}, {"hidden_size": "x" * 99999, "embed_dim": "x" * 99999},
        {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}, {"quantization_config": {"quant_method": "gptq"}},
        {"hidden_size": None, "embed_dim": None}, {"num_attention_heads": 0, "num_heads": [0, 0]},
    ],
    ids=lambda values: next(iter(values)),
)  # fmt: skip
def test_sizes_that_no_network_has_are_refused_before_it_is_built(
    door: str, values: dict[str, Any], tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, enter = DOORS[door]
    folder = make(tmp_path / "weights")
    change(folder, **values)
    monkeypatch.setattr(nn.Module, "load_state_dict", None)  # nothing may come so far
    with pytest.raises(WeightsError) as caught:
        enter(folder, encoder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 500


def test_an_index_names_no_files_of_other_folders(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    index = tmp_path / "weights" / "model.safetensors.index.json"
    index.parent.mkdir()
    index.write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))
    with pytest.raises(WeightsError, match=r"is not the index .* \(it names files of other folders\)"):
        shards(index)


def test_a_network_is_only_as_large_as_its_files() -> None:
    assert check_affordable(lambda: nn.Linear(10, 10), "x", held=110)
    with pytest.raises(WeightsError, match=r"x describes a network of 100,010,000 values, but its files hold 9;"):
        check_affordable(lambda: nn.Linear(10_000, 10_000), "x", held=9)
    with pytest.raises(WeightsError, match=r"but at most 5,000,000,000 are built"):
        check_affordable(lambda: nn.Linear(10**5, 10**5), "x")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@example(name="depths", value={"\n": 1048577})
@given(
    st.sampled_from(["depths", "hidden_sizes", "hidden_act", "model_type", "num_channels", "out_features"]), VALUES
)
def test_any_description_of_an_encoder_is_built_or_refused(name: str, value: Any) -> None:
    """As a checkpoint holds it, in which anything may stand."""
    described = {"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [8, 8], "layer_type": "basic"}
    config = {"backbone": described | {name: value}, "mean": [0.5] * 3, "std": [0.5] * 3} | dict.fromkeys(
        ("freeze_norm", "last_stride")
    )
    try:
        assert Encoder.from_config(config).widths
    except LpdsegError as error:
        assert "\n" not in str(error) and len(str(error)) <= 500


def test_what_is_left_of_a_configuration_is_sizes_and_kinds() -> None:
    kept = {"hidden_size": 8, "layer_norm_eps": 1e-6, "conv_kernel_size": 3, "vision_config": {"depths": [1]}}
    code = {"auto_map": {}, "_attn_implementation": "x", "custom_pipelines": {}, "num_labels": 10**12}
    assert plain_configuration(kept | code | {"vision_config": {"depths": [1]} | code}, "x") == kept


@pytest.mark.parametrize(
    "record",
    [5, [], {"hub": []}, {"hub": {"id": 5}}, {"mpp": "x"}, {"mpp": 1e999}, {"mpp": 1e-30}, {"hub": {"id": []}}],
)
def test_a_record_of_conversion_that_is_none_counts_as_absent(record: Any, tmp_path: Path) -> None:
    (tmp_path / "conversion.json").write_text(json.dumps(record))
    assert hub_id_of(str(tmp_path)) == str(tmp_path) and native_mpp(str(tmp_path)) is None


@pytest.mark.parametrize("value", [10**400, "x", None, [[]], {"a": 1}])
def test_mean_and_sd_of_other_kinds_are_a_sentence(value: Any, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [value] * 3}))
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json is not the JSON of an image processor"):
        read_normalisation(str(tmp_path), (0.5,) * 3, (0.5,) * 3)


def held_in(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def hold(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({name: values.contiguous() for name, values in tensors.items()}, folder / "model.safetensors")


def refused(door: str, folder: Path, encoder: Encoder) -> str:
    with pytest.raises(WeightsError) as caught:
        DOORS[door][1](folder, encoder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 500
    return str(caught.value)


@every_door
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_values_that_are_no_numbers_are_refused(door: str, value: float, tmp_path: Path, encoder: Encoder) -> None:
    """Those of float64 may become so when they are loaded."""
    folder = DOORS[door][0](tmp_path / "weights")
    held = held_in(folder)
    name = next(name for name in sorted(held) if name.endswith("weight") and "attention" in name)
    hold(folder, held | {name: torch.full_like(held[name], value, dtype=torch.float64)})
    assert "no numbers" in refused(door, folder, encoder)


@every_door
def test_numbers_of_which_a_network_computes_none_are_refused(door: str, tmp_path: Path, encoder: Encoder) -> None:
    folder = DOORS[door][0](tmp_path / "weights")
    floats = {name: values for name, values in held_in(folder).items() if values.is_floating_point()}
    hold(folder, held_in(folder) | {name: torch.full_like(values, 1e38) for name, values in floats.items()})
    assert "computes values that are no numbers" in refused(door, folder, encoder)


@every_door
@pytest.mark.parametrize("kind", [torch.complex64, torch.float8_e4m3fn, torch.int32, torch.bool])
def test_parameters_of_other_kinds_are_refused(
    door: str, kind: torch.dtype, tmp_path: Path, encoder: Encoder
) -> None:
    folder = DOORS[door][0](tmp_path / "weights")
    hold(folder, {name: values.to(kind) for name, values in held_in(folder).items()})
    assert "and parameters are floating-point numbers" in refused(door, folder, encoder)


@every_door
def test_a_header_of_many_tensors_is_not_read(door: str, tmp_path: Path, encoder: Encoder) -> None:
    folder = DOORS[door][0](tmp_path / "weights")
    none = {f"more.{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(70_000)}
    header = json.dumps(none).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "header of 4," in refused(door, folder, encoder)


@pytest.mark.parametrize("door", sorted(set(DOORS) - {"medclip:"}))
@pytest.mark.parametrize("told", [["vit"], {"a": 1}, 5, True, ""])
def test_a_type_that_is_no_text_is_refused(door: str, told: Any, tmp_path: Path, encoder: Encoder) -> None:
    folder = DOORS[door][0](tmp_path / "weights")
    change(folder, model_type=told)
    assert refused(door, folder, encoder)


@pytest.mark.parametrize("door", sorted(set(DOORS) - {"medclip:"}))
@pytest.mark.parametrize("told", [{}, {"metadata": 5}])
def test_an_index_that_says_little_of_itself_is_refused(
    door: str, told: dict[str, Any], tmp_path: Path, encoder: Encoder
) -> None:
    folder = DOORS[door][0](tmp_path / "weights")
    names = dict.fromkeys(held_in(folder), "part.safetensors")
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(told | {"weight_map": names}))
    assert refused(door, folder, encoder)


@every_door
def test_an_adapter_that_leads_elsewhere_is_refused(door: str, tmp_path: Path, encoder: Encoder) -> None:
    """With the library of adapters installed, weights are taken from wherever it says."""
    folder = DOORS[door][0](tmp_path / "weights")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "other/weights"}))
    if door == "medclip:":  # whose one file is read by its name
        assert DOORS[door][1](folder, encoder) is not None
    else:
        assert "adapter" in refused(door, folder, encoder)


def test_a_network_that_gives_no_embedding_is_refused(tmp_path: Path, encoder: Encoder) -> None:
    folder = tmp_path / "weights"
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64}
    transformers.ViTMAEModel(transformers.ViTMAEConfig(**sizes, intermediate_size=24)).save_pretrained(folder)
    refused("hf:", folder, encoder)


@every_door
def test_names_of_tensors_are_not_written_to_the_terminal(
    door: str, tmp_path: Path, encoder: Encoder, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = DOORS[door][0](tmp_path / "weights")
    hold(folder, held_in(folder) | {"\x1b[2J": torch.ones(1)})
    capfd.readouterr()
    assert DOORS[door][1](folder, encoder) is not None
    assert capfd.readouterr() == ("", "")
