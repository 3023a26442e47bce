"""Whether a run of the very same configuration is there already, so that going on with it can be offered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kantor.app import environment
from kantor.app.training.resume import MAY_CHANGE
from kantor.config.io import difference, layered, read_toml
from kantor.config.schema import Config
from kantor.errors import UserError
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory

LENGTHS = ("train.images", "train.epochs")
_FILLED_LATER = "ema.warmup"  # where weights are taken over


@dataclass(frozen=True)
class Begun:
    """A run that was begun earlier, and where it stands."""

    path: Path
    images_seen: int

    @property
    def line(self) -> str:
        return (
            f"{self.path} has the same configuration and has seen {self.images_seen:,} images; "
            f"--resume {int(self.path.name.partition('-')[0])} goes on with it"
        )


def begun_before(config: Config, fingerprint: str, runs: Path) -> Begun | None:
    """The newest run in `runs` with this configuration, but for lengths and intervals, on these images.

    Args:
        config: before lengths and intervals are filled.
        fingerprint: of the packed images.
    """
    for run in reversed(directory.listed(runs)):
        try:
            known = environment.read(run / directory.ENVIRONMENT)
            if known.get("data_fingerprint") != fingerprint:
                continue
            old = layered(Config(), read_toml(run / directory.CONFIG), str(run))
            if difference(old, config).keys() - {*MAY_CHANGE, *LENGTHS, _FILLED_LATER}:
                continue
            newest, _ = checkpoints.last(run / directory.CHECKPOINTS)  # which reads it whole
        except UserError:  # of another version, or damaged: no concern of a new run
            continue
        if newest is not None:
            return Begun(run, int(newest.name))
    return None
