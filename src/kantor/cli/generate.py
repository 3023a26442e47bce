"""`kantor generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kantor.cli.options import Checkpoint, Device, Model, Raw, Runs, Truncation, show


def add_to(app: typer.Typer) -> None:
    app.command("generate")(generate)


def generate(
    model: Model,
    count: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Images, seeds 0, 1, 2 ... [64]", show_default=False)
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="These seeds: 0-63,99.", show_default=False)] = None,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", help="Class of all images, or one for each: A,B,C.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the images; default: generated beside the model.", show_default=False),
    ] = None,
    grid: Annotated[str | None, typer.Option(help="Columns x rows of the sheet: 16x4.", show_default=False)] = None,
    gutter: Annotated[int, typer.Option(min=0, max=256, help="Pixels between the images of the sheet.")] = 2,
    paper: Annotated[
        str | None, typer.Option(help="Colour of the sheet: #rrggbb. [#ecebe7]", show_default=False)
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Enlarge every image by so much, pixels as squares.", show_default=False),
    ] = None,
    truncation: Truncation = 1.0,
    raw: Raw = False,
    checkpoint: Checkpoint = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace images of the same name.")] = False,
) -> None:
    """Draw images from a trained generator: a sheet, and one file for each seed.

    A seed is always the same image of a model, however many are drawn together.
    """
    from kantor.app.sampling import generate as job

    options = job.GenerateOptions(
        model,
        count,
        seeds,
        class_ or (),
        out,
        grid,
        gutter,
        paper,
        scale,
        truncation,
        raw,
        checkpoint,
        device,
        runs,
        overwrite,
    )
    sheet, folder, number = job.generate(options)
    show(f"{number:,} image{'s' if number != 1 else ''} in {folder}")
    show(f"sheet: {sheet}")
