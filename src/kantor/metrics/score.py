"""A score with its interval, a set of scores with their provenance, and what may be compared with what."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kantor.errors import ConfigError, DataError, nearest
from kantor.metrics.bootstrap import Interval

T = TypeVar("T")
LOWER, HIGHER = "lower", "higher"
BETTER = {
    **dict.fromkeys(("fd", "kid", "swd", "w2", "sinkhorn", "modes_kl", "copied", "held_out_gap"), LOWER),
    **dict.fromkeys(("is", "precision", "recall", "density", "coverage", "modes"), HIGHER),
}
"""Which way is better. Of the others neither is: they are read beside what real images get."""
FREE = ("model", "images_seen", "seed", "truncation", "reference_part")
"""What may differ between the provenances of any two numbers that are compared."""
PARTIAL = {"modes": "modes", "pairs": "msssim"}
"""What matters to one kind of number only, which this names."""
_REMEDIES = {
    "extractor": "give both the same --features",
    "extractor_sha256": "measure both with the same weights of the features",
    "pictures": "bring both to one size; models of different sizes cannot be compared",
    "drawn": "give both the same --count",
    "reals": "give both the same --count and --against",
    "reference": "give both the same real images with --against",
}


@dataclass(frozen=True)
class Score:
    """One number.

    Attributes:
        interval: its 95 % interval over the drawn images.
        reals: what real images get in their place, measured in the same way: the best that can be hoped for.
        of: the most that there can be, for a number of modes.
    """

    value: float
    interval: Interval | None = None
    reals: float | None = None
    of: int | None = None

    def __str__(self) -> str:
        ends = "" if self.interval is None else f" ({self.interval[0]:.4g} to {self.interval[1]:.4g})"
        of = "" if self.of is None else f" of {self.of}"
        return f"{self.value:.4g}{of}{ends}" + ("" if self.reals is None else f", reals {self.reals:.4g}")

    def as_json(self) -> dict[str, Any]:
        """Finite numbers only: what is not is None."""
        found: dict[str, Any] = {"value": _finite(self.value)}
        if self.interval is not None:
            found["interval"] = [_finite(end) for end in self.interval]
        if self.reals is not None:
            found["reals"] = _finite(self.reals)
        if self.of is not None:
            found["of"] = self.of
        return found

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Score:
        """The opposite. Raises KeyError, TypeError or ValueError where `data` is none."""
        ends = data.get("interval")
        reals, of = data.get("reals"), data.get("of")
        return Score(
            _number(data["value"]),
            None if ends is None else (_number(ends[0]), _number(ends[1])),
            None if reals is None else _number(reals),
            None if of is None else int(of),
        )


class ByName(dict[str, T]):
    """A dictionary in which [] takes a name without the part behind the @, where that is clear."""

    def __missing__(self, name: str) -> T:
        found = [key for key in self if key.partition("@")[0] == name]
        if len(found) != 1:
            several = f"is measured with several: {', '.join(found)}"
            raise KeyError(f"{name!r} {several if found else f'was not measured; {nearest(str(name), self)}'}")
        return self[found[0]]


@dataclass(frozen=True)
class Scores(Mapping[str, Score]):
    """Numbers by name, "fd@kantor-small", with all that they depend on.

    A name without the part behind the @ is enough where it is the only one: scores["fd"].

    Attributes:
        provenance: extractor, its digest, resize, numbers of images, reference, seed ... as JSON values.
    """

    scores: Mapping[str, Score]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Score:
        return ByName(self.scores)[name]

    def __contains__(self, name: object) -> bool:
        try:
            return self[str(name)] is not None
        except KeyError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def as_json(self) -> dict[str, Any]:
        """{"metrics": {name: {"value": ..., "interval": [...]}}, "provenance": {...}}."""
        metrics = {name: score.as_json() for name, score in self.scores.items()}
        return {"metrics": metrics, "provenance": dict(self.provenance)}

    def __str__(self) -> str:
        """A line a score."""
        width = max(map(len, self.scores), default=0)
        return "\n".join(f"{name.ljust(width)}  {one}" for name, one in self.scores.items())

    @staticmethod
    def read(path: str | Path) -> Scores:
        """Those in a scores.json, or that `kantor evaluate --json` printed. Raises DataError where there are none."""
        do = "name a scores.json, or what kantor evaluate --json printed"
        try:
            return Scores.from_json(json.loads(Path(path).read_bytes()))
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})", do) from error
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise DataError(path, "holds no scores", do) from error

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Scores:
        """Of what `as_json` gives. Raises KeyError, TypeError, AttributeError or ValueError where `data` is none."""
        return Scores(
            {str(name): Score.from_json(one) for name, one in data["metrics"].items()}, dict(data["provenance"])
        )

    def compare(self, other: Scores) -> ByName[Comparison]:
        """These numbers beside those of `other`, for each name that both have.

        Raises:
            ConfigError: they were not measured in the same way.
        """
        shared = [name for name in self.scores if name in other.scores]
        if not shared:
            what = f"none of these was measured in both: {', '.join(self.scores)}; and {', '.join(other.scores)}"
            raise ConfigError("scores", what, "give both the same --metrics")
        require_alike(self.provenance, other.provenance, free_for(*shared))
        return ByName({name: _compared(name, self.scores[name], other.scores[name]) for name in shared})


@dataclass(frozen=True)
class Comparison:
    """One number beside another.

    Attributes:
        difference: this minus the other.
        interval: 95 %, from both intervals; None where one is unknown.
        verdict: "better", "worse", "no clear difference", or "" where neither way is better.
    """

    difference: float
    interval: Interval | None
    verdict: str

    def as_json(self) -> dict[str, Any]:
        ends = None if self.interval is None else [_finite(end) for end in self.interval]
        return {"difference": _finite(self.difference), "interval": ends, "verdict": self.verdict}


def free_for(*names: str) -> set[str]:
    """What may differ between the provenances of two numbers of these names."""
    return {*FREE, *(part for part, only in PARTIAL.items() if not any(name.startswith(only) for name in names))}


def require_alike(mine: Mapping[str, Any], other: Mapping[str, Any], free: Set[str]) -> None:
    """Raises ConfigError unless numbers of these two provenances may be compared.

    Args:
        free: what may differ.
    """
    names = sorted((mine.keys() | other.keys()) - free)
    unlike = [name for name in names if mine.get(name) != other.get(name)]
    if unlike:
        told = "; ".join(f"{name}: {_short(mine.get(name))} and {_short(other.get(name))}" for name in unlike[:3])
        do = next((do for name, do in _REMEDIES.items() if name in unlike), "measure both in the same way")
        raise ConfigError("scores", f"cannot be compared, they were not measured alike ({told})", do)


def kind(name: str) -> str:
    """ "swd_16@pixels" -> "swd"."""
    return re.sub(r"_\d+$", "", name.partition("@")[0])


def _compared(name: str, mine: Score, other: Score) -> Comparison:
    """Two independent numbers: the squares of the half widths add up."""
    difference = mine.value - other.value
    way = BETTER.get(kind(name))
    if mine.interval is None or other.interval is None:
        return Comparison(difference, None, "")
    below = math.hypot(mine.value - mine.interval[0], other.interval[1] - other.value)
    above = math.hypot(mine.interval[1] - mine.value, other.value - other.interval[0])
    ends = difference - below, difference + above
    if way is None:
        return Comparison(difference, ends, "")
    if ends[0] <= 0 <= ends[1]:
        return Comparison(difference, ends, "no clear difference")
    return Comparison(difference, ends, "better" if (difference < 0) == (way == LOWER) else "worse")


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
