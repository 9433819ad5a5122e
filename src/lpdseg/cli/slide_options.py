"""The options of `lpdseg segment` that are for whole slides, and what may not stand beside them."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from lpdseg.choices import Origin, SlideEngine
from lpdseg.errors import SettingsError


def _option(kind: Any, flag: str, help_text: str, **more: Any) -> Any:
    return Annotated[kind, typer.Option(flag, help=help_text, rich_help_panel="Whole slides", **more)]


OPTIONS: dict[str, Any] = {
    "to": _option(
        list[str] | None,
        "--to",
        "Inputs are whole slides; they become: geojson, geojson.gz (QuPath), ome-tiff, "
        "label-tiff (mask), zarr (probabilities), uncertainty, unsure (where to look first), png (picture), "
        "csv (areas). Separated by commas.",
        metavar="KINDS",
    ),
    "mpp": _option(float | None, "--mpp", "Microns per pixel of the slides, whatever they say."),
    "mpp_table": _option(
        Path | None, "--mpp-table", "Columns slide and mpp, for slides that do not say.", metavar="CSV"
    ),
    "model_mpp": _option(float | None, "--model-mpp", "Microns per pixel of the training patches."),
    "window": _option(int | None, "--window", "Side in pixels of what is computed at once."),
    "overlap": _option(
        float | None, "--overlap", "Share of a window that neighbours share, 0 to 0.9. Default 0.5."
    ),
    "simplify_um": _option(float | None, "--simplify", "Smoother outlines in geojson.", metavar="MICRONS"),
    "minimum_um2": _option(
        float | None,
        "--min-area",
        "Smaller regions are left out of geojson. Default 50, about one nucleus; 0 for all.",
        metavar="SQ_MICRONS",
    ),
    "from_bounds": _option(
        Origin | None,
        "--origin",
        "Where coordinates count from: the corner of the scanned part of a slide, as in QuPath (bounds, the "
        "default), or of the whole (slide). Only some scanners, such as MIRAX, make a difference.",
    ),
    "workers": _option(int | None, "--workers", "Processes that read slides; with ray, models in all.", min=0),
    "shard": _option(str | None, "--shard", "Do part I of N, as one job of an array.", metavar="I/N"),
    "redo": _option(bool, "--redo", "Do slides again that are finished."),
    "engine": _option(SlideEngine | None, "--engine", "This machine (local), or a Ray cluster."),
    "address": _option(
        str | None, "--address", "Of the Ray cluster: auto, or HOST:PORT. Default: one on this machine."
    ),
}
"""By their names in `SlideOptions`: a new one needs a line there and one here."""


def with_slide_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `OPTIONS`, whose values it gets together as `asked`, by name."""
    own = [one for one in inspect.signature(command).parameters.values() if one.name != "asked"]
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if name == "redo" else None, annotation=kind
        )
        for name, kind in OPTIONS.items()
    ]

    @wraps(command)
    def taken(**given: Any) -> None:
        asked = {name: given.pop(name) for name in OPTIONS}
        command(**given, asked=asked)

    kept = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    taken.__signature__ = inspect.Signature([*kept, *added])  # type: ignore[attr-defined]
    taken.__annotations__ = {one.name: one.annotation for one in (*own, *added)}
    return taken


def asked_settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given, as `SlideOptions` takes them.

    **Raises:** `SettingsError` for a shard that cannot be, and an address without its engine.
    """
    from lpdseg.workflows.slides.shard import parse_shard

    if asked["address"] is not None and asked["engine"] != "ray":
        raise SettingsError("--address is of a Ray cluster; add --engine ray")
    given = {name: value for name, value in asked.items() if value is not None}
    if "from_bounds" in given:
        given["from_bounds"] = given["from_bounds"] == "bounds"
    if "shard" in given:
        given["shard"] = parse_shard(given["shard"])
    return given


def refuse_for_patches(asked: Mapping[str, object]) -> None:
    """Options for slides need `--to`: without it the inputs are patches.

    **Raises:** `SettingsError` for the first that was given.
    """
    for name, value in asked.items():
        if value is not None and value is not False:
            flag = OPTIONS[name].__metadata__[0].default
            raise SettingsError(f"{flag} is for whole slides; say with --to what they shall become")


def refuse_for_slides(asked: Mapping[str, bool]) -> None:
    """Options for patches mean nothing beside `--to`.

    **Raises:** `SettingsError` for the first that was given, with what to use instead.
    """
    instead = {
        "--probabilities": "use --to zarr",
        "--overlay": "use --to png",
        "--uncertainty": "use --to uncertainty",
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
