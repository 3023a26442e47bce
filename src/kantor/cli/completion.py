"""What a shell offers after a flag, beside the flags themselves. Loads nothing heavy."""

from __future__ import annotations

from pathlib import Path


def presets(incomplete: str) -> list[str]:
    """Names of presets that begin so."""
    from kantor.config.io import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def runs(incomplete: str) -> list[str]:
    """Run directories under runs/ whose path, or number, begins so, and "latest"."""
    found = sorted(str(path.parent) for path in Path("runs").glob("*/config.toml"))
    return [name for name in ["latest", *found] if name.startswith(incomplete)]
