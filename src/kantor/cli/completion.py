"""Values that a shell offers after a flag. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin


def presets(incomplete: str) -> list[str]:
    """Names of presets that begin with `incomplete`."""
    from kantor.config.io import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def runs(incomplete: str) -> list[str]:
    """Run directories under runs/, and "latest", that begin with `incomplete`."""
    folders = sorted(str(path.parent) for path in Path("runs").glob("*/config.toml"))
    return [name for name in ["latest", *folders] if name.startswith(incomplete)]


def fields(incomplete: str) -> list[str]:
    """SECTION.FIELD= for --set, of all variants, that begin with `incomplete`."""
    from kantor.config.schema import Config

    return [f"{name}=" for name in sorted(set(_fields(Config))) if name.startswith(incomplete)]


def pack_fields(incomplete: str) -> list[str]:
    """data.FIELD= for --set of kantor pack."""
    return [name for name in fields(incomplete) if name.startswith("data.")]


def _fields(annotation: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields below a section; a table with keys of the user's choice is one field."""
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            below = list(_fields(info.annotation, f"{prefix}{name}."))
            yield from below or [prefix + name]
    elif get_origin(annotation) not in (dict, list):
        for part in get_args(annotation):
            yield from _fields(part, prefix)
