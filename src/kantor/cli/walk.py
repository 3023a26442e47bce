"""`kantor walk`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from kantor.cli.options import Checkpoint, Device, Model, Raw, Runs, Truncation, show, show_progress


def add_to(app: typer.Typer) -> None:
    app.command("walk")(walk)


def walk(
    model: Model,
    seeds: Annotated[
        str,
        typer.Option(
            help="The images on the way: 3,9,12; or smooth, or rough: four with little or much change between."
        ),
    ],
    out: Annotated[Path, typer.Option(help="A film: .gif, .webp or .mp4; or a strip of images: .png.")],
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", help="Class of all images, or one for each seed: A,B,C.", show_default=False),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Images from one seed to the next.")] = 60,
    straight: Annotated[
        bool, typer.Option("--straight", help="Walk in straight lines, not along the sphere of latents.")
    ] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Walk back to the first seed.")] = False,
    easing: Annotated[
        Literal["linear", "smooth"], typer.Option(help="At an even pace, or slowly near each seed.")
    ] = "linear",
    fps: Annotated[float, typer.Option(min=0.1, max=120, help="Images a second.")] = 25.0,
    columns: Annotated[int, typer.Option(min=2, max=64, help="Images in a row of a strip; a row is a leg.")] = 9,
    truncation: Truncation = 1.0,
    raw: Raw = False,
    checkpoint: Checkpoint = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Walk from image to image: a film of the way, or a strip of images.

    The seeds are those of generate, and the images of the seeds themselves are in the walk.
    """
    from kantor.app.sampling import walk as job

    options = job.WalkOptions(
        model, seeds, out, class_ or (), frames, straight, loop, easing, fps, columns, truncation, raw, checkpoint,
        device, runs, overwrite,
    )  # fmt: skip
    with show_progress() as progress_of:
        path, count = job.make_walk(options, progress_of("generating"), show)
    show(f"{count:,} images: {path}")
