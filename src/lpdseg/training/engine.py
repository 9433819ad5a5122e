"""Devices, precision and processes, through Lightning Fabric."""

from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from lpdseg.errors import SettingsError
from lpdseg.model.device import bfloat16_pays, pick_device
from lpdseg.settings import TrainSettings


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


def make_fabric(engine: Engine, settings: TrainSettings) -> Fabric:
    """Starts the processes that `engine` names (this function returns in each of them).

    **Raises:** `SettingsError` for a device that is not there, or a batch that the processes cannot share.
    """
    world = engine.devices * engine.nodes
    if settings.batch % world:
        raise SettingsError(
            f"train.batch = {settings.batch} cannot be shared by {world} processes; make it a multiple of {world}"
        )
    device = pick_device(engine.device)
    precision: Any = settings.precision
    if precision == "auto":
        precision = "bf16-mixed" if bfloat16_pays(device) else "32-true"
    # One device may be named by number; several are the first ones. The CPU counts processes instead.
    one: Any = [device.index] if device.index is not None and engine.devices == 1 else engine.devices
    # Warm-up leaves parameters of the later losses unused, and so may an encoder's unused scales.
    strategy: Any = DDPStrategy(find_unused_parameters=True) if world > 1 else "auto"
    fabric = Fabric(
        accelerator=device.type, devices=one, num_nodes=engine.nodes, strategy=strategy, precision=precision
    )
    fabric.launch()
    if settings.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    return fabric
