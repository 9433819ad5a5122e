"""Whether the validation figures of a run can be had again from its files, and what that leaves unknown."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lpdseg.checkpoint import NAMES, has_checkpoint, read_state
from lpdseg.data.corrected import LearntFrom
from lpdseg.data.opening import same_classes
from lpdseg.data.records import Manifest, content_digest, fingerprint_of
from lpdseg.data.seen import changes, read_seen
from lpdseg.errors import LpdsegError
from lpdseg.insight.run_record import data_of, read_run
from lpdseg.methods.table import METHODS
from lpdseg.segmenting.loading import load_segmenter, weights_digest
from lpdseg.segmenting.segmenter import Calibration
from lpdseg.settings import parse_settings
from lpdseg.sharing.folder import SUMS, is_bundle, read_sums
from lpdseg.sharing.hub import local
from lpdseg.tissue import TissueClasses
from lpdseg.training.cell import Told, by_stage
from lpdseg.training.metrics import read_metrics
from lpdseg.training.record import best_of, hardware, versions
from lpdseg.training.relabel import with_labels
from lpdseg.training.start import read_labels
from lpdseg.training.validation import Validation

ELSEWHERE = 0.5
"""How far a figure, in per cent, may be from the recorded one where machine or libraries are others."""

_FIGURES = {"miou": "mIoU", "mdice": "mDice", "fwiou": "FwIoU", "pixel_accuracy": "pixels right"}
_MACHINE = ("machine", "system", "cpu_capability", "gpu", "threads")
"""Of `hardware`: where one of them is another, sums of floats may be rounded otherwise."""
_CHANGES = 10
"""Changed files that are named."""
_DIGITS = 12
_SAME = "as recorded"
"""Of what is too long to show."""

Value = float | str | None


@dataclass(frozen=True)
class Row:
    """What was recorded, and what it is now; a number may differ by `tolerance`, 0: by not one bit."""

    what: str
    recorded: Value
    now: Value
    tolerance: float = 0.0

    @property
    def difference(self) -> float | None:
        """How far two numbers are apart; None where one is none."""
        if isinstance(self.recorded, int | float) and isinstance(self.now, int | float):
            return abs(self.now - self.recorded)
        return None

    @property
    def holds(self) -> bool:
        """Whether it still is what was recorded."""
        difference = self.difference
        return self.now == self.recorded if difference is None else difference <= self.tolerance

    @property
    def fault(self) -> str:
        """What is said where it does not hold."""
        if self.recorded == _SAME:
            return f"{self.what} is not what was recorded"
        return f"{self.what} was recorded as {_text(self.recorded)} and is {_text(self.now)} now"

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        own = {"what": self.what, "recorded": self.recorded, "now": self.now}
        return own | {"difference": self.difference, "tolerance": self.tolerance, "holds": self.holds}


@dataclass
class Verified:
    """What a look at a run has shown: rows, a sentence for each fault, and sentences on what nobody can tell."""

    run: Path
    data: Path
    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether all that could be checked is as recorded."""
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        rows = [row.as_dict() for row in self.rows]
        told = {"run": str(self.run), "data": str(self.data), "holds": self.holds, "rows": rows}
        return told | {"faults": self.faults, "not_checked": self.unknown}

    def add(self, *rows: Row) -> None:
        """Adds rows, and what is to be said of those that do not hold."""
        self.rows += rows
        self.faults += [row.fault for row in rows if not row.holds]

    @contextmanager
    def noting(self) -> Iterator[None]:
        """What cannot be read inside the block is a fault of the run or its data, and no end of the look."""
        try:
            yield
        except LpdsegError as error:
            self.faults.append(str(error))


