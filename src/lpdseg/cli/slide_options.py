"""The options of `lpdseg segment` that are for whole slides, and what may not stand beside them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from lpdseg.cli.words import Engine, Origin
from lpdseg.errors import SettingsError

_PANEL = "Whole slides"

To = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        metavar="KINDS",
        help="Inputs are whole slides; they become: geojson, geojson.gz (QuPath), ome-tiff (mask), zarr "
        "(probabilities), png (picture), csv (areas). Separated by commas.",
        rich_help_panel=_PANEL,
    ),
]
SlideMpp = Annotated[
    float | None,
    typer.Option("--mpp", help="Microns per pixel of the slides, whatever they say.", rich_help_panel=_PANEL),
]
MppTable = Annotated[
    Path | None,
    typer.Option(
        "--mpp-table",
        metavar="CSV",
        help="Columns slide and mpp, for slides that do not say.",
        rich_help_panel=_PANEL,
    ),
]
ModelMpp = Annotated[
    float | None,
    typer.Option("--model-mpp", help="Microns per pixel of the training patches.", rich_help_panel=_PANEL),
]
Window = Annotated[
    int | None,
    typer.Option("--window", help="Side in pixels of what is computed at once.", rich_help_panel=_PANEL),
]
Overlap = Annotated[
    float | None,
    typer.Option(
        "--overlap", help="Share of a window that neighbours share, 0 to 0.9. Default 0.5.", rich_help_panel=_PANEL
    ),
]
Simplify = Annotated[
    float | None,
    typer.Option("--simplify", metavar="MICRONS", help="Smoother outlines in geojson.", rich_help_panel=_PANEL),
]
MinArea = Annotated[
    float | None,
    typer.Option(
        "--min-area", metavar="SQ_MICRONS", help="Smaller regions are left out of geojson.", rich_help_panel=_PANEL
    ),
]
OriginChoice = Annotated[
    Origin | None,
    typer.Option(
        "--origin",
        help="Where geojson counts from: the corner of the scanned part of a slide, as in QuPath (bounds, the "
        "default), or of the whole (slide). Only some scanners, such as MIRAX, make a difference.",
        rich_help_panel=_PANEL,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=0, help="Processes that read slides; with ray, models in all.", rich_help_panel=_PANEL
    ),
]
Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Do part I of N, as one job of an array.", rich_help_panel=_PANEL),
]
Redo = Annotated[bool, typer.Option("--redo", help="Do slides again that are finished.", rich_help_panel=_PANEL)]
EngineChoice = Annotated[
    Engine | None, typer.Option("--engine", help="This machine (local), or a Ray cluster.", rich_help_panel=_PANEL)
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", help="Of the Ray cluster: auto, or HOST:PORT. Default: one on this machine.",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip


def refuse_for_patches(asked: Mapping[str, object]) -> None:
    """Options for slides need `--to`: without it the inputs are patches.

    **Raises:** `SettingsError` for the first that was given.
    """
    for name, value in asked.items():
        if value is not None and value is not False:
            raise SettingsError(f"{name} is for whole slides; say with --to what they shall become")


def refuse_for_slides(asked: Mapping[str, bool]) -> None:
    """Options for patches mean nothing beside `--to`.

    **Raises:** `SettingsError` for the first that was given, with what to use instead.
    """
    instead = {
        "--probabilities": "use --to zarr",
        "--overlay": "use --to png",
        "--no-recurse": "name the slides, or a pattern such as 'scans/*.svs'",
    }
    for name, given in asked.items():
        if given:
            raise SettingsError(f"{name} is for patches; for whole slides {instead[name]}")


def refuse_slides_without_to(inputs: Sequence[Path], image_suffixes: Sequence[str]) -> None:
    """Whole slides are not taken for patches, nor patches for slides: `--to` says which.

    **Raises:** `SettingsError` that names the first slide among the inputs, or in their folders.
    """
    from lpdseg.slides.formats import slide_suffixes

    only_slides = tuple(suffix for suffix in slide_suffixes() if suffix not in image_suffixes)
    for source in inputs:
        with suppress(OSError):  # a folder that cannot be read is refused by whoever looks for patches
            for path in sorted(source.iterdir()) if source.is_dir() else [source]:
                if path.suffix.lower() not in only_slides:
                    continue
                raise SettingsError(
                    f"{path} is a whole slide; say with --to what it shall become, for instance --to geojson,png"
                )
