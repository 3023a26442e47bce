"""Registries by name, and the names that users may give to their own parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from kantor.errors import ConfigError, nearest

T = TypeVar("T")
OWN_NAME = r"^[A-Za-z0-9_.-]{1,64}$"


def own_name(name: object, what: str) -> None:
    """Raises ConfigError unless `name` is valid for a user-registered part, which a configuration refers to.

    Args:
        what: the function that registers it, for messages: "critic".
    """
    if not isinstance(name, str):
        raise ConfigError(f"kantor.{what}", "the name is missing", f'call kantor.{what}("NAME", ...)')
    if not re.match(OWN_NAME, name) or name.endswith("\n"):
        do = "use at most 64 letters, digits, _, - and dots"
        raise ConfigError(f"kantor.{what}", f"{name!r} is not a valid name", do)


class Registry(Mapping[str, T], Generic[T]):
    """A mapping by name that refuses duplicates, and suggests the nearest name for an unknown one.

    Args:
        kind: what it holds, for messages: "network".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers an object as `name`."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise ConfigError(name, f"there is no {self.kind} of this name", nearest(name, self._entries))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
