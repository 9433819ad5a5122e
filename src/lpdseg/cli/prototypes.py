"""`lpdseg prototypes`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lpdseg.choices import Split
from lpdseg.cli.common import DataClasses, Device, Edits, MaskValues, OfRun
from lpdseg.cli.stop import told_what_is_left
from lpdseg.terminal import Terminal, say

if TYPE_CHECKING:
    from rich.table import Table

    from lpdseg.insight.atlas import Atlas


def prototypes(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The atlas, an HTML page that needs no other file.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR_OR_CSV",
            envvar="LPDSEG_DATA",
            help="A manifest CSV, or the folder of a data set, to measure on. Without it only the training regions "
            "that the run keeps are shown.",
        ),
    ] = None,
    split: Annotated[
        Split,
        typer.Option(help="Which patches to measure on, by true masks; where there are none, by predicted ones."),
    ] = "valid",
    patches: Annotated[int, typer.Option(min=1, max=24, help="Typical patches shown per prototype.")] = 6,
    png: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write one picture, the best patches of each prototype."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the measures there; needs --data.")
    ] = None,
    most: Annotated[
        int | None, typer.Option(min=1, help="Look at no more patches than this, drawn at random. Default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of that draw.")] = 0,
    classes: DataClasses = None,
    mask_value: MaskValues = None,
    checkpoint: OfRun = "best",
    device: Device = "auto",
    edits: Edits = None,
) -> None:
    """Show what each prototype has become, and measure whether a class's prototypes cover it.

    Prototypes that make the mask and were taught morphologies are shown by training regions that the run keeps.
    """
    from lpdseg import api
    from lpdseg.checkpoint import read_state
    from lpdseg.cli.progress import stages
    from lpdseg.data.opening import same_classes
    from lpdseg.errors import SettingsError
    from lpdseg.files import write_json
    from lpdseg.insight.atlas import make_atlas
    from lpdseg.insight.atlas_page import write_atlas
    from lpdseg.insight.atlas_sheet import save_atlas_picture
    from lpdseg.outputs import COVERAGE, FIGURE, PAGE, check_outputs
    from lpdseg.segmenting.edited import names_in
    from lpdseg.segmenting.loading import edits_within
    from lpdseg.settings import parse_settings
    from lpdseg.training.regions import read_regions

    if data is None and json is not None:
        raise SettingsError(
            "--json writes measures, which need patches: name them with --data, or leave --json out"
        )
    check_outputs([(out, PAGE), (png, FIGURE), (json, COVERAGE)], [run, data, edits])
    with told_what_is_left(lambda: "nothing was written"), stages() as progress:
        segmenter = api.load_for_prototypes(run, checkpoint, device)
        settings = parse_settings(read_state(run, checkpoint)["settings"], source=str(run))
        atlas = make_atlas(
            segmenter,
            None if data is None else same_classes(segmenter.classes, data, classes, mask_value or ()),
            split,
            kept=read_regions(run),
            names=names_in(segmenter, edits or edits_within(run, checkpoint)),
            patches=patches,
            most=most,
            seed=seed,
            temperature=settings.loss.diversity.temperature,
            progress=lambda done, total: progress("looking at patches", done, total),
        )
    about = f"Method {settings.method}, encoder {settings.model.encoder}, seed {settings.train.seed}."
    write_atlas(atlas, out, title=run.resolve().name, about=about)
    if png is not None:
        save_atlas_picture(atlas, png)
    if atlas.coverage is not None:
        if json is not None:
            write_json(json, atlas.coverage)
        Terminal().print(table(atlas.coverage))
        say(summary(atlas.coverage))
    for line in (told_of(atlas), atlas.note):
        if line is not None:
            say(f"{line}.")
    say(f"Look at the atlas: open {out}")


def told_of(atlas: "Atlas") -> str | None:
    """How many training regions are shown, and which prototypes are retired; None where there is nothing to say."""
    shown = sum(len(card.patches) for plate in atlas.plates for card in plate.cards) if atlas.regions else 0
    retired = [title for plate in atlas.plates for title in plate.retired]
    parts = [f"{shown} training regions show what the prototypes stand for"] if shown else []
    parts += [f"retired, for their class has fewer morphologies: {', '.join(retired)}"] if retired else []
    return "; ".join(parts) or None


def table(coverage: dict[str, Any]) -> "Table":
    """One row per class."""
    from rich.table import Table

    from lpdseg.insight.atlas_page import per_cent

    predicted = coverage["masks"] == "predicted"
    title = f"prototypes on {coverage['patches']} {coverage['split']} patches"
    result = Table(title=f"{title}, by predicted masks" if predicted else title, title_justify="left")
    result.add_column("class")
    told = ("prototypes", "effective", "dead", "similarity", *(() if predicted else ("claimed", "shrinkage")))
    for name in told:
        result.add_column(name, justify="right")
    for name, one in coverage["classes"].items():
        effective, alike = one["effective_prototypes"], one["jeffrey_similarity"]
        result.add_row(
            name,
            str(one["prototypes"] - one["retired_prototypes"]),
            "–" if effective is None else f"{effective:.2f}",
            str(one["dead_prototypes"]),
            "–" if alike is None else f"{alike:.3f}",
            *(() if predicted else (per_cent(one["claimed"]), per_cent(one["region_shrinkage"]))),
        )
    return result


def summary(coverage: dict[str, Any]) -> str:
    """A few sentences: dead prototypes, and where sub-types are known how they are covered and told apart."""
    from lpdseg.evaluation.protocol import interval_text
    from lpdseg.insight.atlas_page import per_cent

    dead = [f"{one['class']} {one['prototype']}" for one in coverage["dead"]]
    count = coverage["prototypes"] - coverage["retired_prototypes"]
    number = f"{len(dead)} of {count} prototypes {'is' if len(dead) == 1 else 'are'} dead"
    parts = [f"{number}: {', '.join(dead)}." if dead else f"None of {count} prototypes is dead."]
    worst = coverage["worst_subtype"]
    if worst is not None:
        ends = coverage["subtype_coverage_interval"]
        spread = f" {interval_text([100 * end for end in ends])} (95 % interval over patients)" if ends else ""
        parts.append(
            f"Sub-type coverage {per_cent(coverage['subtype_coverage'])}{spread}, "
            f"least {worst['name']} with {per_cent(worst['claimed'])}."
        )
    if coverage["region_information"] is not None:
        told = {name: one["normalised_region_information"] for name, one in coverage["classes"].items()}
        each = ", ".join(f"{name} {per_cent(share, 0)}" for name, share in told.items() if share is not None)
        parts.append(
            f"The winner of a region tells {coverage['region_information']:.2f} bits of its sub-type, "
            f"{per_cent(coverage['normalised_region_information'], 0)} of what there is to tell"
            f"{f' ({each})' if each else ''}; by chance {coverage['region_by_chance']:.2f}."
        )
    return " ".join(parts)
