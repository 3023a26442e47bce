"""The ledger of a run's decisions: which field has which value, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kantor.config.io import overridden
from kantor.config.schema import Config


class Decision(NamedTuple):
    """A field of the configuration, or a fact about the run, with its value and the reason for it."""

    field: str
    value: Any
    reason: str

    @property
    def value_text(self) -> str:
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return f"{self.value:,}" if isinstance(self.value, int) else str(self.value)

    def __str__(self) -> str:
        return f"{self.field} = {self.value_text}: {self.reason}"


class Decisions:
    """A configuration decided field by field. str() is a table of all decisions.

    Args:
        announce: called with a line for each decision that the user should read as it is made.

    Attributes:
        config: with the decisions made so far; other fields may be "auto".
    """

    def __init__(self, config: Config, announce: Callable[[str], None] | None = None) -> None:
        self.config, self._announce = config, announce
        self.entries: list[Decision] = []

    def set(self, field: str, value: Any, reason: str, announce: bool = True) -> None:
        """Sets a dotted field ("train.batch") of the configuration."""
        self.config = overridden(self.config, {field: value})
        self.record(field, value, reason, announce)

    def record(self, name: str, value: Any, reason: str, announce: bool = True) -> None:
        """Records a fact that has no field in the configuration, such as "threads"."""
        decision = Decision(name, value, reason)
        self.entries = [entry for entry in self.entries if entry.field != name] + [decision]
        if announce and self._announce:
            self._announce(str(decision))

    def add(self, config: Config, decided: Iterable[Decision]) -> None:
        """Replaces the configuration by one derived from it, and records the decisions that led there."""
        self.config = config
        for decision in decided:
            self.record(*decision)

    def __str__(self) -> str:
        rows = [(entry.field, entry.value_text, entry.reason) for entry in self.entries]
        name_width, value_width = (max((len(row[i]) for row in rows), default=0) for i in (0, 1))
        return "\n".join(f"{name:<{name_width}}  {value:<{value_width}}  {why}".rstrip() for name, value, why in rows)
