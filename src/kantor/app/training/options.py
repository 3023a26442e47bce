"""Options of `kantor train` and `kantor.train`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from kantor.app import units
from kantor.app.flags import Cache, Channels, Crop, Device, Fit, Labels, MaxBad, Size
from kantor.app.options import Flag, Options
from kantor.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """Options of `kantor train` and `kantor.train`.

    Attributes:
        started_s: time.monotonic() when the invocation began, from which its time budget counts.
    """

    data: Annotated[
        str | None,
        Flag(
            "Folder of images, archive, array, IDX, TFRecord, Parquet or packed dataset",
            metavar="DATA",
            sets="data.source",
            default="glyphs, the built-in letters",
            positional=True,
        ),
    ] = None
    preset: Annotated[
        str, Flag("Start from this preset; kantor presets lists them", metavar="NAME", complete="presets")
    ] = "default"
    config_file: Annotated[
        Path | None,
        Flag("Read a configuration file; a run's config.toml repeats that run", word="config", metavar="FILE"),
    ] = None
    overrides: Annotated[
        Mapping[str, Any],
        Flag(
            "Set any field of the configuration; may be repeated",
            flags=("--set",),
            metavar="SECTION.FIELD=VALUE",
            parse=units.settings,
            type=list[str],
            complete="fields",
        ),
    ] = field(default_factory=dict)
    runs: Annotated[Path, Flag("Write run directories to this folder", flags=("--runs", "--outdir"), metavar="DIR")] = (
        Path("runs")
    )
    name: Annotated[str | None, Flag("Name the run", metavar="NAME", default="data and objective")] = None
    epochs: Annotated[
        float | None, Flag("Train until each image has been shown N times", metavar="N", type=int, min=1)
    ] = None
    images: Annotated[
        int | None,
        Flag("Train until N real images have been shown to the critic: 200000, 200k", metavar="N", parse=units.count),
    ] = None
    kimg: Annotated[float | None, Flag("Train for N thousand images", metavar="N", hidden=True, cli_only=True)] = None
    budget_s: Annotated[
        float | None,
        Flag(
            "Stop after this time: 90s, 10m, 1h30m",
            word="time_budget",
            metavar="T",
            parse=units.duration_s,
            default="5m without a length",
        ),
    ] = None
    batch: Annotated[
        int | Literal["auto"] | None,
        Flag(
            "Show N images in each step; auto measures which is fastest",
            metavar="N",
            parse=units.batch,
            default="the preset's",
        ),
    ] = None
    device: Device = "auto"
    seed: Annotated[
        int | None, Flag("Seed all random numbers", metavar="N", sets="train.seed", min=0, max=2**63 - 1, default="0")
    ] = None
    conditional: Annotated[bool, Flag("Train with class labels", sets="train.conditional")] = False
    mirror: Annotated[bool, Flag("Flip each image left to right with probability one half", sets="data.mirror")] = False
    init_from: Annotated[
        str | None,
        Flag(
            "Initialize the networks from another run, checkpoint or generator.safetensors",
            metavar="MODEL",
            sets="train.init_from",
            parse=units.name,
        ),
    ] = None
    resume: Annotated[
        str | None,
        Flag("Resume a run: its directory, number, name, or latest", metavar="RUN", parse=units.name, complete="runs"),
    ] = None
    compile: Annotated[
        bool,
        Flag(
            "Compile the steps first (half a minute or more), if measured to be faster", sets="train.compile", on="auto"
        ),
    ] = False
    dry_run: Annotated[
        bool, Flag("Print the decisions and exit; images are packed, nothing is trained", cli_only=True)
    ] = False
    tensorboard: Annotated[bool, Flag("Write to tensorboard/ in the run directory too")] = False
    metrics: Annotated[
        Sequence[str] | None,
        Flag(
            "Measure these while training: fd, kid, is, pr, dc, swd, msssim, modes, w2, sinkhorn; or none",
            metavar="LIST",
            sets="score.metrics",
            parse=units.names,
            default="fd,kid,pr",
        ),
    ] = None
    cache: Cache = None
    size: Size = None
    crop: Crop = None
    fit: Fit = None
    channels: Channels = None
    labels: Labels = None
    max_bad: MaxBad = None
    started_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.kimg is None:
            return
        if self.images is not None:
            raise ConfigError("--kimg", "and --images both set the length", "give one of them")
        object.__setattr__(self, "images", units.count(1000 * self.kimg, "--kimg"))
        object.__setattr__(self, "kimg", None)

    @classmethod
    def from_words(cls, words: Mapping[str, Any], as_flags: bool = False) -> Self:
        options = super().from_words(words, as_flags)
        if options.resume is not None:
            for name, is_set in (("preset", options.preset != "default"), ("batch", options.batch == "auto")):
                if is_set:
                    where = f"--{name}" if as_flags else name
                    raise ConfigError(where, "a run resumes with its own configuration", "leave it out")
        return options

    @property
    def fields(self) -> dict[str, Any]:
        """Dotted fields of the configuration that flags and `overrides` set; the latter win."""
        batch = {"train.batch": self.batch} if isinstance(self.batch, int) else {}
        return {**super().fields, **batch, **self.overrides}
