"""The numbers of a comparison as tables: scores, differences, cost, settings; and as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from kantor.app.comparison.conclusions import pairs, spread
from kantor.app.comparison.groups import Group, settings_that_differ, way_of, ways
from kantor.app.comparison.load import ComparedRun
from kantor.metrics.score import BETTER, LOWER, kind
from kantor.report.compare_page import Table
from kantor.report.scores import interval_text, number
from kantor.sinks.timing import duration

_SETTING_LENGTH = 60


def score_table(groups: Sequence[Group], names: Sequence[str]) -> Table:
    """Mean and spread of each kind of training. Scores that were measured differently from most are marked, and not compared."""
    rows, odd, reals = [], False, []
    for group in groups:
        cells = []
        for name in names:
            values = next((v for way in ways(groups, name) if (v := group.values(name, way))), [])
            other = bool(values) and not group.values(name, ways(groups, name)[0])
            odd |= other
            cells.append(spread(values) + (" *" if other else ""))
        rows.append((group.label, *cells))
    for name in names:
        found = {
            run.measured.scores[name].reals for group in groups for run in group.runs if name in run.measured.scores
        }
        reals.append(number(next(iter(found))) if len(found) == 1 else "")
    if any(reals):
        rows.append(("real images", *reals))
    notes = ["Mean ± standard deviation over seeds (n runs). ↓ lower is better, ↑ higher is better."]
    if odd:
        notes.append(
            "* measured differently (data, size, features or number of images): not to be compared with the others."
        )
    return Table(("", *map(arrowed, names)), rows, notes)


def arrowed(name: str) -> str:
    """ "fd@kantor-small ↓"."""
    return f"{name} {'↓' if BETTER[kind(name)] == LOWER else '↑'}"


def each_run(groups: Sequence[Group], names: Sequence[str]) -> Table:
    """The scores of each run, with their intervals over generated images."""
    rows = []
    for group in groups:
        for run in group.runs:
            cells = []
            for name in names:
                score = run.measured.scores.get(name)
                ends = f" ({interval_text(score.interval)})" if score and score.interval else ""
                cells.append(f"{number(score.value)}{ends}" if score else "")
            rows.append((run.name, group.label, str(run.seed), _count(moment(run)), *cells))
    note = (
        "Scores of the model that kantor generate draws; in brackets the 95% interval over generated images, not over seeds. "
        "Where it is the best of several moments by this score, the score is a little too good, in all runs alike."
    )
    return Table(("run", "kind", "seed", "at images", *map(arrowed, names)), rows, [note])


def moment(run: ComparedRun) -> int | None:
    """Images seen by the model that was scored."""
    seen = run.measured.provenance.get("images_seen", run.summary.scored_at)
    return seen if isinstance(seen, int) else None


def difference_table(groups: Sequence[Group], names: Sequence[str]) -> Table:
    """Every pair of groups with every score."""
    rows = []
    for name in names:
        for pair in pairs(groups, name):
            found = pair.difference
            p = f"{found.as_large / found.ways:.2g}" if found.ways else ""
            labels = " minus ".join(group.label for group in pair.groups)
            rows.append((name, labels, f"{found.value:+.3g}", interval_text(found.interval), p, pair.verdict))
    notes = [
        "Interval: Welch 1947, 95%, over seeds. p: exact permutation test, from 3 seeds each.",
        "Every row is a comparison of its own: of twenty without any difference, one is clear by chance.",
    ]
    return Table(("score", "difference", "", "95% interval", "p", ""), rows, notes)


def cost_table(groups: Sequence[Group]) -> Table:
    """What each run has cost."""
    head = (
        "run",
        "kind",
        "images",
        "time",
        "images/s",
        "generator steps",
        "critic steps",
        "generator",
        "critic",
        "size on disk",
    )
    rows = []
    for group in groups:
        for run in group.runs:
            cost = run.cost
            time = "" if cost.seconds is None else duration(cost.seconds)
            rate = "" if cost.images_per_second is None else f"{cost.images_per_second:,.0f}"
            sizes = (_count(cost.generator_size), _count(cost.critic_size))
            steps = (_count(cost.generator_steps), _count(cost.critic_steps))
            mb = f"{run.summary.size / 1e6:,.1f} MB"
            rows.append((run.name, group.label, _count(cost.images), time, rate, *steps, *sizes, mb))
    return Table(head, rows, ["Time is that of training, scores and saves included; generator and critic: parameters."])


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def settings_table(groups: Sequence[Group]) -> Table:
    """Fields in which the kinds of training differ."""
    rows = [tuple(_short(cell) for cell in row) for row in settings_that_differ(groups)] if len(groups) > 1 else []
    return Table(("field", *(group.label for group in groups)), rows)


def _short(text: str) -> str:
    return text if len(text) <= _SETTING_LENGTH else f"{text[: _SETTING_LENGTH - 1]}…"


def scores_csv(groups: Sequence[Group], names: Sequence[str]) -> str:
    """One line for each score of each run, with what it was measured on."""
    head = (
        "kind",
        "run",
        "seed",
        "images_seen",
        "score",
        "value",
        "low",
        "high",
        "reals",
        "drawn",
        "real_images",
        "reference",
        "group",
    )
    rows = []
    for group in groups:
        for run in group.runs:
            for name in names:
                if (score := run.measured.scores.get(name)) is None:
                    continue
                origin = run.measured.provenance
                low, high = score.interval or ("", "")
                more = (origin.get("drawn", ""), origin.get("reals", ""), str(origin.get("reference", ""))[:16])
                about = (group.label, run.name, run.seed, moment(run), name, score.value, low, high, score.reals)
                rows.append((*about, *more, ways(groups, name).index(way_of(run, name))))
    return _csv([head, *rows])


def curves_csv(groups: Sequence[Group]) -> str:
    """The rows of metrics.csv of all runs, one after another."""
    names = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.metrics))
    rows: list[Sequence[object]] = [("kind", "run", "seed", *names)]
    for group in groups:
        for run in group.runs:
            count = len(run.metrics.get("images_seen", ()))
            columns = [run.metrics.get(name, np.full(count, np.nan)) for name in names]
            rows += [(group.label, run.name, run.seed, *map(_cell, row)) for row in zip(*columns, strict=True)]
    return _csv(rows)


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.9g}"


def _csv(rows: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(["" if cell is None else cell for cell in row] for row in rows)
    return file.getvalue()
