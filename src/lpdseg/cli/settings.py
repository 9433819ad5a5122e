"""`lpdseg settings`."""

from typing import Annotated

import typer

from lpdseg.terminal import hand_over


def settings(
    preset: Annotated[
        str | None,
        typer.Argument(metavar="PRESET", help="A preset's name or a YAML file; without it the defaults."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="Change a setting before they are shown. Repeatable."
        ),
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what differs from the defaults: a file to start one's own from.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The page of the documentation instead: all settings, all presets.")
    ] = False,
) -> None:
    """Print all settings as YAML: what each is, its choices, and where it differs from the default.

    What is printed can be saved as a file and given to train --preset.
    """
    from lpdseg.cli.settings_text import as_commented_yaml, as_page
    from lpdseg.settings import load_settings

    if markdown:
        hand_over(as_page())
        return
    hand_over(as_commented_yaml(load_settings(preset, set_ or ()), changed))
