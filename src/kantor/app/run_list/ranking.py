"""Runs in order, and the best of them: scores that were measured differently are never compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from kantor.app.run_list.summary import RunSummary
from kantor.errors import ConfigError, ModelError, nearest
from kantor.metrics.score import BETTER, LOWER, kind
from kantor.report.scores import interval_text, number
from kantor.runs import directory

ORDERS: dict[str, Callable[[RunSummary], Any]] = {
    "newest": lambda run: -directory.number_of(run.path),
    "images": lambda run: -(run.images_seen or 0),
    "time": lambda run: -(run.elapsed_s or 0),
    "size": lambda run: -run.size,
}


def in_order(runs: Sequence[RunSummary], sort: str | None) -> list[RunSummary]:
    """Runs sorted by a score, the best first, or by another order; those measured differently one after another.

    Raises ConfigError if no run has this score.
    """
    if sort is None:
        return list(runs)
    if sort in ORDERS:
        return sorted(runs, key=ORDERS[sort])
    groups = alike(runs, sort, "--sort", ORDERS)
    listed = [run for group in groups for run in group]
    return [*listed, *(run for run in runs if run not in listed)]


def alike(runs: Sequence[RunSummary], name: str, flag: str, more: Collection[str] = ()) -> list[list[RunSummary]]:
    """Runs whose scores of this name were measured alike, so that they can be compared: each group with the best first.

    The largest group comes first. Runs without the score are in none. Raises ConfigError, which names the flag, if no run
    has it, or neither way is better; ModelError if there is no score at all, nor `more`: what else the flag takes.
    """
    measured = [(run, found) for run in runs if (found := run.score(name)) and math.isfinite(found[1].value)]
    if not measured or kind(name) not in BETTER:
        ranked = {kind(full) for run in runs for full in run.scores if kind(full) in BETTER}
        if not (ranked or more):
            raise no_scores(runs)
        what = "says neither better nor worse" if measured else "no run has this score"
        raise ConfigError(f"{flag} {name}", what, nearest(name, {*ranked, *more}))
    sign = 1 if BETTER.get(kind(name)) == LOWER else -1
    ways: dict[tuple[str, str], list[tuple[float, RunSummary]]] = {}
    for run, (full, score) in measured:
        ways.setdefault((full, run.measured_how(full)), []).append((sign * score.value, run))
    groups = [[run for _, run in sorted(way, key=lambda pair: pair[0])] for way in ways.values()]
    return sorted(groups, key=len, reverse=True)


def usual_score(runs: Sequence[RunSummary]) -> str:
    """The score by which most of these runs choose their model. Raises ModelError if none has one."""
    names = Counter(kind(run.main_score) for run in runs if run.main_score)
    if not names:
        raise no_scores(runs)
    return names.most_common(1)[0][0]


def no_scores(runs: Sequence[RunSummary]) -> ModelError:
    """That nothing can be ranked, and what to do."""
    do = "train with --metrics fd, or measure them with kantor compare RUN RUN --against DATA"
    return ModelError(runs[0].path.parent if runs else "runs", "no run has a score", do)


def best_lines(groups: Sequence[Sequence[RunSummary]], by: str) -> list[str]:
    """The best run of each group, how sure that is, and that groups cannot be compared."""
    lines = []
    for group in groups:
        first, found = group[0], group[0].score(by)
        assert found is not None
        full, score = found
        ends = f" ({interval_text(score.interval)})" if score.interval else ""
        of = f"best of {len(group)} runs measured alike" if len(group) > 1 else "the only run measured in this way"
        lines.append(f"{first.path}: {full} {number(score.value)}{ends} at {first.scored_at:,} images, {of}")
        near = [run for run in group[1:] if _overlap(run, first, full)]
        if near:
            names = ", ".join(run.path.name for run in near[:3]) + (
                f" and {len(near) - 3} more" if len(near) > 3 else ""
            )
            lines.append(f"no clear difference from {names}: the 95% intervals overlap")
    if len(groups) > 1:
        lines.append("these were measured differently (features, number of images, size or data): do not compare them")
    return lines


def _overlap(run: RunSummary, other: RunSummary, name: str) -> bool:
    ends = run.scores[name].interval, other.scores[name].interval
    if ends[0] is None or ends[1] is None:
        return run.scores[name].value == other.scores[name].value
    return ends[0][0] <= ends[1][1] and ends[1][0] <= ends[0][1]