def verify(run: Path, data: Path | None = None, device: str = "auto", progress: Told | None = None) -> Verified:
    """Looks whether the files of a run, or of a bundle, are those that were written, whether its data is what it
    was, and whether its best weights give the recorded figures on the validation split.

    On the machine and with the libraries of the run thresholds, offsets and temperature are chosen anew as in
    training, and all must be equal to the last bit. Elsewhere the recorded ones are used, and figures may differ by
    `ELSEWHERE`.

    **Arguments:**

    - `data`: the data set; None: where the run says that it is.

    **Raises:** `CheckpointError` where there is no run, or its data is not there and none is named.
    """
    described, state = read_run(run), read_state(run, "best")
    found = Verified(run, data_of(run) if data is None else data)
    found.unknown += list(_never(described))
    if is_bundle(local(run)):
        found.add(*_sums(local(run)))
        found.unknown += list(_unnamed(local(run)))
    with found.noting():
        found.add(*_weights(run, found))
    found.add(*_written_twice(run, described, state))
    manifest = None
    with found.noting():
        manifest = _data(found, state, progress)
    if state["valid"] is None:
        found.unknown.append("validation figures: none were recorded, since there were no validation masks")
    elif manifest is not None:
        with found.noting():
            _figures(found, manifest, described, state, device)
    return found


def _never(described: Mapping[str, Any]) -> Iterator[str]:
    """What no look at the files of a run can tell."""
    yield (
        "that these weights come of this data and these settings: training again with seed "
        f"{described.get('seed')} on the same machine would give the same weights"
    )
    start = described.get("weights") or {}
    digest = f" (SHA-256 {start['sha256'][:_DIGITS]})" if "sha256" in start else ""
    yield f"what the weights that training began from were trained on: {start.get('weights') or 'none'}{digest}"
    yield "the test split: a run records no figures of it"


def _sums(bundle: Path) -> Iterator[Row]:
    """Whether each file of a bundle is the one of which its list of SHA-256 speaks."""
    for name, told in read_sums(bundle).items():
        path = bundle / name
        yield Row(f"{name}, SHA-256", told[:_DIGITS], content_digest(path)[:_DIGITS] if path.is_file() else None)


def _unnamed(bundle: Path) -> Iterator[str]:
    """What lies in a bundle's folder and is not of it."""
    others = sorted({path.name for path in bundle.iterdir()} - {*read_sums(bundle), SUMS})
    if others:
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        yield f"{others[0]}{more} in the bundle's folder, which {SUMS} does not name: no command reads it"


def _weights(run: Path, found: Verified) -> Iterator[Row]:
    for name in NAMES:
        if has_checkpoint(run, name):
            recorded = read_state(run, name).get("weights_sha256")
            if recorded is None:
                found.unknown.append(f"the weights of {name}: no digest was recorded by the version that trained")
            else:
                digest = weights_digest(run, name)
                yield Row(f"weights of {name}, SHA-256", recorded[:_DIGITS], digest[:_DIGITS])


def _written_twice(run: Path, described: Mapping[str, Any], state: Mapping[str, Any]) -> Iterator[Row]:
    """What stands in several files must be the same in all."""
    for name, value in best_of(run).items():
        if name in described:
            yield _equal(f"run.json: {name}", described[name], value)
    settings = parse_settings(described["settings"], source=str(run)).model_dump(mode="json")
    yield _equal("run.json: settings", settings, state["settings"])
    data = str(described.get("data", {}).get("fingerprint"))
    yield Row("run.json: data", data[:_DIGITS], state["data"][:_DIGITS])
    if state["valid"] is not None:
        if not is_bundle(local(run)):
            rows = [row for row in read_metrics(run) if row["kind"] == "valid" and row["step"] == state["step"]]
            yield Row("metrics.jsonl: mIoU", rows[-1].get("miou") if rows else None, state["best"])
        yield Row("best.json: mIoU", state["valid"].get("miou"), state["best"])


def _data(found: Verified, state: Mapping[str, Any], progress: Told | None) -> Manifest:
    """The data set as it is now, with the labels that the run has learnt."""
    settings, classes = parse_settings(state["settings"], str(found.run)), TissueClasses.from_dict(state["classes"])
    manifest = same_classes(classes, found.data, settings.data.classes, settings.data.mask_values)
    found.add(_equal("classes of the data", classes.as_dict(), manifest.classes.as_dict()))
    manifest = with_labels(manifest, read_labels(found.run))
    tell = by_stage(progress)("reading the data")
    entries = manifest.entries(METHODS[settings.method].needs_masks, progress=tell)
    found.add(Row("fingerprint of the data", state["data"][:_DIGITS], fingerprint_of(entries)[:_DIGITS]))
    before = read_seen(found.run)
    if before is None:
        found.unknown.append(
            "which files of the data have changed: the version that trained recorded no list of them"
        )
    else:
        told = list(changes(before, entries))
        more = [f"{len(told) - _CHANGES} more patches or masks are not as they were"]
        found.faults += told[:_CHANGES] + (more if len(told) > _CHANGES else [])
    return manifest


