"""What a user asks of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kantor.app import units
from kantor.app.flags import Cache, Channels, Checkpoint, Crop, Device, Fit, MaxBad, Raw, Runs, Size, Truncation
from kantor.app.options import Flag, Options

DEFAULT_COUNT = 10_000


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Options):
    """Options of `kantor evaluate` and `kantor.evaluate`."""

    subject: Annotated[
        str,
        Flag(
            "Run, checkpoint or generator.safetensors; or images: a folder, archive or packed dataset",
            word="model",
            metavar="MODEL|FOLDER",
            complete="runs",
            positional=True,
        ),
    ]
    against: Annotated[
        str | None,
        Flag("Compare with these real images", metavar="DATA", default="the run's training set"),
    ] = None
    metrics: Annotated[
        Sequence[str] | None,
        Flag(
            "Measure these: fd, kid, is, pr, dc, swd, msssim, nn, modes, w2, sinkhorn, critic; or all; see docs/scores.md",
            metavar="LIST",
            parse=units.names,
            default="the usual ones",
        ),
    ] = None
    features: Annotated[
        str, Flag("Extract features with kantor-small, random, or inception:FILE with the weights", metavar="NAME")
    ] = "kantor-small"
    count: Annotated[int, Flag("Take at most N images of each kind: 2000, 10k", metavar="N", parse=units.count)] = (
        DEFAULT_COUNT
    )
    seed: Annotated[int, Flag("Generate other images with another seed", metavar="N", min=0)] = 0
    held_out: Annotated[bool, Flag("Compare with the held-out set")] = False
    compare: Annotated[
        Path | None, Flag("Show what has changed since this scores.json", metavar="FILE", cli_only=True)
    ] = None
    size: Size = None
    crop: Crop = None
    fit: Fit = None
    channels: Channels = None
    max_bad: MaxBad = None
    truncation: Truncation = 1.0
    raw: Raw = False
    checkpoint: Checkpoint = None
    device: Device = "auto"
    runs: Runs = Path("runs")
    cache: Cache = None
    out: Annotated[
        Path | None,
        Flag("Write scores.json and images to this folder", metavar="DIR", default="evaluations in the run"),
    ] = None
    json: Annotated[bool, Flag("Print one JSON object and nothing else", cli_only=True)] = False
    overwrite: Annotated[bool, Flag("Replace an earlier --out")] = False
