"""What a user asks of a trained generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from kantor.app import units
from kantor.app.flags import ModelOptions, RunsOptions, SamplingOptions
from kantor.app.options import option

# What the user reads is on one line, what Kantor does with it on the next.
# fmt: off


@dataclass(frozen=True, kw_only=True)
class GeneratorOptions(ModelOptions):
    """Options of `kantor generate` and `kantor walk`."""

    model: str = option(
        "Run (directory, number, name or latest), checkpoint, or generator.safetensors", "MODEL",
        required=True, positional=True, complete="runs",
    )
    classes: Sequence[str] = option(
        "Choose one class for all images, or one for each: A,B,C", "NAME",
        default=(), flags=("--class",), repeat=True, otherwise="seed modulo the number of classes",
    )
    scale: int | None = option(
        "Enlarge every image N times", "N", min=1, max=64, otherwise="only grids and films of small images",
    )
    smooth: bool = option("Enlarge smoothly (Lanczos), not by squares", default=False)
    captions: bool = option("Write seed and class under each image of the grid, strip or film", default=False)


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(GeneratorOptions):
    """Options of `kantor generate`."""

    count: int | None = option(
        "Generate N images, from seeds 0, 1, 2 ...", "N", min=1, max=units.MOST_SEEDS, otherwise="64",
    )
    seeds: Sequence[int] | None = option("Generate the images of these seeds: 0-63,99", "LIST", parse=units.seeds)
    per_class: int | None = option(
        "Generate N images of every class, from seeds 0, 1, 2 ..., into a folder for each", "N",
        min=1, max=units.MOST_SEEDS,
    )
    out: Path | None = option(
        "Write images to this folder, or .zip", "DIR", otherwise="a new number in generated, next to the model",
    )
    grid: tuple[int, int] | None = option(
        "Arrange the grid in columns x rows: 16x4", "CxR", parse=units.grid, otherwise="about square",
    )
    gutter: int = option("Leave N pixels between images of the grid", "N", default=2, min=0, max=256)
    paper: tuple[int, int, int] | None = option(
        "Colour the grid between the images: #rrggbb", "COLOUR", parse=units.colour, otherwise="#ecebe7",
    )
    colour: tuple[int, int, int] | None = option(
        "Ask a guided model for a subject of this mean colour: #rrggbb", "COLOUR", parse=units.colour,
        otherwise="that of a training image",
    )
    place: tuple[float, float] | None = option(
        "Ask a guided model for a subject whose centre is at X,Y, from 0 to 1 from the top left: 0.3,0.6", "X,Y",
        parse=units.place, otherwise="that of a training image",
    )
    extent: float | None = option(
        "Ask a guided model for a subject of this size; 1 fills the image", "N", parse=units.extent,
        otherwise="that of a training image",
    )
    overwrite: bool = option("Replace images of the same name", default=False)


@dataclass(frozen=True, kw_only=True)
class WalkOptions(GeneratorOptions):
    """Options of `kantor walk`."""

    seeds: Sequence[int] | Literal["smooth", "rough"] = option(
        "Walk through the images of two or more seeds: 3,9,12; smooth or rough picks four with little or much change",
        "LIST", required=True, parse=units.stops,
    )
    out: str | None = option(
        "Write an animation (.gif or .webp), a video (.mp4), a strip of images (.png), or frames (FOLDER/)",
        "FILE", otherwise="walk.gif in a new number in walks, next to the model",
    )
    grid: tuple[int, int] | None = option(
        "Walk in columns x rows at once: 4x4; the seeds are shared out in order, so 4x4 of 32 seeds are walks of two",
        "CxR", parse=units.grid,
    )
    frames: int = option("Show N images from one seed to the next", "N", default=60, min=1)
    straight: bool = option("Walk in straight lines, not along the sphere of latents", default=False)
    loop: bool = option("Walk back to the first seed", default=False)
    easing: Literal["linear", "smooth"] = option(
        "Keep an even pace (linear), or slow down at each seed (smooth)", "KIND", default="linear",
    )
    fps: float = option("Show N images per second", "N", default=25.0, min=0.1, max=120)
    columns: int = option("Put N images in a row of a strip, from seed to seed", "N", default=9, min=2, max=64)
    colour: Sequence[tuple[int, int, int]] = option(
        "Ask a guided model for this colour, or several to pass: #rrggbb:#rrggbb", "COLOUR",
        default=(), parse=partial(units.stops_of, units.colour), otherwise="those of the seeds",
    )
    place: Sequence[tuple[float, float]] = option(
        "Ask a guided model for this place, or several to pass: 0.2,0.5:0.8,0.5", "X,Y",
        default=(), parse=partial(units.stops_of, units.place), otherwise="those of the seeds",
    )
    extent: Sequence[float] = option(
        "Ask a guided model for this extent, or several to pass: 0.3:0.8", "N",
        default=(), parse=partial(units.stops_of, units.extent), otherwise="those of the seeds",
    )
    overwrite: bool = option("Replace files of the same name", default=False)


@dataclass(frozen=True, kw_only=True)
class ComposeOptions(ModelOptions):
    """Options of `kantor compose`."""

    model: str = option(
        "Run (directory, number, name or latest), checkpoint, or generator.safetensors, of images with transparency", "MODEL",
        required=True, positional=True, complete="runs",
    )
    backgrounds: Sequence[str] = option(
        "Picture, folder of pictures, transparent, or a colour: #rrggbb; or several", "BACKGROUND",
        default=(), repeat=True, positional=True,
    )
    out: Path | None = option(
        "Write pictures to this folder", "DIR", otherwise="a new number in composed, next to the model",
    )
    count: int | None = option(
        "Put N sprites into each picture", "N", min=1, max=1000, otherwise="5, or as many as places; 64 with --atlas",
    )
    seeds: Sequence[int] | None = option(
        "Take these seeds in every picture: 3,9,12; or from one on, others in each: 100", "LIST",
        parse=units.seeds, otherwise="from 0 on",
    )
    places: Sequence[tuple[float, float]] = option(
        "Put the middle of a sprite at X,Y, from 0,0 (top left) to 1,1; once for each sprite", "X,Y",
        default=(), flags=("--place",), repeat=True, parse=units.places, otherwise="a function of the seed",
    )
    layout: str | None = option(
        "Put sprites where this model of layouts (--objects layout) puts objects, as many and as large as these", "MODEL",
        complete="runs", otherwise="places of the seeds",
    )
    extent: tuple[float, float] = option(
        "Let sprites take this share of the picture's shorter side: 0.3, or LOW-HIGH", "X",
        default=(0.2, 0.35), parse=units.extents, otherwise="0.2-0.35, a function of the seed",
    )
    classes: Sequence[str] = option(
        "Choose one class for all sprites, or one for each: A,B,C", "NAME",
        default=(), flags=("--class",), repeat=True, otherwise="seed modulo the number of classes",
    )
    size: tuple[int, int] | None = option(
        "Size of transparent and plain pictures: height x width", "HxW", parse=units.height_width, otherwise="512x512",
    )
    haze: float = option(
        "Make alpha below X transparent and above 1 - X opaque, what is between smooth; 0 leaves it", "X",
        default=0.05, min=0, max=0.45,
    )
    atlas: bool = option("Write a sprite sheet and its JSON for game tools instead", default=False)
    overwrite: bool = option("Replace files of the same name", default=False)


@dataclass(frozen=True, kw_only=True)
class ClassesOptions(RunsOptions):
    """Options of `kantor classes`."""

    model: str = option(
        "Run (directory, number, name or latest), checkpoint, or generator.safetensors", "MODEL",
        required=True, positional=True, complete="runs",
    )
    json: bool = option("Print one JSON object and nothing else", default=False)


@dataclass(frozen=True, kw_only=True)
class PaintOptions(SamplingOptions):
    """Options of `kantor paint`."""

    lines: str = option(
        "Model that generates lines: a run, or a generator.safetensors; or your own: an image, or a folder; or a pipeline: FILE.toml",
        "LINES_MODEL", required=True, positional=True, complete="runs",
    )
    colours: str | None = option(
        "Model that colours them", "COLOUR_MODEL", positional=True, complete="runs", otherwise="those of the pipeline",
    )
    out: Path = option("Write paintings to this folder", "DIR", required=True)
    seeds: Sequence[int] | None = option(
        "Take these seeds for lines and colours: 0-15,99", "LIST",
        parse=units.seeds, otherwise="0-15; of your own lines 0",
    )
    grid: tuple[int, int] | None = option(
        "Arrange the grid in columns x rows of pairs: 4x4", "CxR", parse=units.grid, otherwise="about square",
    )
    gutter: int = option("Leave N pixels between pairs of the grid", "N", default=2, min=0, max=256)
    overwrite: bool = option("Replace paintings of the same name", default=False)


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions(ModelOptions):
    """Options of `kantor upscale`."""

    model: str = option(
        "Model that enlarges: a run, a checkpoint, or a generator.safetensors", "MODEL",
        required=True, positional=True, complete="runs",
    )
    pictures: Sequence[str] = option(
        "Pictures of any size, folders of them, or a run whose generated images to enlarge", "PICTURES|RUN",
        default=(), positional=True, repeat=True, complete="runs",
    )
    out: Path | None = option(
        "Write enlarged pictures to this folder", "DIR", otherwise="a new number in upscaled, next to the model",
    )
    times: int | None = option(
        "Enlarge 2 or 4 times; by a model of 2 times twice", "N", otherwise="as often as the model has learned",
    )
    measure: bool = option("Reduce each picture first, and measure how close its enlargement comes to it", default=False)
    seeds: Sequence[int] | None = option("Enlarge the images of these seeds of RUN: 0-63,99", "LIST", parse=units.seeds)
    count: int | None = option(
        "Take at most N pictures; of RUN seeds 0, 1, 2 ...", "N", min=1, max=units.MOST_SEEDS,
        otherwise="all pictures, 64 of RUN; 500 to measure",
    )
    overwrite: bool = option("Replace pictures of the same name", default=False)


def _one_spelling(mode: str, where: str) -> str:
    return {"grey": "gray", "color": "colour"}.get(mode, mode)


@dataclass(frozen=True, kw_only=True)
class SonifyOptions(RunsOptions):
    """Options of `kantor sonify`."""

    source: str = option(
        "Image, folder of images, run or generator.safetensors", "SOURCE",
        required=True, positional=True, complete="runs",
    )
    out: Path = option("Write sounds to this folder", "DIR", required=True)
    mode: Literal["colour", "gray", "stacked"] = option(
        "Scan in colour, in gray (one tone a row), or stacked (all rows at once)", "NAME",
        default="colour", parse=_one_spelling,
    )
    format: Literal["wav", "mp3", "ogg"] = option("Write wav, mp3 or ogg", "KIND", default="wav")
    count: int | None = option(
        "Sonify at most N images", "N", min=1, max=100_000, otherwise="8 of a model, all of a folder",
    )
    resolution: int = option("Scan N rows and columns", "N", default=64, min=2, max=256)
    overwrite: bool = option("Replace sounds of the same name", default=False)
