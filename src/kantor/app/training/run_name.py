"""The name of a run that the user gives none."""

from __future__ import annotations

from pathlib import Path

from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.data.sources.python_object import PREFIX
from kantor.objectives.objective import name_of


def run_name(config: Config, preset: str) -> str:
    """Names a run by data and preset, or by data and objective if the preset is the default or its objective changed."""
    source = Path(config.data.source.removeprefix(PREFIX))
    data = source.name.partition(".")[0] if source.is_file() else source.name
    by_objective = preset == "default" or resolve(preset).objective.kind != config.objective.kind
    return f"{data or 'data'}-{name_of(config.objective) if by_objective else preset}"
