import json
from pathlib import Path

import onnx
import pytest
import torch
import transformers

from lpdseg.errors import CheckpointError, SettingsError
from lpdseg.methods.dense import DenseNetwork
from lpdseg.model.encoder import Encoder
from lpdseg.model.graph import KEY, GraphFacts, write_graph
from lpdseg.model.head import PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.model.network import Wanted
from lpdseg.model.runtime import INT8_KEY, OnnxNetwork, OpenvinoNetwork, difference, known_difference_in


def encoder(config: transformers.PreTrainedConfig) -> Encoder:
    torch.manual_seed(0)
    plain = {"mean": [0.5] * 3, "std": [0.25] * 3, "freeze_norm": False, "last_stride": None}
    return Encoder.from_config({"backbone": config.to_dict(), **plain}).eval()


def pvt() -> Encoder:
    return encoder(
        transformers.PvtV2Config(
            hidden_sizes=[8, 16], depths=[1, 1], num_attention_heads=[1, 2], sr_ratios=[2, 1], mlp_ratios=[2, 2],
            patch_sizes=[7, 3], strides=[4, 2], num_encoder_blocks=2, out_features=["stage1", "stage2"],
        )
    )  # fmt: skip


def test_a_graph_gives_maps_logits_and_the_head(tmp_path: Path) -> None:
    network = LPD(pvt(), (2, 3), 8, 7, 0.07, head=8).eval()
    assert isinstance(network.head, PrototypeHead)
    network.head.live[3] = False
    wanted = Wanted((0, 1), "softmax", "pixel", dense=True)
    facts = write_graph(network, wanted, tmp_path / "model.onnx")
    assert facts.outputs == ("map_0", "map_1", "logits_0", "logits_1", "dense")
    assert (facts.scales, facts.stride) == (2, 8)
    assert (facts.parts, facts.retired) == ((0, 0, 1, 1, 1), (3,))
    for runtime in (OnnxNetwork(tmp_path / "model.onnx"), OpenvinoNetwork(tmp_path / "model.onnx", half=False)):
        assert runtime.facts == facts and runtime.has_head and runtime.has_maps
        assert runtime.parts == network.parts and runtime.retired == network.retired
        assert difference(network, runtime) < 1e-4


def test_a_network_of_dense_logits_has_one_output(tmp_path: Path) -> None:
    network = DenseNetwork(pvt(), 3, 8).eval()
    facts = write_graph(network, Wanted((), "mean", "mean", dense=True), tmp_path / "model.onnx")
    runtime = OnnxNetwork(tmp_path / "model.onnx")
    assert facts.outputs == ("dense",) and not runtime.has_maps
    assert difference(network, runtime) < 1e-4


def test_the_difference_sees_other_weights(tmp_path: Path) -> None:
    network = DenseNetwork(pvt(), 3, 8).eval()
    write_graph(network, Wanted((), "mean", "mean", dense=True), tmp_path / "model.onnx")
    with torch.no_grad():
        next(network.head.parameters()).mul_(2)
    assert difference(network, OnnxNetwork(tmp_path / "model.onnx")) > 1e-2


def test_an_encoder_that_cannot_be_traced_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("a guard on a size")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    network = DenseNetwork(pvt(), 3, 8).eval()
    with pytest.raises(SettingsError, match="of the kind pvt_v2, as a graph for images of any size"):
        write_graph(network, Wanted((), "mean", "mean", dense=True), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_foreign_graph_is_refused(tmp_path: Path) -> None:
    pixels, doubled = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ("images", "doubled")
    )
    node = onnx.helper.make_node("Add", ["images", "images"], ["doubled"])
    graph = onnx.helper.make_graph([node], "twice", [pixels], [doubled])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), tmp_path / "twice.onnx")
    for build in (OnnxNetwork, lambda path: OpenvinoNetwork(path, half=False)):
        with pytest.raises(CheckpointError, match="no graph that this package wrote"):
            build(tmp_path / "twice.onnx")


def test_facts_survive_as_text() -> None:
    facts = GraphFacts(Wanted((1, 2), "softmax", "pixel", dense=True), ("map_1", "dense"), 3, 32)
    assert GraphFacts.from_json(facts.as_json()) == facts


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": ["map_x"]}, {"outputs": []}, {"outputs": "dense"}, {"scales": 0}, {"scales": 10**9},
        {"stride": 1e308}, {"stride": True}, {"parts": [-1]}, {"retired": None}, {"wanted": {}}, {"wanted": None},
        {"wanted": {"levels": [1], "merge": "no", "image_merge": "mean", "dense": True}},
        {"wanted": ["levels"] * 99},
    ],
    ids=str,
)  # fmt: skip
def test_facts_that_are_none_are_refused(change: dict[str, object]) -> None:
    facts = GraphFacts(Wanted((1, 2), "softmax", "pixel", dense=True), ("map_1", "dense"), 3, 32, (0, 0, 1))
    text = json.dumps(json.loads(facts.as_json()) | change)
    with pytest.raises(CheckpointError, match=r"^the metadata of a\.onnx.*; export the run again$") as caught:
        GraphFacts.from_json(text, "a.onnx")
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "[]", "7", '"\\ud800"', '{"wanted": NaN}', "{}"], ids=lambda text: text[:9]
)
def test_metadata_that_are_no_facts_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^the metadata of a graph.*; export the run again$"):
        GraphFacts.from_json(text)


def test_what_another_says_of_its_graph_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_graph(DenseNetwork(pvt(), 3, 8).eval(), Wanted((), "mean", "mean", dense=True), path)
    facts = json.loads(GraphFacts(Wanted((), "mean", "mean", dense=True), ("dense",), 4, 32).as_json())
    graph = onnx.load(str(path))
    onnx.helper.set_model_props(graph, {KEY: json.dumps(facts | {"scales": -1})})
    onnx.save(graph, tmp_path / "other.onnx")
    for build in (OnnxNetwork, lambda path: OpenvinoNetwork(path, half=False)):
        with pytest.raises(CheckpointError, match=r"the metadata of .*other\.onnx.*; export the run again"):
            build(tmp_path / "other.onnx")


@pytest.mark.parametrize("text", ['{"difference": NaN}', '{"difference": 1e6}', '{"difference": -1}', "[]", "{"])
def test_what_another_says_of_its_integers_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match=r"the metadata of other\.onnx.*; export the run again"):
        known_difference_in({INT8_KEY: text}, Path("other.onnx"))
    assert known_difference_in({INT8_KEY: '{"difference": 1.5, "miou": null}'}, Path("other.onnx")) == 1.5
    assert known_difference_in({}, Path("other.onnx")) == 0
