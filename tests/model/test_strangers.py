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
from safetensors.torch import save_file
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
