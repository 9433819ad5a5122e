"""Frozen encoders are computed once: what they give for the patches of a run is filled into a store before it."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lpdseg.ahead import ahead
from lpdseg.cores import allowed_cores
from lpdseg.data.composites import TrainingBatches
from lpdseg.data.dataset import TrainingPatches
from lpdseg.data.reading import Looked
from lpdseg.data.variants import Variants
from lpdseg.durations import duration
from lpdseg.maps.pad import as_pixels
from lpdseg.methods.task import Task
from lpdseg.model.encoder import Encoder
from lpdseg.settings import Settings
from lpdseg.training.engine import chosen_precision, in_first_process
from lpdseg.training.feature_room import open_store, store_folder
from lpdseg.training.feature_store import Block, FeatureStore
from lpdseg.training.kept_batches import KeptBatches, Layout, parts_of
from lpdseg.training.progress import Reporter, Silent
from lpdseg.training.setup import Pace
from lpdseg.version import __version__

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_FORMAT = 1
"""To be raised where the same key would stand for other bytes."""

_ALIKE = 0.05
"""Largest distance, relative to its length, between what is kept of an image and what the encoder gives now."""

Encode = Callable[[Tensor], list[Tensor]]


@dataclass
class FeatureUse:
    """What a run's record says of its store.

    - `about`: what is kept, where, and what it took to compute.
    - `hits`, `misses`: images that a step found there, or had to encode, in this process.
    """

    about: dict[str, Any]
    hits: int = 0
    misses: int = 0

    def count(self, batch: Mapping[str, Tensor]) -> None:
        """Counts a batch."""
        for name in ("image", "composite"):
            if f"{name}.0" in batch:
                self.hits += len(batch[f"{name}.0"])
                self.misses += len(batch[f"{name}.fresh"])

    def record(self) -> dict[str, Any]:
        """As plain values."""
        return self.about | {"hit_share": round(self.hits / max(1, self.hits + self.misses), 4)}


@contextmanager
def keep_features(
    training: TrainingBatches, task: Task, settings: Settings, looked: Looked, fabric: "Fabric", reporter: Reporter
) -> Iterator[tuple[TrainingBatches | KeptBatches, FeatureUse | None]]:
    """The batches as they are; or where the encoder is frozen, batches that come with what it gives.

    The first process fills the store while the others wait; then each opens it, and fills it where the first one's
    is on another machine.

    **Raises:** `OutputError` for a folder or disk that has no room.
    """
    if not task.model.encoder.frozen or settings.model.feature_cache == 0:
        yield training, None
        return
    with ExitStack() as stack:
        made: list[tuple[KeptBatches, FeatureUse]] = []

        def work() -> None:
            made.append(stack.enter_context(_opened(training, task, settings, looked, fabric, reporter)))

        in_first_process(fabric, work)
        if not made:
            work()
        yield made[0]


@contextmanager
def _opened(
    training: TrainingBatches, task: Task, settings: Settings, looked: Looked, fabric: "Fabric", reporter: Reporter
) -> Iterator[tuple[KeptBatches, FeatureUse]]:
    began = time.monotonic()
    encoder = task.model.encoder.eval()
    variants = Variants(training.patches, training.composites, training.every, settings.train.epochs)
    glass = settings.predict.background == "glass"

    @torch.no_grad()
    def encode(images: Tensor) -> list[Tensor]:
        with fabric.autocast():
            return [one.cpu() for one in encoder.encode(as_pixels(images.to(fabric.device)))]

    first = encode(variants.patch(0, 0)["image"][None])
    layout = Layout(tuple(tuple(one.shape[1:]) for one in first))
    parts = parts_of(variants, layout, glass)
    key = _key(encoder, training.patches, looked, chosen_precision(settings.train, fabric.device), fabric.device)
    with open_store(store_folder(), key, parts, int(settings.model.feature_cache * 1e9)) as store:
        batches = KeptBatches(
            variants, layout, store, pixels=task.reads_pixels, adapter=encoder.needs_images, glass=glass
        )
        computed = _fill(batches, encode, first, reporter)
        wanted = sum(part.items * part.nbytes for part in parts)
        about = {
            "folder": str(store.folder),
            "versions": variants.versions,
            "composites": variants.number,
            "items": sum(store.held.values()),
            "bytes": store.nbytes,
            "share": round(store.nbytes / wanted, 4),
            "computed": computed,
            "seconds": round(time.monotonic() - began, 1),
        }
        reporter.note(_told(about, wanted, settings.model.feature_cache, len(training.patches)))
        if store.nbytes == wanted and not batches.pixels and training.patches.masks_of is None:
            training.patches.forget()
        yield batches, FeatureUse(about)


def _fill(batches: KeptBatches, encode: Encode, first: list[Tensor], reporter: Reporter) -> int:
    """Computes what is not there, tells how many images; `first` is what the encoder gives for the first one."""
    store, pace = batches.store, Pace(reporter, "computing the frozen encoder", "images")
    if not _todo(batches, first, Silent()):
        return 0
    with store.filling(lambda: reporter.note("another run computes the same frozen encoder: waiting for it")):
        todo = _todo(batches, first, reporter)  # another may have filled it meanwhile
        total, done = sum(len(block.items) for block in todo), 0
        # Images are made while the encoder works on those before, each on one core.
        with (
            ThreadPoolExecutor(allowed_cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool,
            closing(ahead(((block, *batches.made(block, pool)) for block in todo), 2)) as images,
        ):
            for block, pixels, masks in images:
                rows = batches.layout.pack(encode(pixels))
                store.write(block, rows if masks is None else np.hstack([rows, masks.flatten(1).numpy()]))
                done += len(block.items)
                pace.tell(done, total)
    return total


def _todo(batches: KeptBatches, first: list[Tensor], reporter: Reporter) -> list[Block]:
    store = batches.store
    todo = store.todo()
    if store.damaged:
        reporter.note(f"{store.folder} is damaged, {store.damaged} blocks of it: computed again")
    if store.blocks()[:1] != todo[:1] and not _alike(batches.layout, store, first):
        reporter.note(f"{store.folder} holds what another version of the encoder gave: computed again")
        return store.blocks()
    return todo


def _alike(layout: Layout, store: FeatureStore, first: list[Tensor]) -> bool:
    """Whether the first item is what the encoder gives now, but for rounding: its code may have changed."""
    (part, *_) = store.parts
    kept = layout.unpack(torch.from_numpy(store.rows(part)[:1].copy()))
    return all(
        float((old.float() - new.float()).norm()) <= _ALIKE * float(new.float().norm())
        for old, new in zip(kept, first, strict=True)
    )


def _key(encoder: Encoder, patches: TrainingPatches, looked: Looked, precision: str, device: torch.device) -> str:
    """32 hex digits of all that decides what is kept: images, their variation, the encoder and its weights."""
    told = {
        "format": _FORMAT,
        "lpdseg": __version__,
        "data": looked.training,
        "size": patches.shape,
        "flips": patches.flips,
        "jitter": patches.jitter,
        "precision": precision,
        "device": device.type,
        "encoder": {name: value for name, value in encoder.config.items() if name not in ("tune", "freeze_norm")},
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, value in sorted(encoder.backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _told(about: Mapping[str, Any], wanted: int, bound: float, patches: int) -> str:
    composites = f" and {about['composites']:,} composites" if about["composites"] else ""
    computed = f"{about['computed']:,} images computed in {duration(about['seconds'])}"
    found = (
        f"frozen encoder: what it gives for {patches:,} patches in {about['versions']} versions{composites} is in "
        f"{about['folder']}, {about['bytes'] / 1e9:.3g} GB, {computed if about['computed'] else 'all found there'}"
    )
    if about["bytes"] == wanted:
        return found
    return (
        f"{found}; that is {about['share']:.0%} of {wanted / 1e9:.3g} GB, since model.feature_cache = {bound:g}: "
        "the rest is encoded in each step"
    )
