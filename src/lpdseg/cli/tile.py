"""`lpdseg data tile`: patches to train on, from slides with drawn regions."""

from pathlib import Path
from typing import Annotated

import typer

from lpdseg.choices import Origin, Split
from lpdseg.cli.stop import told_what_is_left
from lpdseg.terminal import say


def tile(
    slides: Annotated[
        list[str],
        typer.Argument(
            metavar="SLIDE_OR_FOLDER...",
            help="Slides, folders, patterns, or CSVs with the columns slide and, optionally, mpp and patient.",
        ),
    ],
    regions: Annotated[
        Path,
        typer.Option(
            metavar="FILE_OR_FOLDER", help="GeoJSON from QuPath, or a folder with STEM.geojson per slide."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new data set, or one to add to.")],
    split: Annotated[Split, typer.Option(help="Where these patches belong.")] = "train",
    patch_mpp: Annotated[float, typer.Option(help="Microns per pixel of the patches.")] = 0.5,
    size: Annotated[int, typer.Option(min=1, help="Side of a patch in pixels.")] = 224,
    stride: Annotated[
        int | None, typer.Option(min=1, help="From one patch to the next in pixels; by default the size.")
    ] = None,
    share: Annotated[float, typer.Option(help="Part of a patch that a class must cover for its label.")] = 0.05,
    inside: Annotated[
        float, typer.Option(help="Part of a patch that regions must cover; the rest of it has no label.")
    ] = 0.95,
    classes: Annotated[
        str | None,
        typer.Option(
            help="A preset (bcss, luad, wsss4luad, glas), or class names as in STR,BEN,MAL. "
            "By default those of DIR, or the classes of the regions in sorted order."
        ),
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="Microns per pixel of the slides, where they do not tell or are wrong.")
    ] = None,
    mpp_table: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Columns slide and mpp, for slides that do not tell.")
    ] = None,
    origin: Annotated[
        Origin,
        typer.Option(
            help="Where regions count from: the corner of the scanned part of a slide, as in QuPath, or of the "
            "whole. Only some scanners, such as MIRAX, make a difference."
        ),
    ] = "bounds",
    skip_glass: Annotated[bool, typer.Option("--skip-glass", help="Leave out patches without tissue.")] = False,
) -> None:
    """Cut patches with image-level labels out of slides where people drew regions.

    Called again with other slides it adds to the data set; slides that are in it are cut again.
    """
    from lpdseg.cli.progress import stages
    from lpdseg.export.tiles import Cut
    from lpdseg.slides.patients import read_patients
    from lpdseg.slides.readers import find_slides
    from lpdseg.tissue import tissue_classes
    from lpdseg.workflows.slides.mpp_table import with_table
    from lpdseg.workflows.tile_slides import tile_slides

    cut = Cut(size, stride or size, share, inside)
    left = f"the data set in {out} has the slides that were done; run the same command again for all"
    with told_what_is_left(lambda: left), stages() as progress:
        tiled = tile_slides(
            with_table(find_slides(slides, leave_out=[out]), mpp_table),
            regions,
            out,
            cut,
            patch_mpp=patch_mpp,
            split=split,
            slide_mpp=mpp,
            classes=None if classes is None else tissue_classes(classes),
            patients=read_patients(slides),
            from_bounds=origin == "bounds",
            skip_glass=skip_glass,
            progress=lambda done, total: progress("cutting", done, total),
        )
    say(*tiled.notes, err=True)
    labels = zip(*(record.labels or () for record in tiled.records), strict=True)
    counts = ", ".join(f"{sum(bits)} {name}" for name, bits in zip(tiled.classes.names, labels, strict=True))
    say(f"{len(tiled.records)} {split} patches of {size} px in {out} ({counts})")
