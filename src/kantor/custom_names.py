"""Names of custom parts. `kantor.api` registers them, in nets/custom.py, objectives/objective.py, metrics/extractors.py
and data/sources/python_object.py; each has a dict `REGISTERED`."""

from __future__ import annotations

import re

from kantor.errors import ConfigError

CUSTOM_NAME = r"^[A-Za-z0-9_.-]{1,64}$"


def require_custom_name(name: object, what: str) -> None:
    """Raises ConfigError unless `name` is valid. what: the function that registers it, for messages ("critic")."""
    if not isinstance(name, str):
        raise ConfigError(f"kantor.{what}", "the name is missing", f'call kantor.{what}("NAME", ...)')
    if not re.match(CUSTOM_NAME, name) or name.endswith("\n"):
        do = "use at most 64 letters, digits, _, - and dots"
        raise ConfigError(f"kantor.{what}", f"{name!r} is not a valid name", do)
