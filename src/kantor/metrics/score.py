"""A score with its interval, scores with their provenance, and which of them can be compared."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kantor.errors import ConfigError, DataError, nearest
from kantor.metrics.bootstrap import Interval

T = TypeVar("T")
LOWER, HIGHER = "lower", "higher"
BETTER = {
    **dict.fromkeys(("fd", "mind", "kid", "swd", "w2", "sinkhorn", "modes_kl", "copied", "held_out_gap"), LOWER),
    **dict.fromkeys(
        (
            "is",
            "precision",
            "recall",
            "density",
            "coverage",
            "clipped_density",
            "clipped_coverage",
            "modes",
            "controls",
        ),
        HIGHER,
    ),
}
"""Which way is better. Other scores are only compared with those of real images."""
INTRA = "intra_"
"""Before the name of a score that is the mean over classes, each against its own real images."""
MAY_DIFFER = ("model", "images_seen", "raw", "seed", "truncation", "reference_part", "class_shares", "count")
"""Keys of the provenance that may differ between scores that are compared."""
RELEVANT_TO = {"modes": "modes", "pairs": "msssim"}
"""Keys of the provenance that matter to one kind of score only, which is the value."""
_REMEDIES = {
    "extractor": "give both the same --features",
    "extractor_sha256": "measure both with the same weights of the features",
    "classes": "give both the same --class",
    "per_class": "measure both with --per-class, or none",
    "images": "bring both to one size; models of different sizes cannot be compared",
    "drawn": "give both the same --count",
    "reals": "give both the same --count and --against",
    "reference": "give both the same real images with --against",
}


@dataclass(frozen=True)
class Score:
    """One score.

    Attributes:
        interval: its 95% interval over the generated images.
        reals: what real images score in place of generated ones: the best a generator can hope for.
        of: the number of all modes, for a number of modes.
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
        """As JSON values; numbers that are not finite become None."""
        data: dict[str, Any] = {"value": _finite(self.value)}
        if self.interval is not None:
            data["interval"] = [_finite(end) for end in self.interval]
        if self.reals is not None:
            data["reals"] = _finite(self.reals)
        if self.of is not None:
            data["of"] = self.of
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Score:
        """Inverse of `as_json`. Raises KeyError, TypeError or ValueError if `data` is not a score."""
        ends, reals, of = data.get("interval"), data.get("reals"), data.get("of")
        return Score(
            _number(data["value"]),
            None if ends is None else (_number(ends[0]), _number(ends[1])),
            None if reals is None else _number(reals),
            None if of is None else int(of),
        )


class ByName(dict[str, T]):
    """A dictionary in which [] takes a name without its @part, if that is unambiguous apart from `more_features`."""

    def __init__(self, values: Mapping[str, T], more_features: Collection[str] = ()) -> None:
        super().__init__(values)
        self._more_features = more_features

    def __missing__(self, name: str) -> T:
        matches = [key for key in self if key.partition("@")[0] == name]
        main = [key for key in matches if key.partition("@")[2] not in self._more_features]
        matches = main if len(main) == 1 else matches
        if len(matches) != 1:
            several = f"is measured with several: {', '.join(matches)}"
            raise KeyError(f"{name!r} {several if matches else f'was not measured; {nearest(str(name), self)}'}")
        return self[matches[0]]


@dataclass(frozen=True)
class Scores(Mapping[str, Score]):
    """Scores by name, "fd@kantor-small", with everything they depend on.

    A name without its @part is enough if it is unambiguous: scores["fd"]. Where several networks gave features, it is
    that of the first.

    Attributes:
        provenance: extractor, its digest, resize, numbers of images, reference, seed ... as JSON values. "more_features"
            has, by name of each further extractor, the keys that differ for it.
        per_class: scores of each class alone, if `scores` are means over classes.
    """

    scores: Mapping[str, Score]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    per_class: Mapping[str, Scores] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Score:
        return ByName(self.scores, self.provenance.get("more_features", ()))[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def as_json(self) -> dict[str, Any]:
        """{"metrics": {name: {"value": ..., "interval": [...]}}, "provenance": {...}}."""
        metrics = {name: score.as_json() for name, score in self.scores.items()}
        found = {"metrics": metrics, "provenance": dict(self.provenance)}
        classes = {name: scores.as_json() for name, scores in self.per_class.items()}
        return {**found, "per_class": classes} if classes else found

    def __str__(self) -> str:
        """One line per score."""
        width = max(map(len, self.scores), default=0)
        return "\n".join(f"{name.ljust(width)}  {score}" for name, score in self.scores.items())

    @staticmethod
    def read(path: str | Path) -> Scores:
        """Reads a scores.json, or what `kantor evaluate --json` printed. Raises DataError if it cannot."""
        do = "name a scores.json, or what kantor evaluate --json printed"
        try:
            return Scores.from_json(json.loads(Path(path).read_bytes()))
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})", do) from error
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise DataError(path, "holds no scores", do) from error

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Scores:
        """Inverse of `as_json`. Raises KeyError, TypeError, AttributeError or ValueError if `data` has no scores."""
        scores = {str(name): Score.from_json(score) for name, score in data["metrics"].items()}
        provenance = current_names(dict(data["provenance"]))
        more = {str(name): dict(keys) for name, keys in dict(provenance.get("more_features", {})).items()}
        classes = {str(name): Scores.from_json(one) for name, one in dict(data.get("per_class", {})).items()}
        return Scores(scores, {**provenance, **({"more_features": more} if more else {})}, classes)

    def compare(self, other: Scores) -> Comparisons:
        """Differences from the scores of `other`, for each name that both have.

        Raises:
            ConfigError: they were measured differently.
        """
        shared = [name for name in self.scores if name in other.scores]
        if not shared:
            what = f"no score was measured in both: {', '.join(self.scores)}; and {', '.join(other.scores)}"
            raise ConfigError("scores", what, "give both the same --metrics")
        for name in shared:
            mine, theirs = (provenance_of(name, scores.provenance) for scores in (self, other))
            require_comparable(mine, theirs, may_differ_for(name))
        compared = {name: _compared(name, self.scores[name], other.scores[name]) for name in shared}
        return Comparisons(compared, self.provenance.get("more_features", ()))


