"""Graphs in a run's folder that another has changed: none is computed before it is known to be the run's own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lpdseg import api
from lpdseg.choices import Backend
from lpdseg.errors import CheckpointError, SettingsError
from lpdseg.model.graph import KEY, write_graph
from lpdseg.model.runtime import INT8_KEY, OnnxNetwork
from lpdseg.segmenting.backends import agreement
from lpdseg.segmenting.memory import if_it_fits
from lpdseg.segmenting.segmenter import Segmenter

FLOAT = TensorProto.FLOAT
Change = Callable[[Any], Any]
IMAGES = np.zeros((1, 3, 32, 32), np.float32)


@pytest.fixture(scope="module")
def segmenter(small_run: Path) -> Segmenter:
    return api.load(small_run, device="cpu")


@pytest.fixture(scope="module")
def whole(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strange") / "whole.onnx"
    write_graph(segmenter.model, segmenter.wanted, path)
    return path


@pytest.fixture
def refused(segmenter: Segmenter, whole: Path, tmp_path: Path) -> Callable[..., None]:
    """Whether the graph is refused that a function makes of the run's."""

    def check(change: Change, says: str, runtime: str = "onnx") -> None:
        graph = onnx.load(str(whole))
        onnx.save(change(graph) or graph, str(tmp_path / "changed.onnx"))
        with pytest.raises(CheckpointError, match=says) as told:
            agreement(segmenter, runtime, tmp_path / "changed.onnx")
        assert "changed.onnx" in str(told.value) and "remove it and run again" in str(told.value)

    return check


def nodes(*made: Any, elem: int = FLOAT, weights: tuple[Any, ...] = (), more: int = 0) -> Change:
    """Other nodes, of which the last gives `x`, which is every output."""

    def change(graph: Any) -> Any:
        names = [*(one.name for one in graph.graph.output), *(f"more_{n}" for n in range(more))]
        given = helper.make_tensor_value_info("images", FLOAT, ["b", 3, "h", "w"])
        found = [helper.make_tensor_value_info(name, elem, None) for name in names]
        copies = [helper.make_node("Identity", ["x"], [name]) for name in names]
        inside = helper.make_graph([*made, *copies], "g", [given], found, list(weights))
        other = helper.make_model(inside, opset_imports=graph.opset_import, ir_version=graph.ir_version)
        helper.set_model_props(other, {entry.key: entry.value for entry in graph.metadata_props})
        return other

    return change


def filled(*shape: int) -> Change:
    sides = numpy_helper.from_array(np.array(shape, np.int64), "sides")
    return nodes(helper.make_node("ConstantOfShape", ["sides"], ["x"]), weights=(sides,))


def cast(to: int) -> Change:
    return nodes(helper.make_node("Cast", ["images"], ["x"], to=to), elem=to)


COMPUTED = {
    "beyond all memory": filled(1, 4, 300_000, 300_000),
    "gigabytes": filled(1, 4, 40_000, 40_000),
    "no shape": filled(-5, 4),
    "another shape": nodes(helper.make_node("ReduceMean", ["images"], ["x"], keepdims=0)),
    "an output more": nodes(helper.make_node("Identity", ["images"], ["x"]), more=1),
    "text": cast(TensorProto.STRING),
    "whole numbers": cast(TensorProto.INT64),
    "half precision": cast(TensorProto.FLOAT16),
}


@pytest.mark.parametrize("change", COMPUTED.values(), ids=COMPUTED)
def test_what_computes_something_else_is_refused(refused: Callable[..., None], change: Change) -> None:
    refused(change, "does not compute what this run's network computes, or takes too much memory or time")


def test_openvino_meets_the_same_bounds(refused: Callable[..., None]) -> None:
    refused(COMPUTED["gigabytes"], "takes too much memory", "openvino")


def loop(graph: Any) -> Any:
    """Without an end."""
    go, count = (
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        numpy_helper.from_array(np.array(2**62), "n"),
    )
    number = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    here, there = (helper.make_tensor_value_info(name, FLOAT, None) for name in ("v", "v2"))
    on = helper.make_tensor_value_info("go2", TensorProto.BOOL, [])
    same = [helper.make_node("Identity", [a], [b]) for a, b in (("go", "go2"), ("v", "v2"))]
    body = helper.make_graph(same, "body", [number, go, here], [on, there])
    true = numpy_helper.from_array(np.array(True), "true")
    made = helper.make_node("Loop", ["n", "true", "images"], ["x"], body=body)
    return nodes(made, weights=(count, true))(graph)


def elsewhere(graph: Any) -> None:
    weight = max(graph.graph.initializer, key=lambda one: len(one.raw_data))
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "/dev/zero"


HOLDS = {
    "a graph within a graph": loop,
    "weights that lie in another file": elsewhere,
    "an operator of 'evil'": nodes(helper.make_node("Evil", ["images"], ["x"], domain="evil")),
}


@pytest.mark.parametrize(("fault", "change"), HOLDS.items(), ids=HOLDS)
def test_what_no_graph_of_ours_holds_is_refused_unseen(
    refused: Callable[..., None], fault: str, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpdseg.segmenting.backends.first_run", lambda *_: pytest.fail("it was computed"))
    refused(change, f"holds {fault}")


@pytest.mark.parametrize(
    "facts",
    [{"stride": 4096}, {"scales": 64}, {"parts": [0, 0, 0, 1]}, {"retired": [1]}, {"outputs": ["map_9"]}],
    ids=str,
)
def test_what_tells_of_another_network_is_refused(
    refused: Callable[..., None], facts: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(graph: Any) -> None:
        told = {entry.key: entry.value for entry in graph.metadata_props}
        helper.set_model_props(graph, told | {KEY: json.dumps(json.loads(told[KEY]) | facts)})

    monkeypatch.setattr("lpdseg.segmenting.backends.first_run", lambda *_: pytest.fail("it was computed"))
    refused(change, "the graph of another network than this run's")


def test_a_graph_that_calls_itself_integers_may_be_no_further_off(small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    api.load(run, backend="onnx")
    (path,) = (run / "exports").glob("*.onnx")
    graph: Any = onnx.load(str(path))
    for one in graph.graph.initializer:
        values = numpy_helper.to_array(one)
        if values.dtype == np.float32 and values.ndim > 1:
            one.CopyFrom(numpy_helper.from_array(1.5 * values, one.name))
    told = {entry.key: entry.value for entry in graph.metadata_props}
    helper.set_model_props(graph, told | {INT8_KEY: '{"difference": 100}'})
    onnx.save(graph, str(path))
    backends: tuple[Backend, ...] = ("onnx", "openvino")
    for backend in backends:
        with pytest.raises(SettingsError, match="computes another network than PyTorch"):
            api.load(run, backend=backend)


def failing(path: Path, fault: str) -> OnnxNetwork:
    def fail(*_: object) -> None:
        raise Exception(fault)  # as the library's own, which share no class

    network: Any = OnnxNetwork(path)
    network._session = SimpleNamespace(run=fail)
    return network


def test_a_graph_that_fails_later_is_told(whole: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"whole\.onnx cannot be computed for images .* \(Invalid dimension\)"
    ):
        failing(whole, "Invalid dimension").run(IMAGES)


def test_where_memory_lacks_fewer_are_tried_or_it_is_told(whole: Path) -> None:
    network = failing(whole, "Failed to allocate memory for requested buffer")
    assert if_it_fits(network.run, IMAGES) is None
    with pytest.raises(CheckpointError, match=r"not enough memory to compute .*whole\.onnx"):
        network.run(IMAGES)
