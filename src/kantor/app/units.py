"""What people write, as numbers: counts, durations, sizes and lists, from the command line or from Python."""

from __future__ import annotations

import math
import operator
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from kantor.errors import ConfigError

_LONGEST_S = 10 * 365 * 86400
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
LARGEST_COUNT = 2**53
Stop = TypeVar("Stop")
MOST_SEEDS = 1_000_000


def duration_s(value: str | float, where: str) -> float:
    """Seconds: of a number, or of "90s", "10m", "10 min", "1h30m" or "2d"."""
    if isinstance(value, str):
        tidy = value.lower().replace(" ", "")
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])(ec|in|r)?", tidy)
        if not parts or "".join(map("".join, parts)) != tidy:
            raise ConfigError(f"{where} {value}", "is not a duration", "write for example 90s, 10m or 1h30m")
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit, _ in parts)
    else:
        seconds = value
    if not seconds > 0:
        raise ConfigError(f"{where} {value}", "leaves no time", "write for example 10m")
    if seconds > _LONGEST_S:
        raise ConfigError(f"{where} {value}", "is more than ten years", "write for example 12h")
    return seconds


def _images(value: str | float, where: str, unit: int, do: str, least: int = 1) -> int:
    text = str(value).lower().replace("_", "")
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?[km]?", text, re.ASCII):  # 200,000; but 3,5 is no number here
        text = text.replace(",", "")
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?)([km]?)", text, re.ASCII)
    if match is None:
        raise ConfigError(f"{where} {value}", "is not a number", do)
    number = float(match[1]) * _MULTIPLES[match[2]] * unit
    if not least <= number <= LARGEST_COUNT:
        raise ConfigError(f"{where} {value}", "too small" if number < least else "too large", do)
    return int(number)


count = partial(_images, unit=1, do="write for example 200000 or 200k")
"""200000: of a number, or of "200000", "200k" or "0.2M"."""
thousands = partial(_images, unit=1000, do="write for example 200, which is 200,000 images")
"""2500: of 2.5 or "2.5"."""
scored = partial(_images, unit=1, do="use at least 12, for example 2000 or 10k", least=12)
"""10000: of "10k"; at least 12, the fewest images that can be scored."""


def byte_size(text: str, where: str) -> int:
    """Bytes of "20GB" or "500M"."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*([kmgt]?)i?b?\s*", text.lower(), re.ASCII)
    if match is None:
        raise ConfigError(f"{where}={text}", "is not a size", "write for example 20GB")
    return int(float(match[1]) * _MULTIPLES[match[2]])


def batch(value: str | int, where: str) -> int | Literal["auto"]:
    """64, of a number or text; or "auto"."""
    if value == "auto":
        return "auto"
    if not re.fullmatch(r"-?\d{1,18}", str(value)) or int(value) < 2:
        raise ConfigError(f"{where} {value}", "is not a whole number of at least 2", "write for example 64, or auto")
    return int(value)


def slim(value: str | float, where: str) -> float | Literal["auto"]:
    """4, of a number or text; or "auto"."""
    if value == "auto":
        return "auto"
    try:
        divisor = float(value)
    except (TypeError, ValueError):
        divisor = 0.0
    if not 1 <= divisor <= 64:
        raise ConfigError(f"{where} {value}", "is not a number from 1 to 64", "write for example 4, or auto")
    return int(divisor) if divisor.is_integer() else divisor


def seeds(text: str, where: str) -> list[int]:
    """[0, 1, ... 63, 99] of "0-63,99", with commas, blanks or both between them. Order and repetitions are kept."""
    from kantor.sample.latents import LARGEST_SEED  # loads numpy, which --help does without

    example = "write numbers and ranges with commas between them, such as 0-63,99"
    listed: list[int] = []
    ranges = re.sub(r"(?<=[0-9])\s+-\s+(?=[0-9])", "-", text)  # "0 - 63"; but "3 -9" is no range
    for part in (word for between in ranges.split(",") for word in between.split() or [""]):
        match = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", part, re.ASCII)
        if match is None:
            raise ConfigError(where, f'"{part}" is not a seed' if part else "a seed is missing", example)
        first, last = int(match[1]), int(match[2] or match[1])
        if last > LARGEST_SEED:
            raise ConfigError(where, f"{last} is too large for a seed", f"stay below {LARGEST_SEED + 1}")
        if last < first:
            raise ConfigError(where, f'"{part}" runs backwards', f"write {last}-{first}")
        if len(listed) + last - first >= MOST_SEEDS:
            raise ConfigError(where, f"more than {MOST_SEEDS:,} seeds", "ask for fewer at a time")
        listed.extend(range(first, last + 1))
    return listed


def stops(text: str, where: str) -> list[int] | Literal["smooth", "rough"]:
    """Seeds of a walk, or what kind of walk to look for."""
    match text.strip().lower():
        case "smooth" | "rough" as kind:
            return kind
    return seeds(text, where)


def grid(text: str, where: str) -> tuple[int, int]:
    """16 columns, 4 rows of "16x4"."""
    match = re.fullmatch(r"\s*(\d{1,4})\s*[xX×]\s*(\d{1,4})\s*", text, re.ASCII)
    if match is None or not int(match[1]) or not int(match[2]):
        raise ConfigError(where, f'"{text}" is not a grid', "write columns x rows, such as 16x4")
    return int(match[1]), int(match[2])


def colour(text: str, where: str) -> tuple[int, int, int]:
    """(255, 255, 255) of "#ffffff"."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ConfigError(where, f'"{text}" is not a colour', "write it as #rrggbb, such as '#ffffff'")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def places(values: Sequence[Any], where: str) -> list[tuple[float, float]]:
    """[(0.3, 0.6)] of ["0.3,0.6"] or [(0.3, 0.6)]: points (x, y) in [0, 1] from the top left."""
    try:
        return [place(value, where) for value in values]
    except TypeError:  # no list
        raise ConfigError(f"{where} {values}", "is not a list of places", "give [(x, y), ...]") from None


