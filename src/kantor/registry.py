"""Names to things: networks, objectives, sources."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from kantor.errors import ConfigError, nearest

T = TypeVar("T")
OWN_NAME = r"^[A-Za-z0-9_.-]{1,64}$"


def own_name(name: object, what: str) -> None:
    """Raises ConfigError unless a part of the user's own may be called so: a configuration names it."""
    if not isinstance(name, str):
        raise ConfigError(f"kantor.{what}", "a name is missing", f'give one: kantor.{what}("NAME", ...)')
    if not re.match(OWN_NAME, name) or name.endswith("\n"):
        raise ConfigError(f"kantor.{what}", f"{name!r} is no name", "use letters, digits, _, - and dots, 64 at most")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping that refuses duplicates and helps with names that it does not know.

    Args:
        kind: what the things are, for messages: "network".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: `name` stands for the decorated thing from now on."""

        def add(thing: T) -> T:
            if name in self._things:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._things[name] = thing
            return thing

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            raise ConfigError(name, f"there is no {self.kind} of this name", nearest(name, self._things))
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)
