"""A run that goes on from another one's weights, with what an expert has said of its prototypes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lpdseg.checkpoint import Corrected, has_checkpoint, read_state, read_tensors
from lpdseg.data.corrected import LearntFrom
from lpdseg.data.corrections import Corrections, read_corrections
from lpdseg.data.dataset import TrainingPatches
from lpdseg.data.records import Manifest, path_below
from lpdseg.errors import CheckpointError, DataError, SettingsError
from lpdseg.files import absolute, read_json, write_json
from lpdseg.methods.earlier import Earlier
from lpdseg.methods.task import Task
from lpdseg.schema import Described, conform
from lpdseg.segmenting.edited import EditedSegmenter
from lpdseg.segmenting.edits import Edit, Edits, as_read, prototype_keys
from lpdseg.segmenting.loading import described_network, load_segmenter, weights_digest
from lpdseg.tissue import TissueClasses
from lpdseg.training.progress import Reporter
from lpdseg.training.relabel import Change, Labels, find_changes, with_labels
from lpdseg.training.taught import NOTHING, Taught, copy_of, read_taught, teach

FROM = "from.json"
"""Of a run's folder: where it started, and the labels that are not those of its data."""

_CHECKPOINT = "best"
_REMEDY = "without it nobody knows which labels were learnt; restore it or train again"


class _Edits(Described):
    file: str
    sha256: str
    said: dict[str, dict[Literal["name", "merge", "hide", "move"], str | bool]]


class _Corrections(Described):
    file: str
    sha256: str


class _From(Described):
    """`FROM`. What has a default is not in those of earlier versions."""

    run: str
    labels: dict[str, Annotated[str, Field(pattern="^[01]+$")] | None]
    edits: _Edits | None = None
    corrections: _Corrections | None = None
    learnt: Corrected | None = None


@dataclass(frozen=True, repr=False)
class Start:
    """Where a run starts that goes on from another one.

    - `run`: of the earlier run.
    - `encoder`: the architecture of its encoder.
    - `earlier`: what it has learnt, with the edits.
    - `told`: for the run's record; `labels`: those that differ from the data's, by path, None: left out.
    - `keys`: what people call the prototypes, by index; none without edits.
    - `taught`: corrections.
    """

    run: Path
    encoder: dict[str, Any]
    earlier: Earlier
    told: dict[str, Any]
    labels: Mapping[str, Labels | None]
    keys: tuple[str, ...] = ()
    taught: Taught = NOTHING

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

    def keep(self, run: Path) -> None:
        """Writes what `begin` and `read_labels` read into the folder of the new run."""
        self.taught.keep(run)
        write_json(run / FROM, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """What stands in `FROM`."""
        labels = {path: _text(labels) for path, labels in self.labels.items()}
        return {**self.record(), "learnt": self.taught.learnt.as_dict(), "labels": labels}


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
    corrections: str | Path | Corrections | None,
    resume: bool,
    device: str,
    reporter: Reporter,
) -> tuple[Manifest, Start | None, Taught]:
    """The data set with the labels that training in the folder `run` learns; where it starts, None: afresh, or
    where it was left; and what it learns of corrections.

    **Arguments:**

    - `asked`, `edits`, `corrections`: the run to go on from, and what was said of its prototypes and of its masks.
    - `resume`: a run that was started so goes on so, whether that is said again or not.

    **Raises:** as `start_from`; `CheckpointError` where another start is asked for than the run had;
    `SettingsError` for edits or corrections of nothing.
    """
    read = as_read(edits)
    drawn = (
        read_corrections(corrections, data.classes.names) if isinstance(corrections, str | Path) else corrections
    )
    if asked is None and read is not None:
        raise SettingsError("edits are of the prototypes of a run; name it with --from")
    if asked is None and drawn is not None:
        raise SettingsError("corrections are of what a run has predicted; name it with --from")
    told = _told(run) if resume else None
    if told is not None:
        said, taught = told["edits"], told["corrections"]
        before = [None if one is None else one["sha256"] for one in (said, taught)]
        now = [None if one is None else one.sha256 for one in (read, drawn)]
        if asked is not None and (absolute(Path(asked)) != told["run"] or before != now):
            raise CheckpointError(
                f"{run} was started from another run, or with other edits or corrections; resume without --from"
            )
        if has_checkpoint(run, "last"):
            learnt = LearntFrom.from_dict(told["learnt"])
            return with_labels(data, read_labels(run)), None, read_taught(run, data, taught, learnt)
        asked, drawn = told["run"], None if taught is None else copy_of(run, data, taught)
        if said is not None:
            read = Edits(said["file"], said["sha256"], {key: Edit(**one) for key, one in said["said"].items()})
    if asked is None:
        return data, None, NOTHING
    data, start = start_from(Path(asked), data, read, device, reporter, drawn)
    return data, start, start.taught


def start_from(
    run: Path,
    data: Manifest,
    edits: Edits | None,
    device: str,
    reporter: Reporter,
    corrections: Corrections | None = None,
) -> tuple[Manifest, Start]:
    """The data set with the labels that the earlier run, the edits and the corrections give it, and where training
    starts.

    **Raises:** `CheckpointError` where the run cannot be read or has other classes; for edits as
    `lpdseg.segmenting.edited`, and `DataError` where they leave a class without a prototype; for corrections as
    `lpdseg.data.corrected.fit_corrections`.
    """
    state = read_state(run, _CHECKPOINT)
    described_network(run, state)  # before it is built
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
    if edits is not None:
        plain = load_segmenter(run, _CHECKPOINT, device, as_trained=True)
        plan = EditedSegmenter(plain, edits).plan
        counts_for = [-1 if k in plan.hidden or c >= len(trained) else c for k, c in enumerate(plan.target)]
        stands_in, keys = plan.shown, prototype_keys(plan.trained, trained.names)
        _check_classes(edits, trained, plan.trained, counts_for, stands_in, plain.model.retired)
        changes = find_changes(plain, plan, data, reporter)
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
    labels = {path: change.labels for path, change in changes.items()}
    taught = Taught(learnt=LearntFrom.from_dict(state.get("corrected")))
    if corrections is not None:
        # What was said of a patch itself goes before what edits of prototypes would make of it.
        shown = with_labels(data, {path: known for path, known in labels.items() if known is not None})
        taught, fitted = teach(corrections, shown, taught.learnt)
        labels |= fitted.labels
        told["corrections"] = taught.told
        for note in (*fitted.notes, _said(taught)):
            reporter.note(note)
    after = with_labels(data, labels) if labels else data
    weights = read_tensors(run, state, "weights")
    known = state["data"] == data.fingerprint() if "morphologies.shares" in weights else True
    earlier = Earlier(run, weights, _places(data, after, changes) if known else None, counts_for, stands_in)
    return after, Start(run, state["encoder"], earlier, told, before | labels, keys, taught)


def _said(taught: Taught) -> str:
    assert taught.told is not None
    told = taught.told
    return (
        f"{told['file']} teaches: strokes {told['strokes']}, areas {told['areas']}, patches {told['patches']}; "
        f"images whose labels it says {told['labelled']}, training patches that get other labels, also by what was "
        f"drawn, {told['other_label']}"
    )


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
        told = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}), and {_REMEDY}") from error
    return conform(_From, told, path, CheckpointError, _REMEDY).model_dump()


def _text(labels: Labels | None) -> str | None:
    return None if labels is None else "".join(map(str, labels))
