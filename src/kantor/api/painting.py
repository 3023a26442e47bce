"""A painter's pipeline from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kantor.app import units
from kantor.app.sampling.pipeline import painted
from kantor.engine.device import choose_device
from kantor.types import Images


def paint(
    pipeline: str | Path,
    seeds: Sequence[int] = range(16),
    *,
    truncation: float = 1.0,
    runs: str | Path = "runs",
    device: str = "cpu",
) -> list[dict[str, Images]]:
    """Runs the stages of a pipeline, as `kantor paint PIPELINE.toml` does, and writes nothing.

    Args:
        pipeline: a TOML file of stages.
        seeds: of the paintings; what a stage makes of one does not depend on the others.
        truncation: below 1, what models generate is more typical and less diverse.
        runs: folder in which models that are named without a path are looked for.
    Returns:
        For each seed what each stage made, by its name, in order: uint8 [H, W, C].
    Raises:
        ConfigError, DataError, ModelError, ResourceError: as on the command line; they name the stage.
    """
    truncation = units.number(truncation, "truncation", False, 0, 4)
    return painted(Path(pipeline), [int(seed) for seed in seeds], Path(runs), truncation, choose_device(device))
