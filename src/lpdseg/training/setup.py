"""Before the first step: checks that training can succeed, and the parts that it needs."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lpdseg.checkpoint import check_apart, has_checkpoint, read_state
from lpdseg.data.composites import Composites, TrainingBatches
from lpdseg.data.dataset import TrainingPatches, cache_room
from lpdseg.data.geometry import Size, common_size
from lpdseg.data.image_bounds import LARGEST
from lpdseg.data.patches import sides
from lpdseg.data.reading import Looked, look
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.errors import CheckpointError, DataError, OutputError
from lpdseg.files import read_json
from lpdseg.methods.table import METHODS
from lpdseg.methods.task import Task
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoders import first_encoder
from lpdseg.outputs import RUN, is_known
from lpdseg.plain import plain_text, plain_values
from lpdseg.segmenting.loading import described_network
from lpdseg.settings import Settings, parse_settings
from lpdseg.tissue import TissueClasses
from lpdseg.training.engine import in_first_process
from lpdseg.training.metrics import read_metrics
from lpdseg.training.progress import Reporter

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_FREE = {"data.workers", "data.cache", "data.device_share", "predict.batch"}
_FREE |= {"train.log_every", "train.checkpoint_minutes", "train.profile"}
"""Settings that may change when a run goes on, for they change no parameter."""


def check_labels(records: tuple[PatchRecord, ...], classes: TissueClasses) -> None:
    """Every class must be in some training patch.

    **Raises:** `DataError` that names the class.
    """
    for record in records:
        if record.labels is None:
            raise DataError(f"{record.path} is in the training split but has no labels; add them")
    for c, name in enumerate(classes.names):
        held = sum(record.labels[c] for record in records if record.labels is not None)
        if held == 0:
            raise DataError(
                f"no training patch has the class {name!r}, so it cannot be learnt; add patches that show it, "
                "or leave the class out"
            )


def look_once(data: Manifest, settings: Settings, fabric: "Fabric", reporter: Reporter) -> Looked:
    """Reads the files of a data set, in the first process alone, and tells of it where that takes long.

    **Raises:** `DataError` for a file that cannot be read or decoded, in all processes.
    """
    found: list[Looked] = []
    masks = METHODS[settings.method].needs_masks
    here = settings.data.workers == 0 or fabric.device.type == "cuda"  # who uploads them is this process
    room = cache_room(fabric.world_size) if settings.data.cache and here else 0

    def read() -> None:
        pace = Pace(reporter, "reading the data", "files")
        found.append(look(data, training_masks=masks, room=room, progress=pace.tell))

    in_first_process(fabric, read)
    if fabric.world_size > 1:
        facts: Looked = fabric.broadcast(found[0].without_pixels() if found else None)
        return found[0] if found else facts
    return found[0]


class Pace:
    """Notes of how far something is, the first after some seconds and then ever more rarely."""

    def __init__(self, reporter: Reporter, doing: str, things: str, wait: float = 5.0) -> None:
        self._reporter, self._wait, self._doing, self._things = reporter, wait, doing, things
        self._due = time.monotonic() + wait

    def tell(self, done: int, total: int) -> None:
        """A note where it is time for one."""
        if time.monotonic() >= self._due:
            self._reporter.note(f"{self._doing}: {done:,} of {total:,} {self._things} ({done / total:.0%})")
            self._wait *= 2
            self._due = time.monotonic() + self._wait


def size_note(sizes: Sequence[Size]) -> str | None:
    """What becomes of training patches of other sizes than most; None where all have one."""
    size = common_size(sizes)
    if size is None:
        return None
    others = sum(one != size for one in sizes)
    return (
        f"{others} of {len(sizes)} training patches are not {size[1]} x {size[0]}: each is scaled as a whole to "
        "fit, and its mirror image fills the rest"
    )


def large_note(sizes: Sequence[Size]) -> str | None:
    """That training patches are of the size of slides; None where none is."""
    large = [size for size in sizes if size[0] * size[1] > LARGEST]
    if not large:
        return None
    most, have = max(large, key=lambda size: size[0] * size[1]), "have" if len(large) > 1 else "has"
    return (
        f"{len(large)} of {len(sizes)} training patches {have} more than {LARGEST:,} pixels, as many as 4096 x "
        f"4096 (the largest {sides(most)}): each is one patch with one label, scaled where most are of another "
        "size; cut them into patches, each with labels of its own"
    )


def training_patches(
    records: tuple[PatchRecord, ...], settings: Settings, classes: TissueClasses, looked: Looked | None = None
) -> TrainingPatches:
    """The training split with the variation that the settings ask for, and with masks where the method needs them.

    `looked` is what was seen of the data set; without it the patches are read now.

    **Raises:** `DataError` for a patch that cannot be read, or lacks a mask that is needed.
    """
    data = settings.data
    if looked is None:
        looked = look(Manifest(classes, records, records[0].path.parent))
    return TrainingPatches(
        records,
        settings.train.seed,
        flips=data.flips,
        jitter=data.stain_jitter,
        size=common_size(looked.sizes),
        masks_of=classes if METHODS[settings.method].needs_masks else None,
        cache=data.cache,
        kept=looked.kept,
    )


def training_batches(patches: TrainingPatches, settings: Settings) -> TrainingBatches:
    """Batches of the patches, with composites where the method is to learn from them.

    **Raises:** `DataError` where there are none to be made, see `lpdseg.training.fallback`.
    """
    wanted = settings.loss.composite
    if wanted.weight == 0 or not METHODS[settings.method].composites:
        return TrainingBatches(patches)
    return TrainingBatches(patches, Composites(patches, wanted.sources), wanted.every)


_WRITTEN = (
    "run.json", "settings.yaml", "data.csv", "metrics.jsonl", "metrics.csv", "prototypes.json", "from.json",
    "changes.json", "learnt.geojson",
)  # fmt: skip
"""What a run writes into its folder, `run.json` first."""


def build_task(settings: Settings, classes: TissueClasses, architecture: dict[str, Any] | None = None) -> Task:
    """Model and objective at their first step; the same seed gives the same parameters.

    `architecture` is the encoder's own of a run that goes on: its weights come from the checkpoint, so the folder
    that they once came from need not exist any more.

    **Raises:** `WeightsError`, `SettingsError`.
    """
    torch.manual_seed(settings.train.seed)
    encoder = first_encoder(settings.model) if architecture is None else Encoder.from_config(architecture)
    return METHODS[settings.method].task(encoder, settings, classes)


def check_run_folder(run: Path, resume: bool, data: Manifest) -> bool:
    """Whether a run goes on. A new one needs a folder without one; one that is to go on may have saved nothing yet,
    as that of a job which was put back into its queue, and then starts.

    **Raises:** `CheckpointError`; `OutputError` for a folder that cannot be written to, or holds `data`.
    """
    last, best = (has_checkpoint(run, name) for name in ("last", "best"))
    if plain_text(str(run)) != str(run):
        raise OutputError(f"{run} has a name that is no UTF-8, which TensorBoard cannot write to; choose another")
    if best and not last and not _at_first_validation(run):
        raise CheckpointError(
            f"{run} holds the best state of a training but none to go on from; remove it, or choose another --out"
        )
    if not resume and (last or best):
        raise CheckpointError(f"{run} already holds a run; go on with --resume, or choose another --out")
    if not last:
        check_apart(run, may_be_run=True)
        _check_beside(run, data)
    there = (
        None if is_known(run / "run.json", RUN) else next(filter(Path.exists, map(run.joinpath, _WRITTEN)), None)
    )
    if there is not None:
        raise OutputError(f"{there} is there already and of no run, which would replace it; choose another --out")
    return last


def _check_beside(run: Path, data: Manifest) -> None:
    """Whether a new run is in no folder that holds what it learns from.

    **Raises:** `OutputError`.
    """
    root = data.source if data.source.is_dir() else data.source.parent
    files = (path for record in data.records for path in (record.path, record.mask) if path is not None)
    if run.resolve() in {folder.resolve() for folder in {root, *(path.parent for path in files)}}:
        raise OutputError(f"{run} holds the data to learn from, and a run would mix with it; choose another --out")


def _at_first_validation(run: Path) -> bool:
    """Whether a run ended while its first validation was saved: the best is there, and never was a last one."""
    try:
        ended = read_json(run / "run.json")["status"] == "finished"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
    return not ended and len({row["step"] for row in read_metrics(run) if row["kind"] == "valid"}) < 2


def read_resumable(run: Path, settings: Settings, classes: TissueClasses, fingerprint: str) -> dict[str, Any]:
    """The state to resume from.

    **Raises:** `CheckpointError` where settings, classes or data are not those of the run.
    """
    state = read_state(run, "last")
    trained = TissueClasses.from_dict(state["classes"])
    if trained.names != classes.names:
        raise CheckpointError(
            f"{run} was trained for the classes {', '.join(state['classes']['names'])}, but the data has "
            f"{', '.join(classes.names)}; resume with the same classes"
        )
    if (trained.indices, trained.background) != (classes.indices, classes.background):
        raise CheckpointError(f"the mask values of the classes have changed since {run} was started; put them back")
    before = parse_settings(state["settings"], str(run))  # what there was not to set yet is at its default
    free = _FREE | {"loss.contrast.chunk"}  # changes rounding, and may be too many for another device
    tuned = state["encoder"].get("tune") != "none"
    if tuned or min(settings.model.feature_cache, before.model.feature_cache) > 0:
        free.add("model.feature_cache")  # less room changes rounding at most, none at all what is seen
    described_network(run, state)  # before it is built
    changed = [
        change
        for change in _differences(*(plain_values(each.model_dump(mode="json")) for each in (before, settings)))
        if change.split(" ")[0] not in free
    ]
    if changed:
        raise CheckpointError(f"{run} was started with another {changed[0]}; resume with the same settings")
    if state["data"] != fingerprint:
        raise CheckpointError(f"the data has changed since {run} was started; resume with the same data")
    return state


def load_trained(task: Task, weights: dict[str, Tensor], run: Path) -> None:
    """Puts a checkpoint's tensors into the task.

    **Raises:** `CheckpointError` where they do not fit.
    """
    expected = set(task.trained_state())
    if set(weights) != expected:
        odd = sorted(set(weights) ^ expected)[0]
        raise CheckpointError(f"the weights in {run} do not fit its settings: {odd} is in only one of them")
    try:
        task.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"the weights in {run} do not fit its settings: {first}") from error


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in old.keys() | new.keys():
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} (then {before}, now {after})")
    return sorted(found)
