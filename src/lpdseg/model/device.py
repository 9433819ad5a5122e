"""Where tensors live: the one place that chooses a device and says what it can do."""

import os
import time

import torch

from lpdseg.cores import allowed_cores
from lpdseg.errors import SettingsError


def pick_device(name: str = "auto") -> torch.device:
    """`auto` → the accelerator where there is one, else the CPU; or a device by name, such as `cuda:1`.

    PyTorch is left no more threads than the process may use cores: it counts those of the machine, and threads
    without a core to run on wait for each other. `OMP_NUM_THREADS` stands.

    **Raises:** `SettingsError` for a device that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:1 or mps") from error
    if device.type not in {"cpu", "cuda", "mps"} or (device.type == "cpu" and device.index is not None):
        raise SettingsError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:1 or mps")
    missing = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise SettingsError(f"this machine has no device {name!r}; use --device cpu, or run `lpdseg doctor`")
    if device.type == "cuda":  # float32 is that, not rounded to TF32; what is to be fast is bfloat16
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > (cores := allowed_cores()):
        torch.set_num_threads(cores)
    return device


def runs_ahead(device: torch.device) -> bool:
    """Whether the host queues work that the device does later: to look at a result is then to wait for all of it.

    What hangs on how many there are, of pairs or of pixels, has another shape at each step, which costs a wait and
    kernels of its own; there it is better computed for more than is needed and weighed 0.
    """
    return device.type != "cpu"


def bfloat16_pays(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; elsewhere autocast is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def product_rate(device: torch.device, dtype: torch.dtype, size: int | None = None, rounds: int = 9) -> float:
    """GFLOP/s of a product of two square matrices, the best of some: what to measure a model's speed by.

    Less than a second is spent on it. `size` is their side; by default one at which such a device is at its best.
    """
    size = size or (1024 if device.type == "cpu" else 8192)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    taken: list[float] = []
    while len(taken) <= rounds and sum(taken) < 1:  # the first prepares
        began = time.perf_counter()
        a @ b
        finish(device)
        taken.append(time.perf_counter() - began)
    return 2 * size**3 / min(taken) / 1e9


def finish(device: torch.device) -> None:
    """Waits until the device has done what it was asked for; Python goes on while it works."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