@dataclass(frozen=True)
class Comparison:
    """The difference between two scores: this minus the other.

    Attributes:
        interval: 95%, from both intervals; None if one is unknown.
        verdict: "better", "worse", "no clear difference", or "" if neither way is better.
    """

    difference: float
    interval: Interval | None
    verdict: str

    def as_json(self) -> dict[str, Any]:
        ends = None if self.interval is None else [_finite(end) for end in self.interval]
        return {"difference": _finite(self.difference), "interval": ends, "verdict": self.verdict}


class Comparisons(ByName[Comparison]):
    """Comparisons by name; [] takes a name without its @part, as `Scores` does."""

    @property
    def disagreement(self) -> str:
        """One line if features disagree: a distance is clearly better with some of them, clearly worse with others."""
        for metric in ("fd", "mind"):
            found = {name: c.verdict for name, c in self.items() if kind(name) == metric}
            better, worse = ([name for name in found if found[name] == verdict] for verdict in ("better", "worse"))
            if better and worse:
                return (
                    f"features disagree: {', '.join(better)} got better, {', '.join(worse)} got worse; "
                    "look at both sets of images before you choose"
                )
        return ""


def current_names(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A provenance of any version with the names of today: "images" were "pictures"."""
    return {"images" if key == "pictures" else key: value for key, value in provenance.items()}


def provenance_of(name: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Of one score: with the keys of its own extractor, or without those if it does not depend on features."""
    space, more = name.partition("@")[2], provenance.get("more_features", {})
    common = {key: value for key, value in provenance.items() if key != "more_features"}
    if space in ("pixels", "critic"):
        return {key: value for key, value in common.items() if key not in ("extractor", "extractor_sha256", "resize")}
    return common | ({"extractor": space, **more[space]} if space in more else {})


def may_differ_for(*names: str) -> set[str]:
    """Keys of the provenance that may differ between two scores of these names."""
    irrelevant = {key for key, metric in RELEVANT_TO.items() if not any(name.startswith(metric) for name in names)}
    return {*MAY_DIFFER, *irrelevant}


def measured_how(name: str, provenance: Mapping[str, Any]) -> str:
    """A text that is equal for scores of this name that can be compared, as `require_comparable` has it."""
    free = may_differ_for(name)
    kept = {key: value for key, value in provenance_of(name, provenance).items() if key not in free}
    return json.dumps(kept, sort_keys=True, default=str)


def require_comparable(mine: Mapping[str, Any], other: Mapping[str, Any], may_differ: Set[str]) -> None:
    """Raises ConfigError if these two provenances differ in a key outside `may_differ`."""
    keys = sorted((mine.keys() | other.keys()) - may_differ)
    unlike = [key for key in keys if mine.get(key) != other.get(key)]
    if unlike:
        differences = "; ".join(f"{key}: {_short(mine.get(key))} and {_short(other.get(key))}" for key in unlike[:3])
        do = next((do for key, do in _REMEDIES.items() if key in unlike), "measure both in the same way")
        raise ConfigError("scores", f"cannot be compared, they were measured differently ({differences})", do)


def kind(name: str) -> str:
    """ "swd_16@pixels" -> "swd", "intra_fd@random" -> "fd"."""
    return re.sub(r"_\d+$", "", name.partition("@")[0]).removeprefix(INTRA)


def _compared(name: str, mine: Score, other: Score) -> Comparison:
    """Of two independent scores: the squares of the half widths add up."""
    difference, direction = mine.value - other.value, BETTER.get(kind(name))
    if mine.interval is None or other.interval is None:
        return Comparison(difference, None, "")
    below = math.hypot(mine.value - mine.interval[0], other.interval[1] - other.value)
    above = math.hypot(mine.interval[1] - mine.value, other.value - other.interval[0])
    ends = difference - below, difference + above
    if direction is None:
        verdict = ""
    elif ends[0] <= 0 <= ends[1]:
        verdict = "no clear difference"
    else:
        verdict = "better" if (difference < 0) == (direction == LOWER) else "worse"
    return Comparison(difference, ends, verdict)


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
