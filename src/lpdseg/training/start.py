"""A run that goes on from another one's weights, with what an expert has said of its prototypes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpdseg.checkpoint import has_checkpoint, read_state, read_tensors
from lpdseg.data.dataset import TrainingPatches
from lpdseg.data.records import Manifest, path_below
from lpdseg.errors import CheckpointError, DataError, SettingsError
from lpdseg.files import absolute
from lpdseg.methods.earlier import Earlier
from lpdseg.methods.task import Task
from lpdseg.segmenting.bundle import load_segmenter, weights_digest
from lpdseg.segmenting.edited import EditedSegmenter
from lpdseg.segmenting.edits import Edit, Edits, as_read, prototype_keys
from lpdseg.tissue import TissueClasses
from lpdseg.training.progress import Reporter
from lpdseg.training.relabel import Change, Labels, find_changes, with_labels

FROM = "from.json"
"""Of a run's folder: where it started, and the labels that are not those of its data."""

_CHECKPOINT = "best"


@dataclass(frozen=True, repr=False)
class Start:
    """Where a run starts that goes on from another one.

    - `run`: of the earlier run.
    - `encoder`: the architecture of its encoder.
    - `earlier`: what it has learnt, with the edits.
    - `told`: for the run's record; `labels`: those that differ from the data's, by path, None: left out.
    - `keys`: what people call the prototypes, by index; none without edits.
    """

    run: Path
    encoder: dict[str, Any]
    earlier: Earlier
    told: dict[str, Any]
    labels: Mapping[str, Labels | None]
    keys: tuple[str, ...] = ()

    @property
    def became(self) -> dict[str, str]:
        """What moved prototypes are called now, by what they were, once the task has taken them up."""
        return {self.keys[k]: self.keys[place] for k, place in self.earlier.places.items()}

    def taken_up_by(self, task: Task, patches: TrainingPatches) -> bool:
        """See `Task.take_up`. Where morphologies are to be found, whether they are the earlier run's is told."""
        taken = task.take_up(self.earlier, patches)
        if self.keys or "morphologies.shares" in self.earlier.weights:
            self.told["prototypes"] = "taken over" if taken else "found anew"
        return taken

    def sentences(self) -> Iterator[str]:
        """What people should know of the prototypes, once the task has taken them up."""
        for before, now in self.became.items():
            yield f"{before} is {now} from now on"
        if self.told.get("prototypes") == "found anew":
            why = "has learnt from other patches" if self.earlier.patches is None else "knows of none"
            heeded = ""
            if self.keys:
                heeded = (
                    f"; {self.told['edits']['file']} changed labels alone, by what that run predicts for these "
                    "patches: no prototype is moved, merged or hidden in the network"
                )
            yield f"morphologies are found anew, since {self.run} {why}, so prototypes get other numbers{heeded}"

    def record(self) -> dict[str, Any]:
        """What the run's record says of its start."""
        return {**self.told, "became": self.became}

    def as_json(self) -> dict[str, Any]:
        """What `read_labels` reads."""
        return {**self.record(), "labels": {path: _text(labels) for path, labels in self.labels.items()}}


def read_labels(run: Path) -> dict[str, Labels | None]:
    """The labels that a run has learnt from instead of its data's, by path; none for most runs.

    **Raises:** `CheckpointError` for a file that cannot be read.
    """
    told = _told(run)
    if told is None:
        return {}
    return {name: None if text is None else tuple(map(int, text)) for name, text in told["labels"].items()}


def begin(
    run: Path,
    data: Manifest,
    asked: str | Path | None,
    edits: str | Path | Edits | None,
    resume: bool,
    device: str,
    reporter: Reporter,
) -> tuple[Manifest, Start | None]:
    """The data set with the labels that training in the folder `run` learns, and where it starts; None: afresh, or
    where it was left.

    **Arguments:**

    - `asked`, `edits`: the run to go on from, and what was said of its prototypes.
    - `resume`: a run that was started so goes on so, whether that is said again or not.

    **Raises:** as `start_from`; `CheckpointError` where another start is asked for than the run had;
    `SettingsError` for edits of nothing.
    """
    read = as_read(edits)
    if asked is None and read is not None:
        raise SettingsError("edits are of the prototypes of a run; name it with --from")
    told = _told(run) if resume else None
    if told is not None:
        said = told["edits"]
        digests = (None if read is None else read.sha256, None if said is None else said["sha256"])
        if asked is not None and (absolute(Path(asked)) != told["run"] or digests[0] != digests[1]):
            raise CheckpointError(f"{run} was started from another run, or with other edits; resume without --from")
        if has_checkpoint(run, "last"):
            return with_labels(data, read_labels(run)), None
        asked = told["run"]
        if said is not None:
            read = Edits(said["file"], said["sha256"], {key: Edit(**one) for key, one in said["said"].items()})
    return (data, None) if asked is None else start_from(Path(asked), data, read, device, reporter)


