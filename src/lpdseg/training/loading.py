"""Batches on their way from the disk to the steps."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lpdseg.cores import allowed_cores
from lpdseg.data.composites import TrainingBatches
from lpdseg.data.dataset import GlobalBatches
from lpdseg.errors import TrainingError
from lpdseg.guard import MAIN_GUARD
from lpdseg.settings import Settings
from lpdseg.training.kept_batches import KeptBatches
from lpdseg.training.stop import leave_signals_to_the_parent

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def loader(
    training: TrainingBatches | KeptBatches, settings: Settings, step: int, total: int, fabric: "Fabric"
) -> DataLoader[dict[str, Tensor]]:
    """This process's share of the batches from `step` on, of `total`."""
    sampler = GlobalBatches(
        len(training.patches),
        settings.train.batch,
        settings.train.seed,
        step,
        total,
        fabric.global_rank,
        fabric.world_size,
    )
    workers = min(settings.data.workers, allowed_cores())
    return DataLoader(
        training,
        sampler=sampler,
        batch_size=None,  # the sampler draws whole batches
        num_workers=workers,
        pin_memory=fabric.device.type == "cuda",
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=leave_signals_to_the_parent,
    )


def on_one_thread(batches: Iterable[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """For a thread of its own, whose number of cores this sets: the others belong to the model.

    **Raises:** `TrainingError` where a loader process has ended.
    """
    torch.set_num_threads(1)
    try:
        yield from batches
    except (RuntimeError, BrokenPipeError, EOFError, ConnectionResetError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"a process that loads patches has ended: {MAIN_GUARD}; otherwise it was ended from outside, perhaps "
            "for lack of memory: set data.workers lower, or to 0"
        ) from error
