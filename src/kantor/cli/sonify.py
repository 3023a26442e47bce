"""`kantor sonify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kantor.cli import completion
from kantor.cli.options import Runs, show, show_progress


def add_to(app: typer.Typer) -> None:
    app.command("sonify")(sonify)


def sonify(
    source: Annotated[
        str,
        typer.Argument(
            help="An image, a folder of images, or a run or generator.safetensors.", autocompletion=completion.runs
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the sounds.")],
    mode: Annotated[str, typer.Option(help="colour, gray (one tone a row) or stacked (all rows at once).")] = "colour",
    format: Annotated[str, typer.Option(help="wav, mp3 or ogg.")] = "wav",
    count: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="At most so many images. [8 of a model, all of a folder]", show_default=False
        ),
    ] = None,
    resolution: Annotated[int, typer.Option(min=2, max=256, help="Rows and columns that are heard.")] = 64,
    runs: Runs = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace sounds of the same name.")] = False,
) -> None:
    """Make images audible: a scan from top left to bottom right.

    Left and right are left and right, pitch and loudness are brightness, and each colour has a timbre.
    """
    from kantor.app.sampling import sonify as job

    mode = {"grey": "gray", "color": "colour"}.get(mode, mode)
    options = job.SonifyOptions(source, out, mode, format, count, resolution, runs, overwrite)
    with show_progress() as progress_of:
        number, notes = job.make_sounds(options, progress_of("making sounds"))
    for note in notes:
        show(f"note: {note}")
    show(f"{number:,} sound{'s' if number != 1 else ''} in {out}")
