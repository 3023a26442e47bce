"""Options that several commands share, and how long work is shown."""

from __future__ import annotations

import contextlib
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from kantor.cli import completion
from kantor.errors import ResourceError, printable
from kantor.progress import ProgressOf
from kantor.sinks import progress

Size = Annotated[str | None, typer.Option(help="Size of an image: 64, or height x width: 48x96.", show_default=False)]
Crop = Annotated[
    int | None,
    typer.Option(min=0, help="Cut a square of this side from the middle first; 0 cuts nothing.", show_default=False),
]
Fit = Annotated[
    str | None,
    typer.Option(
        help="Other shapes: cover (cut), contain (pad), stretch; replicate or mirror (pad).", show_default=False
    ),
]
Channels = Annotated[str | None, typer.Option(help="auto, gray, rgb or rgba.", show_default=False)]
Labels = Annotated[
    str | None, typer.Option(help="auto (sub-folders), none, or a CSV or JSON file.", show_default=False)
]
MaxBad = Annotated[
    str | None, typer.Option(help="Share of unreadable images that is tolerated: 1%.", show_default=False)
]

Model = Annotated[
    str,
    typer.Argument(
        help="Run: directory, number, name or latest; or a generator.safetensors.", autocompletion=completion.runs
    ),
]
Truncation = Annotated[float, typer.Option(min=0.0, max=4.0, help="Below 1: more typical, less varied images.")]
Raw = Annotated[bool, typer.Option("--raw", help="Use the newest weights instead of their running average.")]
Checkpoint = Annotated[
    int | None, typer.Option(help="An older checkpoint of the run, by its number of images.", show_default=False)
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Runs = Annotated[Path, typer.Option(help="Folder of run directories, for names and numbers.")]


Cache = Annotated[Path | None, typer.Option(help="Folder for packed images.", show_default=False)]


def data_overrides(
    size: str | None, crop: int | None, fit: str | None, channels: str | None, labels: str | None, max_bad: str | None
) -> dict[str, Any]:
    """Dotted fields for the options that were given."""
    from kantor.config.io import layered
    from kantor.config.schema import Config

    given = {"size": size, "crop": crop, "fit": fit, "channels": channels, "labels": labels, "max_bad": max_bad}
    for name, value in given.items():
        if value is not None:  # checked one by one, so that an error names the flag
            layered(Config(), {"data": {name: value}}, f"--{name.replace('_', '-')}")
    return {f"data.{name}": value for name, value in given.items() if value is not None}


def show(line: str) -> None:
    """A line for the user, in words that the terminal can show. Nothing is lost with it."""
    with contextlib.suppress(OSError, ValueError, ResourceError):
        tell(line)


def tell(line: str) -> None:
    """A line that is the command's very result.

    Raises:
        ResourceError: it could not be written. That nobody reads it any more (`| head`) is no error.
    """
    encoding = sys.stdout.encoding or "ascii"
    try:
        print(printable(line).encode(encoding, "replace").decode(encoding), flush=True)  # noqa: T201
    except OSError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - or Python tries again at exit
        if isinstance(error, BrokenPipeError):
            return
        raise ResourceError("standard output", f"could not be written ({error.strerror})", "free some space") from error


def show_progress() -> AbstractContextManager[ProgressOf]:
    """Bars on a terminal, else a line every few seconds, for the work done inside of it."""
    return progress.show_progress(show, sys.stdout.isatty())
