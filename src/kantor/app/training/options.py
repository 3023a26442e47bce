"""Options of `kantor train` and `kantor.train`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from kantor.app import units
from kantor.app.flags import DeviceOptions, LabelledDataOptions
from kantor.app.options import option
from kantor.errors import ConfigError

MOST_SEEDS = 64
"""Runs in a series."""

# What the user reads is on one line, what Kantor does with it on the next.
# fmt: off


@dataclass(frozen=True, kw_only=True)
class TrainOptions(DeviceOptions, LabelledDataOptions):
    """Options of `kantor train` and `kantor.train`."""

    data: str | None = option(
        "Folder of images, archive, file of arrays or records, or packed dataset", "DATA",
        sets="data.source", positional=True, otherwise="glyphs, the built-in letters",
    )
    preset: str = option(
        "Start from this preset; kantor presets lists them", "NAME", default="default", complete="presets",
    )
    config_file: Path | None = option(
        "Read a configuration file; a run's config.toml repeats that run", "FILE", word="config",
    )
    overrides: Mapping[str, Any] = option(
        "Set any field of the configuration; may be repeated", "SECTION.FIELD=VALUE",
        default_factory=dict, flags=("--set",), parse=units.settings, repeat=True, complete="fields",
    )
    runs: Path = option(
        "Write run directories to this folder", "DIR", default=Path("runs"), flags=("--runs", "--outdir"),
    )
    name: str | None = option("Name the run", "NAME", otherwise="data and objective")
    epochs: float | None = option("Train until each image has been shown N times", "N", min=1)
    images: int | None = option(
        "Train until N real images have been shown to the critic: 200000, 200k", "N", parse=units.count,
    )
    kimg: int | None = option("Train for N thousand images", "N", parse=units.thousands, hidden=True, cli_only=True)
    budget_s: float | None = option(
        "Stop after this time: 90s, 10m, 1h30m", "TIME",
        word="time_budget", parse=units.duration_s, otherwise="5m if no length is given",
    )
    batch: int | Literal["auto"] | None = option(
        "Batch size: images in each step; auto measures which is fastest", "N", parse=units.batch, otherwise="the preset's",
    )
    slim: float | Literal["auto"] | None = option(
        "Divide every hidden width of both networks by N; auto chooses by device and time budget", "N",
        parse=units.slim, otherwise="1",
    )
    seed: int | None = option("Random seed", "N", sets="train.seed", min=0, max=2**63 - 1, otherwise="0")
    seeds: Sequence[int] | None = option(
        "Train a run with each of these seeds, one after another: 1,2,3; again, to go on", "LIST", parse=units.seeds, cli_only=True,
    )
    conditional: bool = option("Train with class labels", default=False, sets="train.conditional")
    guide: str | Sequence[str] | None = option(
        "Guide the generator by the subject's colour, place, extent: generate can then be asked for them", "LIST",
        sets="guide.controls", otherwise="none",
    )
    mirror: bool = option("Flip each image left to right with probability one half", default=False, sets="data.mirror")
    init_from: str | None = option(
        "Initialize the networks from another run, checkpoint or generator.safetensors", "MODEL",
        sets="train.init_from", parse=units.name,
    )
    keep_counters: bool = option(
        "Go on from the run of --init-from with these changes: its images, optimizers, schedules and configuration", default=False,
        sets="train.keep_counters",
    )
    resume: str | None = option(
        "Resume a run: its directory, number, name, or latest", "RUN", parse=units.name, complete="runs",
    )
    compile: bool = option(
        "Compile the training steps (half a minute or more), and use them if they are faster", default=False,
    )
    dry_run: bool = option(
        "Print the decisions and exit; images are packed, nothing is trained", default=False, cli_only=True,
    )
    tensorboard: bool = option("Also log to TensorBoard, in tensorboard/ in the run directory", default=False)
    metrics: Sequence[str] | None = option(
        "Metrics to measure during training: fd, mind, cdc, kid, is, pr, dc, swd, msssim, modes, w2, sinkhorn; or none", "LIST",
        sets="score.metrics", parse=units.names, otherwise="fd,kid,pr",
    )
    started_s: float = field(default_factory=time.monotonic)  # from which the time budget counts
    in_series: bool = False  # one of several runs that differ in their seeds

    def __post_init__(self) -> None:
        lengths = [f"--{name}" for name in ("kimg", "images", "epochs") if getattr(self, name) is not None]
        if len(lengths) > 1:
            raise ConfigError(" and ".join(lengths[:2]), "both set the length", "give only one")
        self._check_seeds()
        object.__setattr__(self, "images", self.images or self.kimg)
        object.__setattr__(self, "kimg", None)

    def _check_seeds(self) -> None:
        """Raises ConfigError if `seeds` cannot be what repeats are made with."""
        if self.seeds is None:
            return
        for flag, given in (("--seed", self.seed is not None), ("--resume", self.resume is not None)):
            if given:
                raise ConfigError("--seeds", f"cannot be combined with {flag}", "give one of them")
        if "train.seed" in self.overrides:
            raise ConfigError("--seeds", "cannot be combined with --set train.seed", "give one of them")
        if len({*self.seeds}) < len(self.seeds):
            raise ConfigError("--seeds", "names a seed twice", "give each once")
        if len(self.seeds) > MOST_SEEDS or max(self.seeds) >= 2**63:
            what = f"has more than {MOST_SEEDS} seeds" if len(self.seeds) > MOST_SEEDS else "has a seed that is too large"
            raise ConfigError("--seeds", what, "write for example 1,2,3")

    @classmethod
    def from_words(cls, words: Mapping[str, Any], as_flags: bool = False) -> Self:
        options = super().from_words(words, as_flags)
        if options.preset != "default" and options.resume is not None:
            raise ConfigError("--preset" if as_flags else "preset", "a run resumes with its own configuration", "leave it out")
        return options

    @property
    def fields(self) -> dict[str, Any]:
        """Dotted fields of the configuration that flags and `overrides` set; the latter win."""
        fields = super().fields
        if isinstance(self.batch, int):
            fields["train.batch"] = self.batch
        if self.slim is not None:
            fields |= {"generator.slim": self.slim, "critic.slim": self.slim}
        if self.compile:
            fields["train.compile"] = "auto"
        return {**fields, **self.overrides}
