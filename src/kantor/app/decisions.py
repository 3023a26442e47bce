"""Decisions of a run: field, value and reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kantor.config.io import overridden
from kantor.config.schema import Config


@dataclass(frozen=True)
class Filled:
    """A field that was "auto": its value, and why."""

    field: str
    value: Any
    reason: str

    def __str__(self) -> str:
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        value = f"{value:,}" if isinstance(value, int) else value
        return f"{self.field} = {value}: {self.reason}"


def fill(config: Config, values: dict[str, tuple[Any, str]]) -> tuple[Config, list[Filled]]:
    """`config` with dotted fields replaced, and the list of what was filled."""
    config = overridden(config, {name: value for name, (value, _) in values.items()})
    return config, [Filled(name, value, reason) for name, (value, reason) in values.items()]
