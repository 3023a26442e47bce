"""What a user asks of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kantor.app import units
from kantor.app.evaluation.options import feature_names
from kantor.app.flags import DeviceOptions, RunsOptions
from kantor.app.options import option

# What the user reads is on one line, what Kantor does with it on the next.
# fmt: off


@dataclass(frozen=True, kw_only=True)
class CompareOptions(DeviceOptions, RunsOptions):
    """Options of `kantor compare` and `kantor.compare`."""

    named: Sequence[str] = option(
        "Two or more runs: directories, numbers or names", "RUN",
        required=True, repeat=True, complete="runs", positional=True,
    )
    against: str | None = option(
        "Measure all models afresh, against these real images", "DATA", otherwise="the scores that the runs have",
    )
    metrics: Sequence[str] | None = option(
        "Measure these, with --against: fd, kid, pr ...; see kantor evaluate", "LIST", parse=units.names, otherwise="fd,kid,pr",
    )
    features: Sequence[str] | None = option(
        "Extract features with this network, with --against; see kantor evaluate", "LIST", parse=feature_names, otherwise="kantor-small",
    )
    count: int | None = option(
        "Take at most N images of each kind, with --against: 2000, 10k", "N", parse=units.scored, otherwise="10,000",
    )
    cache: Path | None = option("Keep packed images in this folder", "DIR", otherwise="the user's cache folder")
    out: Path | None = option("Write the comparison to this new folder", "DIR", otherwise="comparisons/00000 beside the runs, or the next number")
