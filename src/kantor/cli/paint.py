"""`kantor paint`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kantor.cli import completion
from kantor.cli.options import Device, Runs, Truncation, show


def add_to(app: typer.Typer) -> None:
    app.command("paint")(paint)


def paint(
    lines: Annotated[
        str,
        typer.Argument(
            metavar="LINES_MODEL",
            help="Model that draws lines: a run, or a generator.safetensors. Or your own: an image, or a folder.",
            autocompletion=completion.runs,
        ),
    ],
    colours: Annotated[
        str, typer.Argument(metavar="COLOUR_MODEL", help="Model that colours them.", autocompletion=completion.runs)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the paintings.")],
    seeds: Annotated[
        str | None,
        typer.Option(
            help="These seeds, of lines and colours: 0-15,99. [0-15; of your own lines 0]", show_default=False
        ),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="Columns x rows of the sheet, in pairs: 4x4.", show_default=False)
    ] = None,
    gutter: Annotated[int, typer.Option(min=0, max=256, help="Pixels between the pairs of the sheet.")] = 2,
    truncation: Truncation = 1.0,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace paintings of the same name.")] = False,
) -> None:
    """Let one model draw lines, and another colour them; or have your own lines coloured.

    Writes each painting with its lines, and a sheet of all.
    """
    from kantor.app.sampling import paint as job

    options = job.PaintOptions(lines, colours, out, seeds, truncation, grid, gutter, device, runs, overwrite)
    sheet, folder, count = job.paint(options)
    show(f"{count:,} painting{'s' if count != 1 else ''} in {folder}")
    show(f"sheet: {sheet}")
