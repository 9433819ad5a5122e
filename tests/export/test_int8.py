"""A network in integers: near the one in float32, refused where it is not, and found by the backends."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from lpdseg import api
from lpdseg.choices import Backend
from lpdseg.data.patches import read_image
from lpdseg.errors import DataError, SettingsError
from lpdseg.model.runtime import INT8_KEY

BACKENDS: tuple[Backend, ...] = ("onnx-int8", "openvino-int8")


@pytest.fixture(scope="module")
def data(small_data: Path):  # type: ignore[no-untyped-def]
    from lpdseg.data.importers import load_data
    from lpdseg.tissue import tissue_classes

    return load_data(small_data, tissue_classes("pink,blue"))


@pytest.fixture(scope="module")
def run(small_run: Path, data, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    """A copy with its network in integers beside it."""
    copy = Path(shutil.copytree(small_run, tmp_path_factory.mktemp("integers") / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lpdseg.export.int8._MOST_LOST", 100.0)
        made = api.export_int8(copy, data)
    assert made.path.is_file() and made.patches == 12 and made.miou is not None
    return copy


@pytest.mark.parametrize("backend", BACKENDS)
def test_integers_are_near_pytorch_and_not_equal(small_data: Path, run: Path, backend: Backend) -> None:
    exact, integers = api.load(run, device="cpu"), api.load(run, backend=backend)
    image = read_image(sorted((small_data / "valid" / "img").iterdir())[0])
    ours, theirs = integers.segment(image), exact.segment(image)
    apart = np.abs(ours.image_probabilities - theirs.image_probabilities)
    assert 0 < float(apart.max()) < 0.05


def test_convolutions_are_in_integers_and_the_figures_are_in_the_file(run: Path) -> None:
    (path,) = (run / "exports").glob("*-int8.onnx")
    graph = onnx.load(path)
    of = {node.output[0]: node for node in graph.graph.node}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    assert convolutions
    assert all(of[name].op_type == "DequantizeLinear" for node in convolutions for name in node.input[:2])
    facts = json.loads({entry.key: entry.value for entry in graph.metadata_props}[INT8_KEY])
    assert facts["patches"] == 12 and facts["difference"] > 0 and len(facts["miou"]) == 2


def test_integers_that_cost_too_much_are_refused(
    run: Path,
    data,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lpdseg.export.int8._MOST_LOST", -100.0)
    with pytest.raises(SettingsError, match=r"8-bit integers cost this model .* points of validation mIoU"):
        api.export_int8(run, data, tmp_path / "int8.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_further_away_than_when_it_was_made_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdseg.segmenting.backends.furthest", lambda *_: 1e3)
    with pytest.raises(SettingsError, match="computes another network than PyTorch"):
        api.load(run, backend="openvino-int8")


def test_without_such_a_graph_the_command_that_writes_it_is_named(small_run: Path) -> None:
    with pytest.raises(SettingsError, match=r"lpdseg export .* --int8 DATA"):
        api.load(small_run, backend="onnx-int8")


def test_without_validation_masks_nothing_is_compared(
    run: Path,
    data,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    from dataclasses import replace

    made = api.export_int8(run, replace(data, records=data.split("train")), tmp_path / "int8.onnx")
    assert made.miou is None and made.path.is_file()


def test_training_patches_are_needed(run: Path, data) -> None:  # type: ignore[no-untyped-def]
    from dataclasses import replace

    without = replace(data, records=data.split("valid"))
    with pytest.raises(DataError, match="has no 'train' patches"):
        api.export_int8(run, without)
