"""What two equal runs have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TIME_COLUMNS = ("seconds", "images_per_second")


def results_of(run: Path) -> dict[str, Any]:
    """Everything that two equal runs have in common."""
    last = sorted((run / "checkpoints").iterdir())[-1]
    values = json.loads((last / "state.json").read_text())
    del values["listeners"]  # offsets into files with times in them
    for name in ("elapsed_s", "tick_elapsed_s"):
        del values["counters"][name]
    header, *rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    timeless = [i for i, name in enumerate(header) if name not in TIME_COLUMNS]
    files = [last / "model.safetensors", last / "optimizer.safetensors", run / "generator.safetensors"]
    files += sorted(run.glob("samples/**/*.png"))
    found = {str(path.relative_to(run)): path.read_bytes() for path in files}
    return found | {"state": values, "metrics": [[row[i] for i in timeless] for row in [header, *rows]]}


def assert_same(run: Path, wanted: dict[str, Any]) -> None:
    found = results_of(run)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
