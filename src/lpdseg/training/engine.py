"""Devices, precision and processes, through Lightning Fabric."""

import atexit
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lpdseg.alone import alone_in
from lpdseg.errors import LpdsegError, SettingsError
from lpdseg.model.device import bfloat16_pays, pick_device
from lpdseg.model.network import Network
from lpdseg.quiet import library
from lpdseg.sections import TrainSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PATIENCE = timedelta(hours=6)
"""How long processes wait for the first one, which validates alone."""


@dataclass(frozen=True)
class Engine:
    """Where training runs.

    - `device`: auto, cpu, cuda, mps, or one device such as cuda:1.
    - `devices`: processes on each node, one per device.
    - `nodes`: machines; each starts the same command under a launcher such as torchrun.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1


def make_fabric(engine: Engine, settings: TrainSettings) -> "Fabric":
    """Starts the processes that `engine` names (this function returns in each of them).

    **Raises:** `SettingsError` for a device that is not there, or a batch that the processes cannot share.
    """
    lightning = library("lightning_fabric")

    world = engine.devices * engine.nodes
    if settings.batch % world:
        raise SettingsError(
            f"train.batch = {settings.batch} cannot be shared by {world} processes; make it a multiple of {world}"
        )
    device = pick_device(engine.device)
    if device.index is not None and engine.devices > 1:
        raise SettingsError(
            f"--device {engine.device} is one device; for {engine.devices} of them use {device.type!r}"
        )
    if device.type == "cuda" and engine.devices > torch.cuda.device_count():
        raise SettingsError(f"this machine has {torch.cuda.device_count()} CUDA devices, not {engine.devices}")
    precision: Any = chosen_precision(settings, device)
    # One device may be named by number; several are the first ones. The CPU counts processes instead.
    one: Any = [device.index] if device.index is not None and engine.devices == 1 else engine.devices
    # Warm-up leaves parameters of the later losses unused, and so may an encoder's unused scales.
    strategy: Any = (
        lightning.strategies.DDPStrategy(find_unused_parameters=True, timeout=_PATIENCE) if world > 1 else "auto"
    )
    fabric: Fabric = lightning.Fabric(
        accelerator=device.type, devices=one, num_nodes=engine.nodes, strategy=strategy, precision=precision
    )
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks of those who want it
    fabric.launch()
    if world > 1:
        atexit.register(_leave_group)
    torch.use_deterministic_algorithms(settings.deterministic, warn_only=device.type != "cpu")
    return fabric


def _leave_group() -> None:
    """Joins the threads of the collectives: one letting go of a tensor while Python ends would abort it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def chosen_precision(settings: TrainSettings, device: torch.device) -> str:
    """What `auto` means on this device; other settings stand."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16-mixed" if bfloat16_pays(device) else "32-true"


def compile_encoder(model: Network) -> None:
    """Lets `torch.compile` translate the encoder at the first step; names of parameters stay as they are.

    **Raises:** `SettingsError` on a CPU without a C++ compiler.
    """
    compilers = [os.environ.get("CXX", "g++"), "clang++", "cl"]
    if model.device.type == "cpu" and not any(map(shutil.which, compilers)):
        raise SettingsError(
            "train.compile = true needs a C++ compiler on the CPU, such as g++; install one or set false"
        )
    warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")  # float32 stays that, see `pick_device`
    model.encoder.compile()


def in_first_process(fabric: "Fabric", work: Callable[[], object]) -> None:
    """Runs `work` in the first process while the others wait; an `LpdsegError` there is raised in all of them."""
    error: LpdsegError | None = None
    if fabric.is_global_zero:
        try:
            work()
        except LpdsegError as caught:
            error = caught
    if fabric.world_size > 1:
        error = fabric.broadcast(error)
    if error is not None:
        raise error


def mean_over_processes(fabric: "Fabric", value: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor, as all know it then; all must ask."""
    mean: torch.Tensor = value if fabric.world_size == 1 else fabric.all_reduce(value, reduce_op="mean")
    return mean


@contextmanager
def alone_in_run(fabric: "Fabric", run: Path) -> Iterator[None]:
    """Has the run's folder to this training inside the block; the first process holds it for all of them.

    **Raises:** `OutputError`, in all of them, where another training is at work in it.
    """
    with ExitStack() as stack:
        in_first_process(fabric, lambda: stack.enter_context(alone_in(run, "training", ["checkpoints"])))
        yield


class Agreement:
    """What any process has to say, told to all of them by their hosts: nobody waits for a device."""

    def __init__(self, fabric: "Fabric") -> None:
        self._group: Any = None
        if fabric.world_size > 1:
            # The group that shares gradients may know tensors of its devices alone, and queues behind their work.
            self._group = torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)

    def any(self, *said: bool) -> list[bool]:
        """What at least one process says; all must ask at the same step."""
        if self._group is None:
            return list(said)
        votes = torch.tensor(said, dtype=torch.uint8)
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX, self._group)
        return [bool(vote) for vote in votes.tolist()]