def start_from(
    run: Path, data: Manifest, edits: Edits | None, device: str, reporter: Reporter
) -> tuple[Manifest, Start]:
    """The data set with the labels that the earlier run and the edits give it, and where training starts.

    **Raises:** `CheckpointError` where the run cannot be read or has other classes; for edits as
    `lpdseg.segmenting.edited`, and `DataError` where they leave a class without a prototype.
    """
    state = read_state(run, _CHECKPOINT)
    trained = TissueClasses.from_dict(state["classes"])
    if trained.channel_names != data.classes.channel_names:
        raise CheckpointError(
            f"{run} was trained for the classes {', '.join(trained.channel_names)}, but {data.source} has "
            f"{', '.join(data.classes.channel_names)}; go on with data of the same classes"
        )
    before = read_labels(run)
    data = with_labels(data, before)
    told: dict[str, Any] = {
        "run": absolute(run), "checkpoint": _CHECKPOINT, "weights_sha256": weights_digest(run, _CHECKPOINT)
    }  # fmt: skip
    changes: dict[str, Change] = {}
    counts_for: Sequence[int] = ()
    stands_in: Sequence[int] = ()
    keys: tuple[str, ...] = ()
    after = data
    if edits is not None:
        plain = load_segmenter(run, _CHECKPOINT, device)
        plan = EditedSegmenter(plain, edits).plan
        counts_for = [-1 if k in plan.hidden or c >= len(trained) else c for k, c in enumerate(plan.target)]
        stands_in, keys = plan.shown, prototype_keys(plan.trained, trained.names)
        _check_classes(edits, trained, plan.trained, counts_for, stands_in, plain.model.retired)
        changes = find_changes(plain, plan, data, reporter)
        after = with_labels(data, {path: change.labels for path, change in changes.items()})
        left = sum(change.labels is None for change in changes.values())
        told["edits"] = {
            "file": edits.source, "sha256": edits.sha256,
            "said": {key: edit.as_dict() for key, edit in edits.entries.items()},
            "other_label": len(changes) - left, "left_out": left,
        }  # fmt: skip
        reporter.note(
            f"{edits.source}: of {len(data.split('train'))} training patches {len(changes) - left} get another "
            f"label, and {left} are left out"
        )
    weights = read_tensors(run, state, "weights")
    known = state["data"] == data.fingerprint() if "morphologies.shares" in weights else True
    earlier = Earlier(run, weights, _places(data, after, changes) if known else None, counts_for, stands_in)
    labels = before | {path: change.labels for path, change in changes.items()}
    return after, Start(run, state["encoder"], earlier, told, labels, keys)


def _places(data: Manifest, after: Manifest, changes: Mapping[str, Change]) -> list[tuple[int, int]]:
    rows = {path_below(record.path, data.root): row for row, record in enumerate(data.split("train"))}
    names = [path_below(record.path, after.root) for record in after.split("train")]
    return [(rows[name], changes[name].prototype if name in changes else -1) for name in names]


def _check_classes(
    edits: Edits,
    classes: TissueClasses,
    trained: Sequence[int],
    counts_for: Sequence[int],
    stands_in: Sequence[int],
    retired: frozenset[int],
) -> None:
    """Whether each class keeps a prototype, as training needs."""
    stay = {c for k, c in enumerate(trained) if counts_for[k] == c and stands_in[k] == k and k not in retired}
    lost = next((c for c in range(len(classes)) if c not in stay), None)
    if lost is not None:
        keys = prototype_keys(trained, classes.names)
        own = [key for k, key in enumerate(keys) if trained[k] == lost and k not in retired]
        raise DataError(
            f"{edits.source} leaves {classes.names[lost]} without a prototype of its own, and training needs one; "
            f"keep one of {', '.join(own)}"
        )


def _told(run: Path) -> dict[str, Any] | None:
    """What `Start.as_json` gave; None where there is nothing."""
    path = run / FROM
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {"run": str(told["run"]), "labels": dict(told["labels"]), "edits": told.get("edits")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}), and without it nobody knows which labels were learnt; restore it or "
            "train again"
        ) from error


def _text(labels: Labels | None) -> str | None:
    return None if labels is None else "".join(map(str, labels))
