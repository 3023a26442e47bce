"""Packing for its own sake."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kantor.app.data import Progress, default_side, look, report_lines
from kantor.config.io import resolve
from kantor.data.pack import pack
from kantor.data.store import is_packed
from kantor.engine.device import choose_device
from kantor.errors import ConfigError


def pack_source(overrides: Mapping[str, Any], out: Path, overwrite: bool, progress: Progress) -> list[str]:
    """Packs the source that `overrides` name into the folder `out`.

    Returns:
        Lines for the user: what was chosen, how many pictures, what was left out.
    """
    config = resolve(overrides=overrides)
    source_path = Path(config.data.source)
    if is_packed(source_path):
        raise ConfigError(config.data.source, "is a packed set already", "train on it as it is")
    if source_path.is_dir() and out.absolute().is_relative_to(source_path.absolute()):
        raise ConfigError(f"--out {out}", "lies inside the folder of pictures", "choose a folder elsewhere")
    lines: list[str] = []
    config, spec, source, listing, filled = look(config, default_side(choose_device("auto").type), lines.append)
    report = pack(source, config.data, spec, out, overwrite=overwrite, progress=progress, listing=listing)
    return lines + [str(one) for one in filled] + report_lines(report)
