"""The ledger of a run's decisions: which field has which value, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from kantor.config.io import overridden
from kantor.config.schema import Config


class Decision(NamedTuple):
    """A field of the configuration, or a fact about the run, with its value and the reason for it.

    Attributes:
        announced: whether the user should read it before the run.
    """

    field: str
    value: Any
    reason: str
    announced: bool = True

    @property
    def value_text(self) -> str:
        if isinstance(self.value, bool):
            return str(self.value).lower()
        if isinstance(self.value, float):
            return f"{self.value:g}"
        return f"{self.value:,}" if isinstance(self.value, int) else str(self.value)

    def __str__(self) -> str:
        return f"{self.field} = {self.value_text}: {self.reason}"


class Decisions:
    """A configuration decided field by field.

    Attributes:
        config: with the decisions made so far; other fields may be "auto".
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.entries: list[Decision] = []

    def set(self, field: str, value: Any, reason: str, announce: bool = True) -> None:
        """Sets a dotted field ("train.batch") of the configuration."""
        self.config = overridden(self.config, {field: value})
        self.record(field, value, reason, announce)

    def record(self, name: str, value: Any, reason: str, announce: bool = True) -> None:
        """Records a fact that has no field in the configuration, such as "threads"."""
        self.entries = [entry for entry in self.entries if entry.field != name]
        self.entries.append(Decision(name, value, reason, announce))

    def add(self, config: Config, decided: Iterable[Decision]) -> None:
        """Replaces the configuration by one derived from it, and records the decisions that led there."""
        self.config = config
        for decision in decided:
            self.record(*decision)

    def table(self, all_of_them: bool = False) -> list[str]:
        """Lines of field, value and reason, of what is announced or of all."""
        rows = [(e.field, e.value_text, e.reason) for e in self.entries if e.announced or all_of_them]
        name_width, value_width = (max((len(row[i]) for row in rows), default=0) for i in (0, 1))
        return [f"{name:<{name_width}}  {value:<{value_width}}  {why}".rstrip() for name, value, why in rows]
