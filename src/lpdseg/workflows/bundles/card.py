"""The model card of a bundle: Markdown with the header that the hub reads, made of the description alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lpdseg.evaluation.protocol import figure_text, interval_beside
from lpdseg.sharing.folder import CARD, DESCRIPTION, GRAPH, SUMS, WEIGHTS
from lpdseg.workflows.bundles.describing import non_commercial

_TAGS = ("histopathology", "computational-pathology", "weakly-supervised-segmentation", "prototypes", "medical")


def card(described: Mapping[str, Any]) -> str:
    """The text of `README.md`."""
    parts = [
        _header(described),
        f"# {_plain(described['title'])}",
        f"{described['purpose']} Segmentation of H&E histopathology, trained with `lpdseg` "
        f"{described['training']['versions'].get('lpdseg', '(version unknown)')}.",
        *([_plain(described["about"])] if described["about"] else []),
        "## Use",
        "```python\nimport lpdseg\n\nmodel = lpdseg.load('PATH')  # this folder, or hf:OWNER/NAME\n"
        "mask = model.segment(image).mask  # image: H x W x 3, 8-bit RGB\n```",
        "```\nlpdseg segment PATH PATCHES --out masks\n```",
        "## Model",
        _table(("", ""), _model(described)),
        "## Classes",
        _table(("class", "colour", "value in masks", "threshold", "offset"), _classes(described)),
        "## Figures",
        *_figures(described),
        "## Training data",
        *_training_data(described),
        "## Licences",
        *_licences(described),
        "## Files",
        _table(("file", "holds"), _files(described)),
        f"`sha256sum --check {SUMS}` tells whether they are whole; `lpdseg` does so whenever it loads them.",
    ]
    return "\n\n".join(parts) + "\n"


def _header(described: Mapping[str, Any]) -> str:
    from huggingface_hub import ModelCardData

    started = described["settings"]["model"]["weights"]
    data = ModelCardData(
        license=described["licence"],
        library_name="lpdseg",
        pipeline_tag="image-segmentation",
        base_model=started if started is not None and "/" in started else None,
        tags=[*_TAGS, described["settings"].get("method", "lpd")],
    )
    return f"---\n{data.to_yaml()}\n---"


def _model(described: Mapping[str, Any]) -> list[tuple[str, str]]:
    settings, encoder, mpp, patch = (described[key] for key in ("settings", "encoder", "mpp", "patch"))
    numbers = [", ".join(f"{value:.3f}" for value in encoder[name]) for name in ("mean", "std")]
    predict, edits = settings["predict"], described["edits"]
    return [
        ("method", settings.get("method", "lpd")),
        ("encoder", settings["model"]["encoder"]),
        ("patches", "size unknown" if patch is None else f"{patch[0]} × {patch[1]} px"),
        ("microns per pixel", "unknown" if mpp is None else f"{mpp:g}"),
        ("input", f"RGB in [0, 1]; mean {numbers[0]} and sd {numbers[1]} are taken off inside"),
        ("gate, refinement", f"{predict['gate']}, {predict['refine']}"),
        ("temperature", f"{described['temperature'] or 1:g}"),
        ("steps", f"{described['step']:,} of {described['steps']:,}"),
        ("edits of prototypes", "none" if edits is None else f"{len(edits['said'])}, {edits['sha256'][:12]}"),
    ]


def _classes(described: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    classes, edits = described["classes"], described["edits"] or {}
    offsets = (edits.get("offsets") or {}).get("values", described["offsets"])
    for name, colour, index, threshold, offset in zip(
        classes["names"], classes["colours"], classes["indices"], described["thresholds"], offsets, strict=True
    ):
        yield name, str(colour), str(index), f"{threshold:.3f}", f"{offset:+.3f}"
    if classes["background"] is not None:
        yield "background", str(classes["background_colour"]), str(classes["background"]), "–", "–"


def _figures(described: Mapping[str, Any]) -> list[str]:
    records = [*([described["valid"]] if described["valid"] else []), *described["metrics"]]
    if not records:
        return ["None: training had no masks to compare with."]
    head = ("split", "gate", "background", "refinement", "patches", "patients", "mIoU", "mDice", "image F1", "ECE")
    tables = [_table(head, [_figure_row(one) for one in records])]
    per_class = [("", *described["classes"]["names"])]
    per_class += [
        (f"IoU, {one['split']}, gate {one['gate']}",
         *(figure_text(one["classes"].get(name, {}).get("iou")) for name in per_class[0][1:]))
        for one in records
    ]  # fmt: skip
    told = "Per cent, with 95 % intervals over patients (over files where patients are unknown)."
    if described["valid"]:
        told += (
            " Weights, thresholds, offsets and temperature were chosen on the split valid, so expect less on new "
            "patients."
        )
    return [*tables, _table(per_class[0], per_class[1:]), told]


def _figure_row(one: Mapping[str, Any]) -> tuple[str, ...]:
    image_level, reliability = one["image_level"] or {}, one["reliability"] or {}
    patients = str(one["patients"]) if one["unit"] == "patients" else "unknown"
    return (
        one["split"], one["gate"], one["background"], one["refine"], str(one["images"]), patients,
        interval_beside(one, "miou"), interval_beside(one, "mdice"), figure_text(image_level.get("f1")),
        figure_text(reliability.get("ece")),
    )  # fmt: skip


def _training_data(described: Mapping[str, Any]) -> list[str]:
    data = described["training_data"]
    rows = [
        (
            split,
            str(count),
            str((data["patients"] or {}).get(split, "unknown")),
            _scales((data["mpp"] or {}).get(split)),
        )
        for split, count in (data["patches"] or {}).items()
    ]
    told = f"Image-level labels; fingerprint of the data `{described['data']}`."
    if data["patients_known"] is False:
        told += " Patients are guessed from the beginnings of file names."
    if described["corrected"] is not None:
        told += f" {len(described['corrected']['images'])} patches of valid or test were corrected and learnt."
    return [*([_table(("split", "patches", "patients", "µm/px (patches)"), rows)] if rows else []), told]


def _scales(counts: Mapping[str, int] | None) -> str:
    return ", ".join(f"{mpp} ({count})" for mpp, count in (counts or {}).items()) or "unknown"


def _licences(described: Mapping[str, Any]) -> list[str]:
    licences = described["licences"]
    entries = [
        (one["what"], one["licence"], one["source"]) for one in (*licences["started_from"], *licences["code"])
    ]
    these = described["licence"]
    told = "not stated by whoever made the bundle; ask before use" if these == "unknown" else f"`{these}`"
    parts = [f"These weights: {told}.", _table(("what", "licence", "from"), entries)]
    closed = non_commercial(described)
    if closed:
        parts.append(f"Not for commercial use, for it was trained from weights that are not: {', '.join(closed)}.")
    return [
        *parts,
        "Data sets have licences of their own; a model trained on non-commercial data may inherit that.",
    ]


def _files(described: Mapping[str, Any]) -> list[tuple[str, str]]:
    graph = described["graph"]
    return [
        (DESCRIPTION, f"all that is said here, as JSON, schema {described['schema']}"),
        (WEIGHTS, "weights"),
        *(
            [(GRAPH, f"the same network as ONNX, apart from PyTorch by at most {graph['difference']:.1e}")]
            if graph
            else []
        ),
        (CARD, "this page"),
        (SUMS, "SHA-256 of each"),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text of people as text of Markdown: no tags, no columns of its own, one line."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
