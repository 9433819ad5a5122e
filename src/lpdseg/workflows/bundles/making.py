"""Making, sending and getting bundles."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from lpdseg.alone import alone_making
from lpdseg.checkpoint import one_state, read_state, read_tensors
from lpdseg.errors import OutputError, SettingsError
from lpdseg.files import NAME_IT, check_name, recover_folder, replacing_folder, write_json, write_text
from lpdseg.model.tensor_files import save_tensors
from lpdseg.segmenting.backends import TOLERANCE
from lpdseg.segmenting.edits import Edits, as_read
from lpdseg.segmenting.loading import load_segmenter
from lpdseg.sharing import hub
from lpdseg.sharing.folder import CARD, DESCRIPTION, FILES, GRAPH, SUMS, WEIGHTS, check, is_bundle, seal
from lpdseg.workflows.bundles.card import card
from lpdseg.workflows.bundles.describing import describe
from lpdseg.workflows.graphs import export_graph

_PARTS = ("model.", "classifier.")
"""Of the tensors of a training: the network that predicts, and that of a first stage, which has the prototypes."""


def make_bundle(
    run: str | Path,
    out: str | Path,
    *,
    title: str | None = None,
    about: str = "",
    licence: str = "unknown",
    edits: str | Path | Edits | None = None,
    records: Sequence[Mapping[str, Any]] = (),
    onnx: bool = False,
    checkpoint: str = "best",
) -> Path:
    """Writes what prediction needs of a run, and what others should know of it, as one folder to give away.

    `load` and all that predict take it as they take the run, and make the same masks.

    **Arguments:**

    - `out`: the folder; a bundle that is there is replaced, nothing else is.
    - `title`, `about`: for the card; the name of `out`, and nothing more, unless given.
    - `licence`: of the weights, as the hub names licences, such as `apache-2.0`.
    - `edits`: see `load`; they act whenever the bundle is used without others.
    - `records`: figures beside those of validation, as `evaluate` gives them.
    - `onnx`: also as a graph for other programs, see `export_graph`.

    **Returns:** the folder.

    **Raises:** `CheckpointError` where the run cannot be read; `OutputError` where `out` holds something else or
    cannot be written; `SettingsError` for a bundle of a bundle, or a graph that differs from PyTorch; for edits as
    `load`.
    """
    run, out = Path(run), Path(out)
    if re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence) is None:
        raise SettingsError(f"{licence!r} is no name of a licence as the hub has them, such as apache-2.0 or mit")
    if is_bundle(run):
        raise SettingsError(f"{run} is a bundle already; name the folder of a run that `train` wrote")
    _refuse_others(out)
    read = as_read(edits)
    with one_state(run, checkpoint):  # else what is described would be another network
        load_segmenter(run, checkpoint, "cpu", edits=read)  # what cannot be used must not be given away
        described = describe(
            run,
            checkpoint,
            title=title or out.resolve().name,
            about=about,
            licence=licence,
            edits=read,
            records=records,
        )
        tensors = read_tensors(run, read_state(run, checkpoint), "weights")
    with alone_making(out), replacing_folder(out) as folder:
        try:
            kept = {name: value for name, value in tensors.items() if name.startswith(_PARTS)}
            save_tensors(kept, folder / WEIGHTS)
        except SafetensorError as error:
            raise OutputError(f"cannot write {out}: {error}; free space or choose another folder") from error
        _write(folder, described)
        if onnx:
            _, apart = export_graph(folder, folder / GRAPH)
            if not apart < TOLERANCE:
                raise SettingsError(
                    f"the graph of {run} differs from PyTorch by up to {apart:.1e}; make the bundle without --onnx"
                )
            _write(folder, described | {"graph": {"file": GRAPH, "difference": apart}})
        read_state(folder, "best")  # which looks at it as closely as whoever gets it
    return out


def push_bundle(folder: str | Path, name: str, *, private: bool = True) -> str:
    """Sends a bundle to the hub, see `lpdseg.sharing.hub.push`."""
    return hub.push(Path(folder), name, private=private)


def pull_bundle(name: str, out: str | Path) -> Path:
    """Gets a bundle `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION` from the hub into a folder of its own.

    **Raises:** `CheckpointError` where it cannot be had, or is not whole; `OutputError` as `make_bundle`.
    """
    out = Path(out)
    _refuse_others(out)
    found = hub.local(name if name.startswith(hub.PREFIX) else f"{hub.PREFIX}{name}")
    files = check(found)
    with alone_making(out), replacing_folder(out) as folder:
        for one in files:
            shutil.copyfile(found / one, folder / one)
        check(folder)
    return out


def _write(folder: Path, described: dict[str, Any]) -> None:
    write_json(folder / DESCRIPTION, described)
    write_text(folder / CARD, card(described))
    seal(folder)


def _refuse_others(out: Path) -> None:
    """Refuses a folder of which something would be lost, or that cannot have its name."""
    check_name(out, NAME_IT)
    recover_folder(out)
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; choose a new folder")
    held = sorted(one.name for one in out.iterdir()) if out.is_dir() else []
    other = next((name for name in held if name not in (*FILES, SUMS)), held[0] if held else None)
    if other is not None and (other not in (*FILES, SUMS) or not is_bundle(out)):
        raise OutputError(f"{out} holds {other}, which would be lost; choose a new folder")
