"""`kantor presets`."""

from __future__ import annotations

from typing import Annotated

import typer

from kantor.cli import completion
from kantor.cli.options import tell


def add_to(app: typer.Typer) -> None:
    app.command("presets")(presets)


def presets(
    name: Annotated[
        str | None, typer.Argument(help="Print this one whole.", show_default=False, autocompletion=completion.presets)
    ] = None,
) -> None:
    """List the recipes that come with Kantor, or print one."""
    from kantor.config.io import preset_names, preset_text

    if name is not None:
        for line in preset_text(name).rstrip().splitlines():
            tell(line)
        return
    width = max(map(len, preset_names()))
    for preset in preset_names():
        first = preset_text(preset).splitlines()[0].removeprefix("# ")
        tell(f"{preset:{width}} {first}")
