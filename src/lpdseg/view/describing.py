"""What the page is told, as plain values: the visit, an image, a place on it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lpdseg.errors import LpdsegError
from lpdseg.maps.winners import NO_PROTOTYPE
from lpdseg.segmenting.edited import EditedSegmenter
from lpdseg.view.layers import Kind, entropy, gap, kinds_of, prototype_colours, written_kinds
from lpdseg.view.pixels import TILE, levels
from lpdseg.view.read_back import read_place
from lpdseg.view.run import ShownRun
from lpdseg.view.visit import Visit


def session(visit: Visit) -> dict[str, Any]:
    """Everything that does not hang on the image."""
    return {
        "runs": [run_facts(run) for run in visit.runs],
        "asked": len(visit.asked),
        "edited": sum(isinstance(run.segmenter, EditedSegmenter) for run in visit.asked),
        "images": [
            {
                "name": item.name,
                "slide": item.slide,
                "group": item.group,
                "patient": item.patient,
                "truth": item.truth is not None,
                "written": item.written is not None,
                "labels": item.labels,
                "parts": None if item.parts is None else [asdict(part) for part in item.parts],
            }
            for item in visit.items
        ],
        "patients": visit.opened.patients,
        "notes": [*visit.opened.notes, *visit.drawings.notes],
        "edits": edits(visit),
        "corrections": corrections(visit),
    }


def edits(visit: Visit) -> dict[str, Any]:
    """What is said of prototypes, whether it is saved, and where that is."""
    editing = visit.editing
    return {"entries": editing.entries, "changed": editing.changed, "file": str(editing.file.path)}


def corrections(visit: Visit) -> dict[str, Any]:
    """What was drawn and saved, and where."""
    drawings = visit.drawings
    return {"features": drawings.features, "version": drawings.version, "file": str(drawings.file.path)}


def run_facts(run: ShownRun) -> dict[str, Any]:
    """A run's classes, and its prototypes under the edits of the moment."""
    classes, segmenter = run.segmenter.classes, run.segmenter
    colours = [*classes.colours, classes.background_colour]
    full = classes.in_full
    return {
        "name": run.folder.name or str(run.folder),
        "about": run.about,
        "version": run.version,
        "channels": [
            {"name": name, "title": full[c] if c < len(full) else name, "colour": _css(colours[c])}
            for c, name in enumerate(segmenter.channel_names)
        ],
        "classes": len(classes),
        "prototypes": _prototypes(run),
        "edits": {"file": segmenter.edits.source, "count": len(segmenter.edits.entries)}
        if isinstance(segmenter, EditedSegmenter) else None,
    }  # fmt: skip


def _prototypes(run: ShownRun) -> list[dict[str, Any]]:
    segmenter, parts = run.segmenter, run.plain.model.parts
    if segmenter.winning is None or parts is None:
        return []
    palette, winning = prototype_colours(run.segmenter)
    plan = segmenter.plan if isinstance(segmenter, EditedSegmenter) else None
    return [
        {
            "key": key,
            "class": parts[k],
            "called": segmenter.prototype_names[k],
            "name": None if plan is None else plan.names[k],
            "retired": k in segmenter.model.retired,
            "hidden": plan is not None and k in plan.hidden,
            "target": parts[k] if plan is None else plan.target[k],
            "shown": k if plan is None else plan.shown[k],
            "wins": winning[k],
            "colour": _css(palette[min(k, 255)]),
        }
        for k, key in enumerate(run.plain.prototype_names)
    ]


def image(visit: Visit, index: int) -> dict[str, Any]:
    """An image, and how each run sees it.

    **Raises:** `DataError` where it is not there or cannot be opened.
    """
    visit.item(index)
    with visit.pictures.opened(index) as slide:
        size, notes, mpp = slide.facts.size, slide.facts.notes, slide.facts.mpp
    runs, told = list[dict[str, Any]](), [] if mpp is None else [mpp.x]
    for run in visit.runs:
        try:
            frame = run.seen(index).frame
        except LpdsegError as error:
            runs.append({"reason": str(error), "layers": _layers(run, index, written_kinds(run, index))})
            continue
        told += [] if frame.mpp is None else [frame.mpp / frame.scale[0]]
        kinds = _layers(run, index, kinds_of(run, index))
        runs.append({"reason": None, "layers": kinds, "fields": frame.columns * frame.rows, "scale": frame.scale})
    return {
        "name": visit.items[index].name,
        "width": size[0],
        "height": size[1],
        "tile": TILE,
        "level": levels(size),
        "mpp": told[-1] if told else None,
        "notes": list(notes),
        "runs": runs,
    }


def _layers(run: ShownRun, index: int, kinds: Sequence[Kind]) -> list[dict[str, Any]]:
    """Layers, and where those that are read come from."""
    written = run.items[index].written
    same = written is None or not written.model or run.is_of(written.model)
    other = "" if same else ", which another model wrote"
    return [
        {"name": one.name, "title": one.title, "read": None if one.file is None else f"{one.file}{other}"}
        for one in kinds
    ]


def place(visit: Visit, index: int, x: float, y: float, read: bool = False) -> list[dict[str, Any]]:
    """What each run says of a place in pixels of the full image; of one where nothing is computed, nothing.

    **Arguments:**

    - `read`: of runs that have written results of it, what these say.

    **Raises:** `DataError` where there is no such image, or it cannot be opened.
    """
    visit.item(index)
    found = []
    for run in visit.runs:
        try:
            of_files = read and run.items[index].written is not None
            found.append((read_place if of_files else _place)(run, index, x, y))
        except LpdsegError as error:
            found.append({"reason": str(error)})
    return found


def _place(run: ShownRun, index: int, x: float, y: float) -> dict[str, Any]:
    frame = run.seen(index).frame
    column, row = int(x // frame.scale[0]), int(y // frame.scale[1])
    if not (0 <= column < frame.size[0] and 0 <= row < frame.size[1]):
        return {}
    number = row // frame.side[1] * frame.columns + column // frame.side[0]
    field = run.field(index, number)
    if field is None:
        return {}
    left, top, _, _ = frame.box(number)
    values = field.probabilities[:, row - top, column - left].astype(np.float32)
    winner = NO_PROTOTYPE if field.prototypes is None else int(field.prototypes[row - top, column - left])
    names = run.segmenter.prototype_names
    return {
        "read": False,
        "channel": int(field.mask[row - top, column - left]),
        "probabilities": [round(float(value), 4) for value in values],
        "prototype": winner if winner < len(names) else None,
        "entropy": round(float(entropy(values[:, None, None])[0, 0]), 4),
        "gap": round(float(gap(values[:, None, None])[0, 0]), 4),
    }


def _css(colour: Any) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(value) for value in colour))
