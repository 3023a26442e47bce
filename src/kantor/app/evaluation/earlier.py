"""Scores that new ones are compared with: what the user leaves open is measured as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kantor.app.evaluation.options import EvaluateOptions
from kantor.errors import ConfigError, DataError, ModelError
from kantor.metrics.score import Scores, kind
from kantor.runs import directory

Note = Callable[[str], None]


def read_earlier(options: EvaluateOptions) -> Scores | None:
    """The scores of --compare, a file or the newest evaluation of a run; None without it. Takes no time, and needs no network.

    Raises:
        DataError: the file cannot be read, or holds no scores.
        ConfigError: the options name another count or other features than it was measured with.
    """
    if options.compare is None:
        return None
    earlier = Scores.read(_file(options.compare, options.runs))
    _require_same_count(options, earlier.provenance)
    if options.features is not None and not {*options.features} & {*_networks(earlier.provenance)}:
        _refuse(options, "--features", ",".join(options.features), ",".join(_networks(earlier.provenance)))
    of_each = bool(earlier.provenance.get("per_class"))
    if options.per_class and not of_each:
        _refuse(options, "--per-class", "each class by itself", "all classes together")
    if options.classes and of_each:
        _refuse(options, "--class", ",".join(options.classes), "each class by itself")
    return earlier


def _file(named: Path, runs: Path) -> Path:
    """The scores.json that --compare names. Raises DataError if it names a run that was not evaluated."""
    if named.is_file():
        return named
    try:
        run = directory.find(str(named), runs)
    except ModelError:
        return named
    files = sorted((run / directory.EVALUATIONS).glob("[0-9]*/scores.json"), key=lambda file: int(file.parent.name))
    if not files:
        raise DataError(f"--compare {named}", f"{run} has not been evaluated", f"run kantor evaluate {named} first")
    return files[-1]


def as_earlier(options: EvaluateOptions, earlier: Scores, metrics: list[str], note: Note) -> EvaluateOptions:
    """The options, with what the user does not name as in `earlier`; metrics: those of its scores."""
    origin, taken = earlier.provenance, dict[str, Any]()
    networks = _networks(origin)
    if options.count is None and (count := _count(origin)):
        taken["count"] = count
    if options.metrics is None and metrics:
        taken["metrics"] = metrics
    if options.features is None and networks and not _second_opinion(earlier):
        taken["features"] = networks
    if options.seed is None and isinstance(seed := origin.get("seed"), int):
        taken["seed"] = seed
    if origin.get("per_class"):
        taken |= {} if options.per_class else {"per_class": True}
    elif not options.classes and (classes := origin.get("classes")):
        taken["classes"] = classes
    if taken:
        words = [
            f"--{'class' if name == 'classes' else name.replace('_', '-')}"
            + ("" if value is True else f" {_text(value)}")
            for name, value in taken.items()
        ]
        note(f"as in {options.compare}: {' '.join(words)}")
    return replace(options, **taken)


def _require_same_count(options: EvaluateOptions, origin: Mapping[str, Any]) -> None:
    count = _count(origin)
    fewer = "images_seen" not in origin and options.count is not None and count is not None and options.count > count
    if options.count is not None and count is not None and options.count != count and not fewer:
        _refuse(options, "--count", f"{options.count:,}", f"{count:,}")


def _refuse(options: EvaluateOptions, flag: str, ours: str, theirs: str) -> None:
    what = f"{options.compare} was measured with {theirs}, not {ours}"
    raise ConfigError(flag, what, f"leave {flag} out, or measure both in the same way")


def _count(origin: Mapping[str, Any]) -> int | None:
    """What --count was; the number of images where there were fewer."""
    counts = [origin.get("count")] if "count" in origin else [origin.get("drawn"), origin.get("reals")]
    return max((n for n in counts if isinstance(n, int)), default=None)


def _networks(origin: Mapping[str, Any]) -> list[str]:
    return [name for name in (origin.get("extractor"), *origin.get("more_features", {})) if isinstance(name, str)]


def _second_opinion(earlier: Scores) -> bool:
    """Whether further networks saw fewer images than the first, or gave fewer scores: no --features asks for that."""
    origin = earlier.provenance
    more = origin.get("more_features", {})
    if any((one.get("drawn"), one.get("reals")) != (origin.get("drawn"), origin.get("reals")) for one in more.values()):
        return True
    kinds = {name: {kind(full) for full in earlier if full.endswith(f"@{name}")} for name in _networks(origin)}
    of_first = kinds.get(str(origin.get("extractor")), set())
    return any(of_first - kinds[name] for name in more)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
