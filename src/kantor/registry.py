"""Names under which users register their own parts."""

from __future__ import annotations

import re

from kantor.errors import ConfigError

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
