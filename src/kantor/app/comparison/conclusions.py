"""What may be concluded from runs beside each other, in sentences that claim no more than the numbers hold."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from kantor.app.comparison.groups import Group, ways
from kantor.app.comparison.load import ComparedRun, finite
from kantor.metrics.score import BETTER, LOWER, kind
from kantor.metrics.welch import Difference, difference
from kantor.objectives.objective import name_of
from kantor.report.scores import number
from kantor.sinks.timing import duration

_EQUAL = 0.05


@dataclass(frozen=True)
class Pair:
    """A score of two groups, measured alike: the first minus the second.

    Attributes:
        values: of each group, one for each run.
    """

    score: str
    groups: tuple[Group, Group]
    values: tuple[list[float], list[float]]
    difference: Difference

    @property
    def verdict(self) -> str:
        """In a few words, for a table."""
        if min(map(len, self.values)) < 2:
            return "anecdote: n = 1"
        if not self.difference.clear:
            return "no clear difference"
        better = (self.difference.value < 0) == (BETTER[kind(self.score)] == LOWER)
        return f"{self.groups[0 if better else 1].label} is better"


def pairs(groups: Sequence[Group], score: str) -> list[Pair]:
    """Each two groups whose scores can be compared: measured alike."""
    found = []
    for way in ways(groups, score):
        measured = [(group, values) for group in groups if (values := group.values(score, way))]
        for (a, mine), (b, theirs) in itertools.combinations(measured, 2):
            found.append(Pair(score, (a, b), (mine, theirs), difference(mine, theirs)))
    return found


def spread(values: Sequence[float]) -> str:
    """ "271 ± 20 (n = 3)": mean and standard deviation over seeds, to two digits of the latter."""
    if len(values) < 2:
        return f"{number(values[0])} (n = 1)" if values else ""
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    if not (deviation > 0 and math.isfinite(deviation)):
        return f"{number(mean)} ± {number(deviation)} (n = {len(values)})"
    places = 1 - math.floor(math.log10(float(f"{deviation:.1e}")))
    shown = (f"{round(value, places):.{max(places, 0)}f}" for value in (mean, deviation))
    return f"{' ± '.join(shown)} (n = {len(values)})"


def about_scores(groups: Sequence[Group], score: str) -> list[str]:
    """Sentences about one score: each pair, then what holds for all of them."""
    compared = pairs(groups, score)
    if not compared:
        return (
            [_nothing_alike(groups, score)]
            if score
            else ["No scores were measured; add --against DATA to measure all models."]
        )
    sizes = [len(values) for pair in compared for values in pair.values]
    if max(sizes) == 1:
        listed = dict.fromkeys(
            f"{g.label} {number(v[0])}" for pair in compared for g, v in zip(pair.groups, pair.values, strict=True)
        )
        return [
            f"One seed each (n = 1) is an anecdote: {score} is {', '.join(listed)}, and other seeds may turn that around. "
            "kantor train --seeds 1,2,3 makes the repeats that a conclusion needs.",
            *_left_out(groups, compared, score),
        ]
    lines = [_pair_sentence(pair) for pair in compared]
    if blind := [group.label for group in groups if any(_recall(run, score) == 0 for run in group.runs)]:
        lines.append(
            f"Recall is 0 for {', '.join(blind)}: no real image lies among the generated ones. At such a distance scores may "
            "prefer noise to shapes; look at the images, and train longer."
        )
    if len(compared) > 2:
        lines.append(
            f"These are {len(compared)} comparisons at 95% each: about one in twenty is “clear” by chance where nothing differs."
        )
    if min(size for size in sizes if size > 1) < 5:
        lines.append(
            "The spread is that of few seeds, and itself uncertain: the interval assumes that scores of seeds are normally "
            "distributed (Welch 1947). Small differences need more seeds."
        )
    return [*lines, *_left_out(groups, compared, score)]


def _pair_sentence(pair: Pair) -> str:
    (a, b), (mine, theirs), found = pair.groups, pair.values, pair.difference
    start = f"{pair.score}: {a.label} {spread(mine)}, {b.label} {spread(theirs)}."
    if min(len(mine), len(theirs)) < 2:
        single, many = (a.label, theirs) if len(mine) < 2 else (b.label, mine)
        value = mine[0] if len(mine) < 2 else theirs[0]
        where = "within" if min(many) <= value <= max(many) else "outside"
        return f"{start} {single} has one seed, an anecdote; it lies {where} the range of the other's {len(many)}."
    if found.interval is None:
        return f"{start} Neither has a spread, so nothing can be said about chance."
    ends = f"{number(found.interval[0])} to {number(found.interval[1])}"
    verdict = (
        f"{pair.verdict}, by the spread between seeds"
        if found.clear
        else "not clear, the spread between seeds may explain it"
    )
    text = f"{start} Difference {found.value:+.3g}, 95% interval {ends}: {verdict}."
    if found.ways:
        least = 2 if len(mine) == len(theirs) else 1
        text += (
            f" Of the {found.ways:,} ways to deal these {len(mine) + len(theirs)} scores into two such groups, {found.as_large:,} "
            f"differ as much or more (permutation test, p = {found.as_large / found.ways:.2g}; the least possible is "
            f"{least / found.ways:.2g})."
        )
    return text


def _recall(run: ComparedRun, score: str) -> float | None:
    """Of the same features as a score."""
    return finite(run.measured.scores.get(f"recall@{score.partition('@')[2]}"))


def _nothing_alike(groups: Sequence[Group], score: str) -> str:
    if len(groups) == 1:
        values = [value for way in ways(groups, score)[:1] for value in groups[0].values(score, way)]
        return f"All runs repeat one training, {groups[0].label}: {score} is {spread(values)}. Name runs of another one to compare."
    return f"No two of these have {score} measured alike (data, size, features, number of images), so none is compared: add --against DATA."


def _left_out(groups: Sequence[Group], compared: Sequence[Pair], score: str) -> list[str]:
    named = {group.label for pair in compared for group in pair.groups}
    if missing := [group.label for group in groups if group.label not in named]:
        return [f"Not compared, since {score} was not measured in the same way: {'; '.join(missing)}."]
    return []


def about_cost(groups: Sequence[Group]) -> list[str]:
    """Sentences about what was paid: images, steps and time."""
    lines = []
    images = [group.images for group in groups]
    known = [count for count in images if count]
    if len(known) > 1 and max(known) > (1 + _EQUAL) * min(known):
        listed = ", ".join(
            f"{group.label} {_kimg(count)}" for group, count in zip(groups, images, strict=True) if count
        )
        lines.append(
            f"The runs have not seen equally many images ({listed}): compare the curves at equal images or equal time."
        )
    if known and (steps := _steps_at(groups, min(known))):
        lines.append(
            f"Equal images are not equal generator steps: those made at {_kimg(min(known))} are {', '.join(steps)}."
        )
    seconds = [(group, group.seconds / group.images) for group in groups if group.seconds and group.images]
    times = {group.label: duration(each * min(known)) for group, each in seconds}
    if (
        seconds
        and max(s for _, s in seconds) > (1 + 2 * _EQUAL) * min(s for _, s in seconds)
        and len({*times.values()}) > 1
    ):
        listed = ", ".join(f"{label} {time}" for label, time in times.items())
        lines.append(f"Equal images are not equal time: for {_kimg(min(known))}, {listed}.")
    machines = {(str(run.env.get("device")), run.env.get("threads")) for group in groups for run in group.runs}
    if len(machines) > 1:
        lines.append("Not all runs were made on the same machine or with as many threads: their times say little.")
    return lines


def _steps_at(groups: Sequence[Group], images: float) -> list[str]:
    """ "wgan-gp made 63 generator steps, ...", for groups that differ in it."""
    rates = [(g, g.generator_steps / g.images) for g in groups if g.generator_steps and g.images]
    if len(rates) < 2 or max(r for _, r in rates) <= (1 + _EQUAL) * min(r for _, r in rates):
        return []
    return [f"{group.label} {rate * images:,.0f}" for group, rate in rates]


def about_losses(groups: Sequence[Group]) -> list[str]:
    """Why losses of some runs are not in one panel."""
    objectives = {name_of(group.runs[0].config.objective) for group in groups}
    if len(loss_families(groups)) < 2:
        return []
    listed = f" ({', '.join(sorted(objectives))})" if len(objectives) > 1 else ""
    return [f"Losses of different objectives{listed} have different scales and are not laid beside each other."]


def loss_families(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups of one objective, with all its settings: their losses can be laid beside each other."""
    families: list[list[Group]] = []
    for group in groups:
        objective = group.runs[0].config.objective
        same = next((family for family in families if family[0].runs[0].config.objective == objective), None)
        if same is None:
            families.append([group])
        else:
            same.append(group)
    return families


def _kimg(images: float) -> str:
    return f"{images / 1000:,.4g} kimg"
