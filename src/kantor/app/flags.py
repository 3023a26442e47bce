"""Flags that several jobs share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from kantor.app import units
from kantor.app.options import Flag

# how images of a source become those of a dataset
Size = Annotated[
    str | None,
    Flag(
        "Resize images to SIZE: 64, or height x width: 48x96",
        metavar="SIZE",
        sets="data.size",
        parse=units.size,
        default="auto",
    ),
]
Crop = Annotated[
    int | None,
    Flag(
        "Cut an N x N square from the middle first; 0 cuts nothing", metavar="N", sets="data.crop", min=0, default="off"
    ),
]
Fit = Annotated[
    str | None,
    Flag(
        "Choose how images of another shape fit: cover (cut), contain (pad), stretch, replicate or mirror (pad)",
        metavar="HOW",
        sets="data.fit",
        default="cover",
    ),
]
Channels = Annotated[
    str | None, Flag("Convert images: auto, gray, rgb or rgba", metavar="KIND", sets="data.channels", default="auto")
]
Labels = Annotated[
    str | None,
    Flag(
        "Read classes: auto (sub-folders), none, or a CSV or JSON file",
        metavar="WHAT",
        sets="data.labels",
        default="auto",
    ),
]
MaxBad = Annotated[
    str | float | None,
    Flag("Tolerate this share of unreadable images", metavar="SHARE", sets="data.max_bad", type=str, default="1%"),
]

Model = Annotated[
    str,
    Flag(
        "Run (directory, number, name or latest), checkpoint, or generator.safetensors",
        metavar="MODEL",
        complete="runs",
        positional=True,
    ),
]
Truncation = Annotated[
    float,
    Flag("Move latents towards the mean: below 1, images are more typical and less diverse", metavar="X", min=0, max=4),
]
Raw = Annotated[bool, Flag("Use the weights of the newest checkpoint, or of --checkpoint, instead of their EMA")]
Checkpoint = Annotated[
    int | None,
    Flag(
        "Use an older checkpoint of the run, by its number of images",
        metavar="IMAGES",
        default="the best by score, else the newest",
    ),
]
Classes = Annotated[
    Sequence[str],
    Flag(
        "Choose one class for all images, or one for each: A,B,C",
        flags=("--class",),
        metavar="NAME",
        type=list[str],
        default="all in turn",
    ),
]
Device = Annotated[str, Flag("Compute on auto, cpu, cuda, cuda:1 or mps", metavar="NAME")]
Runs = Annotated[Path, Flag("Look for runs, by name or number, in this folder", metavar="DIR")]
Cache = Annotated[
    Path | None, Flag("Keep packed images in this folder", metavar="DIR", default="the user's cache folder")
]