def _figures(
    found: Verified, data: Manifest, described: Mapping[str, Any], state: Mapping[str, Any], device: str
) -> None:
    """The figures of validation, had again."""
    segmenter = load_segmenter(found.run, "best", device, as_trained=True)
    settings, learnt = (
        parse_settings(state["settings"], str(found.run)),
        LearntFrom.from_dict(state.get("corrected")),
    )
    others = list(_others(described, segmenter.device))
    if segmenter.device.type != "cpu" and not settings.train.deterministic:
        others.append("a GPU need not add in the same order each time (train.deterministic is false)")
    recorded = Calibration(
        torch.tensor(state["thresholds"]),
        torch.tensor(state["offsets"]),
        temperature=state.get("temperature") or 1.0,
    )
    validated = Validation(data, settings, learnt=learnt).run(segmenter.model, recorded if others else None)
    before, now = state["valid"], validated.record
    if others:
        found.unknown.append(
            f"figures to the last bit, and thresholds, offsets and temperature: {', '.join(others)}; figures are "
            f"held to ± {ELSEWHERE} per cent"
        )
    else:
        chosen = validated.calibration
        for what in ("thresholds", "offsets"):
            values = zip(data.classes.names, state[what], getattr(chosen, what).tolist(), strict=True)
            found.add(*(Row(f"{what[:-1]} {name}", then, value) for name, then, value in values))
        if "temperature" in state:
            found.add(Row("temperature", state["temperature"], chosen.temperature))
    tolerance = ELSEWHERE if others else 0.0
    names = [name for name in _named(before) if name in _named(now)]
    found.add(*(Row(name, _named(before)[name], _named(now)[name], tolerance) for name in names))
    if before.get("confusion"):
        found.add(Row("pixels counted otherwise, %", 0.0, _moved(before["confusion"], now["confusion"]), tolerance))
    if not others:
        rest = [key for key in before if key in now and key not in ("confusion", *_FIGURES)]
        found.add(_equal("all else of the record", *({key: one[key] for key in rest} for one in (before, now))))


def _named(record: Mapping[str, Any]) -> dict[str, Value]:
    """The figures that people read, by what they are called."""
    level, said = record.get("image_level") or {}, record.get("reliability") or {}
    return (
        {label: record.get(name) for name, label in _FIGURES.items()}
        | {f"IoU {name}": values.get("iou") for name, values in record.get("classes", {}).items()}
        | {label: level[name] for name, label in (("f1", "image F1"), ("auc", "image AUC")) if name in level}
        | ({"ECE": said["ece"]} if "ece" in said else {})
    )


def _moved(before: Sequence[Sequence[int]], now: Sequence[Sequence[int]]) -> float | None:
    """The share of pixels, in per cent, that two confusion matrices count otherwise; None where sizes differ."""
    if [len(row) for row in before] != [len(row) for row in now]:
        return None
    then, here = torch.tensor(before), torch.tensor(now)
    return float(50 * (then - here).abs().sum() / then.sum().clamp(min=1))


def _others(described: Mapping[str, Any], device: torch.device) -> Iterator[str]:
    """What of machine and libraries is not what it was."""
    kind, here = str(described.get("hardware", {}).get("device", "")).split(":")[0], hardware(device)
    if kind != device.type:
        yield f"the device is {device.type} and was {kind or 'not recorded'}"
    then = described.get("hardware", {})
    pairs = [(name, then.get(name), here.get(name)) for name in _MACHINE]
    pairs += [(name, described.get("versions", {}).get(name), value) for name, value in versions().items()]
    yield from (
        f"{name} is {value} and was {before or 'not recorded'}" for name, before, value in pairs if before != value
    )


def _equal(what: str, recorded: Any, now: Any) -> Row:
    """A row of two values, which are not shown where they are lists."""
    if isinstance(recorded, dict | list) or isinstance(now, dict | list):
        return Row(what, _SAME, _SAME if recorded == now else "otherwise")
    return Row(what, recorded, now)


def _text(value: Value) -> str:
    return "nothing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
