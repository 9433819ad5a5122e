"""Batches on their way from the disk to the steps."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lpdseg.ahead import ahead
from lpdseg.cores import allowed_cores
from lpdseg.data.composites import TrainingBatches
from lpdseg.data.corrected_patches import CorrectedBatches, CorrectedPatches, taken_along
from lpdseg.data.dataset import GlobalBatches
from lpdseg.data.on_device import DrawnBatches, Maker
from lpdseg.errors import TrainingError
from lpdseg.guard import MAIN_GUARD
from lpdseg.settings import Settings
from lpdseg.training.device_room import DeviceRoom
from lpdseg.training.kept_batches import KeptBatches
from lpdseg.training.kept_on_device import KeptMaker
from lpdseg.training.progress import Reporter
from lpdseg.training.setup import Pace
from lpdseg.training.stop import leave_signals_to_the_parent

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def loader(
    training: TrainingBatches | KeptBatches | DrawnBatches | CorrectedBatches,
    settings: Settings,
    step: int,
    total: int,
    fabric: "Fabric",
) -> DataLoader[dict[str, Any]]:
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
    if isinstance(training, DrawnBatches) and training.held == len(training):
        workers = 0  # drawing numbers takes less time than sending them here from another process
    return DataLoader(
        training,
        sampler=sampler,
        batch_size=None,  # the sampler draws whole batches
        num_workers=workers,
        pin_memory=fabric.device.type == "cuda",
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=leave_signals_to_the_parent,
    )


def batches_on_device(
    training: TrainingBatches | KeptBatches,
    settings: Settings,
    step: int,
    total: int,
    fabric: "Fabric",
    reporter: Reporter,
    room: DeviceRoom,
    corrected: CorrectedPatches | None = None,
) -> Iterable[dict[str, Tensor]]:
    """This process's share of the batches from `step` on, of `total`, where the model is.

    A CUDA device makes them itself of what is drawn here, and holds the patches, or what a frozen encoder gave for
    them, that it has room for, which is taken; what it holds changes no bit of them.
    """
    maker: Maker | KeptMaker | None = None
    source: TrainingBatches | KeptBatches | DrawnBatches = training
    if room.there:
        with _memory_told():
            maker, source = _maker(training, fabric.device, room, reporter)
        room.left -= maker.held.nbytes
        reporter.note(_told(maker, source, settings.data.device_share))
    every = settings.loss.correction.every
    asked = source if corrected is None else CorrectedBatches(source, corrected, every)
    loaded: Any = fabric.setup_dataloaders(
        loader(asked, settings, step, total, fabric), use_distributed_sampler=False
    )
    return loaded if maker is None else _made(loaded, maker)


def _maker(
    training: TrainingBatches | KeptBatches, device: torch.device, room: DeviceRoom, reporter: Reporter
) -> tuple[Maker, DrawnBatches] | tuple[KeptMaker, KeptBatches]:
    if isinstance(training, KeptBatches):
        pace = Pace(reporter, "sending what the frozen encoder gave to the device", "images")
        kept = KeptMaker(training, device, room.left, pace.tell)
        return kept, kept.batches
    pace = Pace(reporter, "decoding patches and sending them to the device", "patches")
    maker = Maker(training.patches, device, room.left, pace.tell)
    return maker, DrawnBatches(training, len(maker.held))


def _made(drawn: Iterable[dict[str, Any]], maker: Maker | KeptMaker) -> Iterator[dict[str, Tensor]]:
    if maker.held.is_cuda:
        torch.cuda.set_device(maker.held.device)  # of this thread, which starts with the first one
    with _memory_told():
        yield from (maker(batch) | taken_along(batch) for batch in drawn)


@contextmanager
def _memory_told() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "the device ran out of memory for patches: make data.device_share smaller, or train.batch"
        ) from error


def _told(maker: Maker | KeptMaker, source: DrawnBatches | KeptBatches, share: float) -> str:
    held, size = len(maker.held), maker.held.nbytes / 1e9
    count, what = len(source), "training patches lie decoded"
    if isinstance(source, KeptBatches):
        count, what = sum(source.store.held.values()), "images lie as the frozen encoder gives them"
    found = f"{held:,} of {count:,} {what} on the device, {size:.3g} GB"
    return (
        found if held == count else f"{found}, for data.device_share = {share:g}; the rest is sent with each batch"
    )


def made_ahead(
    batches: Iterable[dict[str, Tensor]], device: torch.device
) -> Generator[dict[str, Tensor], None, None]:
    """The batches, at most two ahead, by a thread of their own; on CUDA by a stream as well, beside the model's."""
    if device.type != "cuda":
        yield from ahead(on_one_thread(batches), 2)
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))  # what it makes them of may still be on its way
    with closing(ahead(_on_stream(stream, batches), 2)) as ready:
        for batch, made in ready:
            model = torch.cuda.current_stream(device)
            model.wait_event(made)
            for tensor in batch.values():
                tensor.record_stream(model)  # the next batches do not get its memory before the model is done
            yield batch


def _on_stream(
    stream: torch.cuda.Stream, batches: Iterable[dict[str, Tensor]]
) -> Iterator[tuple[dict[str, Tensor], torch.cuda.Event]]:
    with torch.cuda.stream(stream):  # of this thread
        for batch in on_one_thread(batches):
            yield batch, stream.record_event()


_ENDED = "a process that loads patches has ended: "
_OUTSIDE = "it was ended from outside, perhaps for lack of memory: set data.workers lower, or to 0"


class LoaderError(TrainingError):
    """A loader process has ended, so that no more patches come."""


def _of_a_dead_process(error: Exception) -> bool:
    """Whether an error comes of what was half sent, or cannot be fetched any more; others are those of patches."""
    text = str(error)
    if " in DataLoader worker process" in text:  # raised there, by a process that lives
        return False
    if isinstance(error, RuntimeError):
        return "DataLoader worker" in text or "Pin memory thread" in text
    no_socket = isinstance(error, FileNotFoundError) and error.filename is None
    return no_socket or isinstance(error, ConnectionError | EOFError | UnpicklingError)


@contextmanager
def kept_where_loaders_end(keep: Callable[[], str]) -> Iterator[None]:
    """Calls `keep` where no more patches come; the error has what it tells of steps that were done.

    **Raises:** `TrainingError`.
    """
    try:
        yield
    except LoaderError as error:
        kept = keep()
        raise TrainingError(f"{_ENDED}{_OUTSIDE}; {kept}" if kept else str(error)) from error


def on_one_thread(batches: Iterable[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """For a thread of its own, whose number of cores this sets: the others belong to the model.

    **Raises:** `LoaderError` where a loader process has.
    """
    torch.set_num_threads(1)
    try:
        yield from batches
    except (RuntimeError, OSError, EOFError, UnpicklingError) as error:
        if not _of_a_dead_process(error):
            raise
        raise LoaderError(f"{_ENDED}{MAIN_GUARD}; otherwise {_OUTSIDE}") from error