def place(value: str | Sequence[float], where: str) -> tuple[float, float]:
    """(0.3, 0.6) of "0.3,0.6" or (0.3, 0.6): a point (x, y) in [0, 1] from the top left."""
    listed = isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1
    text = ",".join(map(str, value)) if listed else str(value)
    try:
        x, y = map(float, text.split(","))
    except (TypeError, ValueError):
        raise ConfigError(f"{where} {text}", "is not a place", "write X,Y such as 0.3,0.6") from None
    if not (0 <= x <= 1 and 0 <= y <= 1):
        do = "choose X and Y from 0 to 1, counted from the top left"
        raise ConfigError(f"{where} {text}", "lies outside the image", do)
    return x, y


def extents(value: str | float | Sequence[float], where: str) -> tuple[float, float]:
    """(0.2, 0.35) of "0.2-0.35", (0.3, 0.3) of "0.3": shares of a picture's shorter side."""
    parts = re.split(r"(?<=\d)\s*-\s*", value) if isinstance(value, str) else value
    ends: list[Any] = list(parts) if isinstance(parts, list | tuple) else [parts]
    text = value if isinstance(value, str) else "-".join(map(str, ends))
    try:
        low, high = float(ends[0]), float(ends[-1])
    except (TypeError, ValueError):
        low = high = math.nan
    if not low <= high or len(ends) > 2:
        raise ConfigError(f"{where} {text}", "is not an extent", "write a share such as 0.3, or LOW-HIGH: 0.2-0.4")
    if not (low > 0 and high <= 2):
        do = "choose a share of the picture's shorter side above 0, at most 2"
        raise ConfigError(f"{where} {text}", "is out of range", do)
    return low, high


def height_width(text: str | Sequence[int], where: str) -> tuple[int, int]:
    """(48, 96), height and width, of "48x96"; (64, 64) of "64"."""
    match = re.fullmatch(r"(\d{1,5})(?:\s*[xX×]\s*(\d{1,5}))?", str(size(text)).strip(), re.ASCII)
    sides = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(1 <= side <= 8192 for side in sides):
        do = "write height x width, such as 512x768, at most 8192 a side"
        raise ConfigError(f"{where} {size(text)}", "is not a size", do)
    return sides


def extent(text: str | float, where: str) -> float:
    """0.5 of "0.5"."""
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        do = "write a number above 0 and up to 1, which is the whole image, such as 0.5"
        raise ConfigError(f"{where} {text}", "is not an extent", do)
    return share


def stops_of(parse: Callable[[str, str], Stop], text: str, where: str) -> list[Stop]:
    """What "0.2,0.5:0.8,0.5" passes, each part of it parsed."""
    return [parse(part.strip(), where) for part in text.split(":")]


def size(value: Any, where: str = "") -> Any:
    """(48, 96) -> "48x96"; anything else as it is."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else value


def names(value: str | Sequence[str], where: str = "") -> list[str]:
    """ "fd,kid" -> ["fd", "kid"]; "none" -> []; a list as it is, without blanks."""
    parts = value.split(",") if isinstance(value, str) else value
    listed = [part.strip() for part in parts if part.strip()]
    return [] if listed == ["none"] else listed


def texts(value: str | int | Sequence[str | int], where: str = "") -> list[str]:
    """ "A,B" -> ["A,B"], 3 -> ["3"]; a list item by item."""
    return [str(value)] if isinstance(value, str | int) else [str(item) for item in value]


def settings(value: Mapping[str, Any] | Sequence[str], where: str = "") -> dict[str, Any]:
    """Dotted fields with their values: {"critic.width": 32}, also of ["critic.width=32"]."""
    from kantor.config.io import parse_override

    return dict(value) if isinstance(value, Mapping) else dict(parse_override(text) for text in value)


def name(value: Any, where: str = "") -> str:
    """A path or name as text; what has a path, such as a run, by its path."""
    return str(getattr(value, "path", value))


def number(value: Any, where: str, whole: bool, least: float | None, most: float | None) -> float:
    """A number, whole or not, within bounds; None means no bound."""
    try:
        result: float
        if isinstance(value, str):
            result = int(value.removesuffix(".0")) if whole or value.isdigit() else float(value)
        elif isinstance(value, float) and value.is_integer():
            result = int(value) if whole else value
        else:
            result = operator.index(value) if whole else float(value)
    except (TypeError, ValueError):
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"{where} {value}", f"is not {kind}", "write for example 8") from None
    low, high = -sys.float_info.max if least is None else least, sys.float_info.max if most is None else most
    if not low <= result <= high:
        finite = "a smaller number" if least is None else f"a number of at least {low:,}"
        do = f"choose {finite}" if most is None else f"choose a number from {low:,} to {high:,}"
        raise ConfigError(f"{where} {value}", "is out of range", do)
    return result
