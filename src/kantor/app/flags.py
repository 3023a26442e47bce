"""Options that several jobs share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kantor.app import units
from kantor.app.options import Options, option

# What the user reads is on one line, what Kantor does with it on the next.
# fmt: off


@dataclass(frozen=True, kw_only=True)
class DeviceOptions(Options):
    """Where to compute."""

    device: str = option("Device: auto, cpu, cuda, cuda:1 or mps", "NAME", default="auto")


@dataclass(frozen=True, kw_only=True)
class RunsOptions(Options):
    """Where runs lie."""

    runs: Path = option("Look for runs, by name or number, in this folder", "DIR", default=Path("runs"))


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(DeviceOptions, RunsOptions):
    """How to generate images."""

    truncation: float = option(
        "Move latents towards the mean: below 1, images are more typical and less diverse", "X",
        default=1.0, min=0, max=4,
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions(SamplingOptions):
    """Which weights of a run to use."""

    raw: bool = option(
        "Use the weights of the newest checkpoint, or of --checkpoint, instead of their EMA", default=False,
    )
    checkpoint: int | None = option(
        "Use an older checkpoint of the run, by its number of images", "IMAGES",
        otherwise="the best by score, else the newest",
    )


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """How the images of a source become those of a dataset."""

    size: str | None = option(
        "Resize images to SIZE: 64, or height x width: 48x96", "SIZE",
        sets="data.size", parse=units.size, otherwise="auto: for training, 64 (32 on a CPU) or that of small images",
    )
    crop: int | None = option(
        "Cut an N x N square from the middle first; 0 cuts nothing", "N", sets="data.crop", min=0, otherwise="off",
    )
    fit: str | None = option(
        "Choose how images of another shape fit: cover (cut), contain (pad), stretch, replicate or mirror (pad)",
        "MODE", sets="data.fit", otherwise="cover",
    )
    channels: str | None = option(
        "Convert images: auto, gray, rgb or rgba", "KIND", sets="data.channels", otherwise="auto",
    )
    max_bad: str | float | None = option(
        "Tolerate this fraction of unreadable images", "FRACTION", sets="data.max_bad", otherwise="1%",
    )
    cache: Path | None = option("Keep packed images in this folder", "DIR", otherwise="the user's cache folder")


@dataclass(frozen=True, kw_only=True)
class LabelledDataOptions(DataOptions):
    """How a source becomes a dataset with classes."""

    labels: str | None = option(
        "Read classes: auto (sub-folders), none, or a file of labels: FILE or FILE:COLUMN", "LABELS", sets="data.labels", otherwise="auto",
    )
