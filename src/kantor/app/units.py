"""What people write on command lines, as numbers."""

from __future__ import annotations

import re
from typing import Any

from kantor.errors import ConfigError

_LONGEST_S = 10 * 365 * 86400
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MULTIPLES = {"": 1, "k": 1000, "m": 1_000_000}


def duration_s(text: str, where: str) -> float:
    """Seconds of "90s", "10m", "10 min", "1h30m" or "2d"."""
    tidy = text.lower().replace(" ", "")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])(ec|in|r)?", tidy)
    if not parts or "".join(map("".join, parts)) != tidy:
        raise ConfigError(f"{where} {text}", "is not a duration", "write for example 90s, 10m or 1h30m")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit, _ in parts)
    if seconds <= 0:
        raise ConfigError(f"{where} {text}", "is no time at all", "write for example 10m")
    if seconds > _LONGEST_S:
        raise ConfigError(f"{where} {text}", "is more than ten years", "write for example 12h")
    return seconds


def count(text: str, where: str) -> int:
    """200000 of "200000", "200k" or "0.2M"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([km]?)", text.lower().replace(",", "").replace("_", ""))
    number = float(match[1]) * _MULTIPLES[match[2]] if match else 0.0
    if not 1 <= number <= 2**53:
        raise ConfigError(f"{where} {text}", "is not a number of images", "write for example 200000 or 200k")
    return int(number)


def whole(text: str | None, where: str, least: int) -> int:
    """64 of "64"; nothing below `least`."""
    if text is None or not re.fullmatch(r"-?\d{1,18}", text) or int(text) < least:
        raise ConfigError(
            f"{where} {text}", f"is not a whole number of at least {least}", "write for example 64, or auto"
        )
    return int(text)


def size(value: Any) -> Any:
    """(48, 96) -> "48x96"; what is no tuple stays."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else value


def names(text: str) -> list[str]:
    """ "fd,kid" -> ["fd", "kid"]; "none" -> []."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    return [] if found == ["none"] else found
