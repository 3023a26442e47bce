"""What a user asks of a trained generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from kantor.app import units
from kantor.app.flags import Checkpoint, Classes, Device, Model, Raw, Runs, Truncation
from kantor.app.options import Flag, Options

_Gutter = Annotated[int, Flag("Leave N pixels between images of the sheet", metavar="N", min=0, max=256)]


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(Options):
    """Options of `kantor generate`."""

    model: Model
    count: Annotated[
        int | None, Flag("Generate N images, from seeds 0, 1, 2 ...", metavar="N", min=1, max=1_000_000, default="64")
    ] = None
    seeds: Annotated[
        Sequence[int] | None, Flag("Generate the images of these seeds: 0-63,99", metavar="LIST", parse=units.seeds)
    ] = None
    classes: Classes = ()
    out: Annotated[
        Path | None, Flag("Write images to this folder", metavar="DIR", default="generated next to the model")
    ] = None
    grid: Annotated[
        tuple[int, int] | None,
        Flag("Arrange the sheet in columns x rows: 16x4", metavar="CxR", parse=units.grid, default="about square"),
    ] = None
    gutter: _Gutter = 2
    paper: Annotated[
        tuple[int, int, int] | None,
        Flag("Colour the sheet between the images: #rrggbb", metavar="COLOUR", parse=units.colour, default="#ecebe7"),
    ] = None
    scale: Annotated[
        int | None, Flag("Enlarge every image N times, its pixels as squares", metavar="N", min=1, max=64)
    ] = None
    truncation: Truncation = 1.0
    raw: Raw = False
    checkpoint: Checkpoint = None
    device: Device = "auto"
    runs: Runs = Path("runs")
    overwrite: Annotated[bool, Flag("Replace images of the same name")] = False


@dataclass(frozen=True, kw_only=True)
class WalkOptions(Options):
    """Options of `kantor walk`."""

    model: Model
    seeds: Annotated[
        Sequence[int] | Literal["smooth", "rough"],
        Flag(
            "Walk through the images of these seeds: 3,9,12; smooth or rough picks four with little or much change",
            metavar="LIST",
            parse=units.stops,
        ),
    ]
    out: Annotated[Path, Flag("Write a film (.gif, .webp or .mp4), or a strip of images (.png)", metavar="FILE")]
    classes: Classes = ()
    frames: Annotated[int, Flag("Show N images from one seed to the next", metavar="N", min=1)] = 60
    straight: Annotated[bool, Flag("Walk in straight lines, not along the sphere of latents")] = False
    loop: Annotated[bool, Flag("Walk back to the first seed")] = False
    easing: Annotated[
        Literal["linear", "smooth"],
        Flag("Keep an even pace (linear), or slow down at each seed (smooth)", metavar="HOW"),
    ] = "linear"
    fps: Annotated[float, Flag("Show N images per second", metavar="N", min=0.1, max=120)] = 25.0
    columns: Annotated[int, Flag("Put N images in a row of a strip, from seed to seed", metavar="N", min=2, max=64)] = 9
    truncation: Truncation = 1.0
    raw: Raw = False
    checkpoint: Checkpoint = None
    device: Device = "auto"
    runs: Runs = Path("runs")
    overwrite: Annotated[bool, Flag("Replace the file")] = False


@dataclass(frozen=True, kw_only=True)
class PaintOptions(Options):
    """Options of `kantor paint`."""

    lines: Annotated[
        str,
        Flag(
            "Model that generates lines: a run, or a generator.safetensors; or your own: an image, or a folder",
            metavar="LINES_MODEL",
            complete="runs",
            positional=True,
        ),
    ]
    colours: Annotated[str, Flag("Model that colours them", metavar="COLOUR_MODEL", complete="runs", positional=True)]
    out: Annotated[Path, Flag("Write paintings to this folder", metavar="DIR")]
    seeds: Annotated[
        Sequence[int] | None,
        Flag(
            parse=units.seeds,
            help="Take these seeds for lines and colours: 0-15,99",
            metavar="LIST",
            default="0-15; of your own lines 0",
        ),
    ] = None
    truncation: Truncation = 1.0
    grid: Annotated[
        tuple[int, int] | None,
        Flag(
            "Arrange the sheet in columns x rows of pairs: 4x4", metavar="CxR", parse=units.grid, default="about square"
        ),
    ] = None
    gutter: _Gutter = 2
    device: Device = "auto"
    runs: Runs = Path("runs")
    overwrite: Annotated[bool, Flag("Replace paintings of the same name")] = False


@dataclass(frozen=True, kw_only=True)
class SonifyOptions(Options):
    """Options of `kantor sonify`."""

    source: Annotated[
        str,
        Flag(
            "Image, folder of images, run or generator.safetensors",
            metavar="SOURCE",
            complete="runs",
            positional=True,
        ),
    ]
    out: Annotated[Path, Flag("Write sounds to this folder", metavar="DIR")]
    mode: Annotated[
        str,
        Flag(
            "Scan in colour, in gray (one tone a row), or stacked (all rows at once)",
            metavar="NAME",
            parse=lambda mode, where: {"grey": "gray", "color": "colour"}.get(mode, mode),
        ),
    ] = "colour"
    format: Annotated[str, Flag("Write wav, mp3 or ogg", metavar="KIND")] = "wav"
    count: Annotated[
        int | None,
        Flag(
            "Sonify at most N images",
            metavar="N",
            min=1,
            max=100_000,
            default="8 of a model, all of a folder",
        ),
    ] = None
    resolution: Annotated[int, Flag("Scan N rows and columns", metavar="N", min=2, max=256)] = 64
    runs: Runs = Path("runs")
    overwrite: Annotated[bool, Flag("Replace sounds of the same name")] = False
