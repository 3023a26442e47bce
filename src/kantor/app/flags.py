"""Options that several jobs share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kantor.app import units
from kantor.app.options import Options, option
from kantor.errors import ConfigError

Moment = Literal["newest", "best"] | int | None
"""A checkpoint of a run: the newest, the best by its score, or that after so many images; None: the one that it keeps."""

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
    """Which weights of a run to use, of which moment."""

    raw: bool = option("Use the raw weights of the same moment, instead of their EMA", default=False)
    newest: bool = option("Use the newest checkpoint of the run", default=False)
    best: bool = option("Use the checkpoint with the best score", default=False)
    checkpoint: int | None = option(
        "Use an older checkpoint of the run, by its number of images", "IMAGES",
        otherwise="the best by score, or the newest while no score chooses",
    )

    def __post_init__(self) -> None:
        """Raises ConfigError if more than one moment of the run is named."""
        if len(self.moment_flags) > 1:
            first, *others = self.moment_flags
            raise ConfigError(first, f"cannot be combined with {others[0]}", "give one of them")

    @property
    def moment(self) -> Moment:
        """Which checkpoint to use; None for the one that the run keeps."""
        return "newest" if self.newest else "best" if self.best else self.checkpoint

    @property
    def moment_flags(self) -> list[str]:
        """The flags given that name a moment of the run."""
        given = {"--newest": self.newest, "--best": self.best, "--checkpoint": self.checkpoint is not None}
        return [flag for flag, is_set in given.items() if is_set]


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

    objects: str | None = option(
        "Cut images into their objects, with transparency: none, auto, parts or saliency; or keep where these stand: layout",
        "KIND",
        sets="data.objects", otherwise="none",
    )
    labels: str | None = option(
        "Read classes: auto (sub-folders), none, or a file of labels: FILE or FILE:COLUMN", "LABELS", sets="data.labels", otherwise="auto",
    )
