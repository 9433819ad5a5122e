"""Other runtimes give what PyTorch gives, for any batch and size."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lpdseg import api
from lpdseg.choices import Backend
from lpdseg.data.patches import read_image
from lpdseg.errors import CheckpointError, SettingsError
from lpdseg.segmenting.backends import backend_device

BACKENDS: tuple[Backend, ...] = ("onnx", "openvino")


@pytest.fixture(scope="module")
def run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, which exports may be written into."""
    import shutil

    return Path(shutil.copytree(small_run, tmp_path_factory.mktemp("exported") / "run"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_runtime_gives_the_masks_of_pytorch(run: Path, backend: Backend) -> None:
    torch_segmenter = api.load(run, device="cpu", views=("plain", "flip"))
    other = api.load(run, backend=backend, views=("plain", "flip"))
    rng = np.random.default_rng(0)
    for shape in ((1, 48, 48, 3), (3, 40, 70, 3)):
        images = rng.integers(0, 256, shape, np.uint8)
        for ours, theirs in zip(other.segment_batch(images), torch_segmenter.segment_batch(images), strict=True):
            np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)
            np.testing.assert_allclose(ours.image_probabilities, theirs.image_probabilities, atol=1e-5)
    assert len(list((run / "exports").glob("*.onnx"))) == 1  # written once, for both


def test_the_graph_answers_one_question(run: Path) -> None:
    segmenter = api.load(run, backend="onnx", views=("plain", "flip"))
    with pytest.raises(SettingsError, match="load the run again with these settings"):
        segmenter.with_settings(merge="mean").segment(np.zeros((32, 32, 3), np.uint8))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_damaged_graph_is_told(run: Path, backend: Backend) -> None:
    api.load(run, backend=backend)
    (path,) = (run / "exports").glob("*.onnx")
    whole = path.read_bytes()
    try:
        path.write_bytes(b"not a graph")
        with pytest.raises(CheckpointError, match="cannot be read as an ONNX graph"):
            api.load(run, backend=backend)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_runtime_that_computes_something_else_is_refused(
    run: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*asked: Any) -> list[np.ndarray]:
        found = [np.zeros(shape, np.float32) for shape in asked[-1].values()]
        found[-1][...] = np.nan  # the last one alone
        return found

    monkeypatch.setattr("lpdseg.segmenting.backends.first_run", nothing)
    with pytest.raises(SettingsError, match=f"the backend {backend} computes another network than PyTorch"):
        api.load(run, backend=backend)


def test_another_device_is_refused(run: Path) -> None:
    with pytest.raises(SettingsError, match="unknown device"):
        api.load(run, device="meta", backend="onnx")


def test_a_backend_that_does_not_exist() -> None:
    unchecked = inspect.unwrap(backend_device)  # tests check types on the way in; users' programs do not
    with pytest.raises(SettingsError, match="unknown backend 'foo'; use torch, onnx,"):
        unchecked("foo", "auto")  # type: ignore[arg-type]


@pytest.mark.parametrize(("backend", "least"), [("onnx", 0.99), ("openvino", 0.99), ("onnx-int8", 0.8)])
def test_a_runtime_gives_the_prototypes_of_pytorch(
    prototype_run: Path,
    small_data: Path,
    tmp_path: Path,
    backend: Backend,
    least: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for ties; and of any runtime, those of the class that its mask shows."""
    import shutil

    monkeypatch.setattr("lpdseg.export.int8._MOST_LOST", 100.0)
    run = Path(shutil.copytree(prototype_run, tmp_path / "run"))
    if backend == "onnx-int8":
        api.export_int8(run, small_data, classes="pink,blue")
    exact, other = api.load(run, device="cpu"), api.load(run, backend=backend)
    assert other.winning == exact.winning and other.prototype_names == exact.prototype_names
    images = np.stack([read_image(path) for path in sorted((small_data / "valid" / "img").iterdir())])
    same = []
    for ours, theirs in zip(
        exact.segment_batch(images, prototypes=True), other.segment_batch(images, prototypes=True), strict=True
    ):
        assert ours.prototypes is not None and theirs.prototypes is not None
        np.testing.assert_array_equal(theirs.prototypes // 2, theirs.mask)  # two of each class
        same.append((ours.prototypes == theirs.prototypes).mean())
    assert np.mean(same) > least
