"""Values that a shell offers after a flag. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel


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


def _fields(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in section.model_fields.items():
        parts = list(_sections(info.annotation))
        if not parts:
            yield prefix + name
        for part in parts:
            yield from _fields(part, f"{prefix}{name}.")


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a field of this type can hold; tables with keys of the user's choice have none."""
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif getattr(annotation, "__origin__", None) not in (dict, list):
        for part in get_args(annotation):
            yield from _sections(part)
