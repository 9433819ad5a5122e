import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from lpdseg import api
from lpdseg.cli.main import main


def test_the_file_serves_other_programs(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "model.onnx"
    assert main(["export", str(small_run), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "multiples of" in told and "map_1, map_2, logits_1, logits_2" in told
    images = np.random.default_rng(0).random((2, 3, 64, 32), np.float32)
    session = onnxruntime.InferenceSession(out)
    found = dict(
        zip([one.name for one in session.get_outputs()], session.run(None, {"images": images}), strict=True)
    )
    segmenter = api.load(small_run, device="cpu")
    with torch.inference_mode():
        reading = segmenter.model.read(torch.from_numpy(images), [1, 2], "softmax", segmenter.train_merge)
    np.testing.assert_allclose(found["map_2"], reading.maps[2], atol=1e-5)
    np.testing.assert_allclose(found["logits_1"], reading.logits[1], atol=1e-5)


def test_what_a_run_does_not_have_is_told(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.onnx"
    assert main(["export", str(small_run), "--out", str(out), "--source", "head"]) == 2
    assert "needs a segmentation head" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_masks_come_from_any_backend(small_run: Path, small_data: Path, tmp_path: Path, backend: str) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    images = str(small_data / "valid" / "img")
    words = ["segment", str(run), images, "--device", "cpu", "--out"]
    assert main([*words, str(tmp_path / "torch")]) == 0
    assert main([*words, str(tmp_path / backend), "--backend", backend]) == 0
    masks = [sorted((tmp_path / name / "masks").rglob("*.png")) for name in ("torch", backend)]
    assert len(masks[0]) == len(masks[1]) > 0
    from PIL import Image

    pairs = [[np.asarray(Image.open(path)) for path in pair] for pair in zip(*masks, strict=True)]
    assert np.mean([np.mean(a == b) for a, b in pairs]) > 0.999
    assert f'"backend": "{backend}"' in next((tmp_path / backend).glob("*.json")).read_text()
    words = ["evaluate", str(run), "--data", str(small_data), "--classes", "pink,blue", "--backend", backend]
    assert main(words) == 0


def test_integers_come_from_training_patches_and_serve_a_backend(
    small_run: Path,
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lpdseg.export.int8._MOST_LOST", 100.0)
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    assert main(["export", str(run), "--int8", str(small_data)]) == 0
    told = capsys.readouterr().out
    assert "ranges of 12 training patches" in told and "in integers" in told
    words = ["segment", str(run), str(small_data / "valid" / "img"), "--out", str(tmp_path / "masks")]
    assert main([*words, "--backend", "onnx-int8"]) == 0


def test_a_graph_needs_a_file_and_integers_a_whole_run(
    small_run: Path, small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(small_run)]) == 2
    assert "--out FILE.onnx" in capsys.readouterr().err
    assert main(["export", str(small_run), "--int8", str(small_data), "--source", "maps"]) == 2
    assert "leave --source out" in capsys.readouterr().err


def test_a_missing_extra_is_named(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpdseg.extras.find_spec", lambda name: None)
    assert main(["export", str(small_run), "--out", str(tmp_path / "model.onnx")]) == 2
    assert "pip install 'lpdseg[onnx]'" in capsys.readouterr().err
