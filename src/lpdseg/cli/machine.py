"""The findings of `lpdseg doctor`; each part is looked at on its own, so that one fault hides no other."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lpdseg.cores import allowed_cores
from lpdseg.insight.distributions import declared
from lpdseg.version import told_version

if TYPE_CHECKING:
    import torch

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=\s*([0-9.]+))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)")
_NATIVE = {"torch": "torch", "transformers": "transformers", "tensorboard": "torch.utils.tensorboard"}
"""Parts that may be installed and yet fail to load."""

_SLIDES = (
    ("openslide-python", "openslide", "__library_version__"),
    ("imagecodecs", "imagecodecs", "__version__"),
    ("rasterio", "rasterio", "__version__"),
    ("shapely", "shapely", "__version__"),
)
"""Native libraries for slides: package, module, and where that tells its version."""

_GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `state` is `ok`, `optional` (absent, and that is fine) or `missing`."""

    part: str
    state: Literal["ok", "optional", "missing"]
    value: str
    advice: str = ""


def examine() -> list[Finding]:
    """Looks at everything; raises nothing."""
    findings = [
        Finding("lpdseg", "ok", told_version()),
        Finding("Python", "ok", f"{platform.python_version()} ({sys.executable})"),
        Finding("system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        *_packages(),
    ]
    if all(finding.state == "ok" for finding in findings if finding.part == "torch"):
        findings += _devices()
    return [*findings, _memory(), _disk(), *_hub(), *_extras(), *_slides()]


def _packages() -> Iterator[Finding]:
    """What the package declares that it needs, in the versions that it needs."""
    for requirement in _requirements(None):
        name, least = requirement
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, "missing", "not installed", f"get it with: pip install '{name}>={least or 0}'")
            continue
        if least is not None and _numbers(found) < _numbers(least):
            advice = f"get it with: pip install --upgrade '{name}>={least}'"
            yield Finding(name, "missing", f"{found} is older than {least}", advice)
            continue
        try:
            if name in _NATIVE:
                import_module(_NATIVE[name])
        except Exception as error:  # a broken build may raise anything
            told = (str(error).splitlines() or [type(error).__name__])[0]
            yield Finding(name, "missing", f"{found} cannot be loaded ({told})", "install it again")
        else:
            yield Finding(name, "ok", found)


def _devices() -> Iterator[Finding]:
    import torch

    from lpdseg.model.device import bfloat16_pays, pick_device

    def says(device: torch.device) -> str:
        half = "bfloat16 pays" if bfloat16_pays(device) else "float32; bfloat16 would be slower"
        return f"{half}; products: {_products(device)}"

    cpu = pick_device("cpu")  # leaves PyTorch no more threads than there are cores
    capability = torch.backends.cpu.get_cpu_capability()
    threads = f"{allowed_cores()} cores, {torch.get_num_threads()} threads"
    yield Finding("cpu", "ok", f"{threads}, {capability}, {says(cpu)}")
    for index in range(torch.cuda.device_count()):
        yield Finding(f"cuda:{index}", "ok", f"{_card(index)}, {says(torch.device('cuda', index))}")
    if not torch.cuda.device_count():
        built = "this PyTorch has no CUDA" if torch.version.cuda is None else "PyTorch sees no CUDA device"
        yield Finding("cuda", "optional", built, "training on the CPU works, and takes longer")
    if torch.backends.mps.is_available():
        yield Finding("mps", "ok", "Apple GPU")


def _card(index: int) -> str:
    import torch

    facts = torch.cuda.get_device_properties(index)
    free, whole = torch.cuda.mem_get_info(index)
    uses = {
        "products": torch.backends.cuda.matmul.allow_tf32,
        "convolutions": torch.backends.cudnn.allow_tf32,
    }
    tf32 = ", ".join(f"{'' if used else 'no '}TF32 in float32 {name}" for name, used in uses.items())
    return (
        f"{facts.name}, {free / _GIB:.1f} of {whole / _GIB:.1f} GiB free, compute capability "
        f"{facts.major}.{facts.minor}, {tf32}"
    )


def _products(device: "torch.device") -> str:
    """The device's own rate, which no model can beat."""
    import torch

    from lpdseg.model.device import product_rate

    try:
        rates = {name: product_rate(device, getattr(torch, name)) for name in ("float32", "bfloat16")}
    except RuntimeError as error:  # somebody else may have all of its memory
        return f"not measured ({str(error).splitlines()[0]})"
    shown = {name: f"{rate:.0f} G" if rate < 1000 else f"{rate / 1000:.3g} T" for name, rate in rates.items()}
    return ", ".join(f"{rate}FLOP/s in {name}" for name, rate in shown.items())


def _memory() -> Finding:
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    if "SC_PHYS_PAGES" not in names:
        return Finding("memory", "optional", "unknown on this system")
    page = os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * page
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    free = os.sysconf("SC_AVPHYS_PAGES") * page if "SC_AVPHYS_PAGES" in names else None
    return Finding("memory", "ok", f"{total / _GIB:.1f} GiB" + (f", {free / _GIB:.1f} GiB unused" if free else ""))


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    advice = "a run keeps about 0.5 GiB" if free < 2 * _GIB else ""
    return Finding("disk", "ok", f"{free / _GIB:.1f} GiB free in {Path.cwd()}", advice)


def _hub() -> Iterator[Finding]:
    """Whether weights can come from the hub, or only from folders."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return  # already among the packages that are missing
    if constants.HF_HUB_OFFLINE:
        yield Finding("hub", "optional", "offline mode (HF_HUB_OFFLINE)", "weights come from folders and the cache")
    else:
        yield Finding("hub", "ok", "online mode; HF_HUB_OFFLINE=1 forbids downloads")
    yield Finding("hub cache", "ok", str(constants.HF_HUB_CACHE))


def _extras() -> Iterator[Finding]:
    for extra in declared()[1]:
        lacking = [name for name, _ in _requirements(extra) if name != "lpdseg" and not _installed(name)]
        if lacking:
            advice = f"get them with: pip install 'lpdseg[{extra}]'"
            yield Finding(f"extra {extra}", "optional", f"not installed: {', '.join(lacking)}", advice)
        else:
            yield Finding(f"extra {extra}", "ok", "installed")


def _slides() -> Iterator[Finding]:
    """Whether the libraries that read and write slides load: installed is not enough, for they are native code."""
    for name, module, told in _SLIDES:
        if not _installed(name):
            continue  # already told as an extra that is missing
        try:
            loaded = import_module(module)
        except Exception as error:  # a broken build may raise anything
            fault = (str(error).splitlines() or [type(error).__name__])[0]
            advice = "install it again: pip install --force-reinstall 'lpdseg[slides]'"
            yield Finding(f"slides: {name}", "missing", f"cannot be loaded ({fault})", advice)
        else:
            yield Finding(f"slides: {name}", "ok", f"{getattr(loaded, told)} loads")


def _requirements(extra: str | None) -> Iterator[tuple[str, str | None]]:
    """Name and least version of each requirement of the package, or of one of its extras."""
    for line in declared()[0]:
        of_extra = _EXTRA.search(line)
        found = _REQUIREMENT.match(line)
        if found is not None and (of_extra.group(1) if of_extra else None) == extra:
            yield found.group(1), found.group(2)


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    """`2.13.0+cpu` → (2, 13, 0)."""
    return tuple(int(number) for number in re.match(r"[0-9.]*", text).group().split(".") if number)  # type: ignore[union-attr]
