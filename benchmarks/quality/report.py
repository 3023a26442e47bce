"""What the scores say: distance against seconds, and how much sooner one contestant reaches what another ends with."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

Row = Mapping[str, str]
GROUP = ("dataset", "processor", "threads", "paired", "budget_s", "feature", "weights", "generated")
INTRODUCTION = """# Time to quality

Fréchet distance (FD, lower is better) of generated images after so many seconds of training: the mean over seeds, and their range.
`glyphs` are the built-in letters, `fashion` Fashion-MNIST, `sprites` emoji with transparency, `units` game sprites with transparency, and
`stacked` three digits in the channels of an image.
`kantor` is preset `default`, `kantor@COMMIT` an earlier one, `plain` WGAN-GP as in Gulrajani et al. 2017; all others run their own code.
"saved model" is `generator.safetensors`, the checkpoint with the best score. The speed-up compares the time at which a contestant
reaches the baseline's last score with the time that the baseline has trained. [How it is measured](speed.md#time-to-quality).
"""


class Point(NamedTuple):
    """seconds of training, and the score then."""

    seconds: float
    score: float


@dataclass(frozen=True)
class Reached:
    """When a curve first goes below a target.

    Attributes:
        measured_s: the first measured time at which it is below; None if it never is.
        between_s: interpolated between that and the time before, both axes logarithmic; the measured time itself if there
            is no time before, of which it is then an upper bound.
    """

    measured_s: float | None
    between_s: float | None
    bound: bool = False

    def __str__(self) -> str:
        if self.measured_s is None or self.between_s is None:
            return "not reached"
        return f"<= {self.measured_s:.3g}" if self.bound else f"{self.between_s:.3g} (measured {self.measured_s:.3g})"


def first_below(curve: Sequence[Point], target: float) -> Reached:
    """When the curve, in order of time, is first at or below the target.

    Between two measurements log(score) is taken as linear in log(seconds).
    """
    for before, after in zip([None, *curve], curve, strict=False):
        if after.score > target:
            continue
        if before is None:
            return Reached(after.seconds, after.seconds, bound=True)
        share = math.log(before.score / target) / math.log(before.score / max(after.score, 1e-12))
        return Reached(after.seconds, before.seconds * (after.seconds / before.seconds) ** share)
    return Reached(None, None)


class Curves:
    """The scores of one group: by contestant and seed, and their means over seeds.

    Args:
        start_up: count the seconds from the start of the process to the first cycle, too.
    """

    def __init__(self, rows: Iterable[Row], start_up: bool = False) -> None:
        points: dict[str, dict[str, dict[float, Point]]] = defaultdict(lambda: defaultdict(dict))
        self._last: dict[str, dict[str, Row]] = defaultdict(dict)
        self._files: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            if not row["fd"]:  # a run that failed, or modes
                continue
            if row["which"] == "file":
                self._files[row["contestant"]].append(float(row["fd"]))
            else:
                seconds = float(row["seconds"]) + (float(row["start_up_s"]) if start_up else 0.0)
                points[row["contestant"]][row["seed"]][float(row["mark_s"])] = Point(seconds, float(row["fd"]))
                self._last[row["contestant"]][row["seed"]] = row
        self.points = points
        self.marks = sorted({mark for seeds in points.values() for curve in seeds.values() for mark in curve})

    @property
    def contestants(self) -> list[str]:
        """The best at the last mark first."""
        last = {name: (self.at(name, mark) or [math.inf])[0] for name in self.points for mark in self.marks[-1:]}
        return sorted(self.points, key=lambda name: last[name])

    def seeds(self, contestant: str) -> dict[str, list[Point]]:
        """The curve of each seed."""
        return {seed: [curve[m] for m in sorted(curve)] for seed, curve in self.points[contestant].items()}

    def at(self, contestant: str, mark: float) -> tuple[float, float, float, int] | None:
        """(mean, lowest, highest score, seeds) at a mark."""
        found = [curve[mark].score for curve in self.points[contestant].values() if mark in curve]
        return (sum(found) / len(found), min(found), max(found), len(found)) if found else None

    def fact(self, contestant: str, name: str) -> float:
        """The mean over seeds of a column at the end of a run."""
        values = [float(row[name]) for row in self._last[contestant].values()]
        return sum(values) / len(values)

    def files(self, contestant: str) -> float | None:
        """The mean over seeds of the score of what a run has saved: of Kantor, the weights with the best score."""
        found = self._files.get(contestant)
        return sum(found) / len(found) if found else None

    def mean(self, contestant: str) -> list[Point]:
        """The mean curve, at marks that all its seeds have."""
        curves = self.points[contestant].values()
        curve = []
        for mark in self.marks:
            if all(mark in seed for seed in curves):
                at = [seed[mark] for seed in curves]
                curve.append(Point(sum(p.seconds for p in at) / len(at), sum(p.score for p in at) / len(at)))
        return curve


def grouped(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in GROUP)].append(row)
    return dict(sorted(groups.items()))


def title(group: tuple[str, ...]) -> str:
    dataset, processor, threads, paired, budget, feature, _, generated = group
    cores = f"{threads} thread{'s' * (threads != '1')}{', two runs at a time' * (paired == '1')}"
    return f"{dataset}, {processor}, {cores}, {budget} s, {feature}, {generated} images"


def scores_table(curves: Curves) -> str:
    """Distances at each mark, the mean over seeds and the range; then means of what the run took."""
    names = [
        "contestant",
        "seeds",
        *(f"{mark:g} s" for mark in curves.marks),
        "saved model",
        "images",
        "start-up s",
        "peak MB",
    ]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for name in curves.contestants:
        cells = [name, str(len(curves.points[name])), *(_cell(curves.at(name, mark)) for mark in curves.marks)]
        saved = curves.files(name)
        cells.append("" if saved is None else f"{saved:.3g}")
        cells += [f"{curves.fact(name, fact):,.0f}" for fact in ("images", "start_up_s", "peak_mb")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(at: tuple[float, float, float, int] | None) -> str:
    if at is None:
        return ""
    mean, low, high, seeds = at
    return f"{mean:.3g}" + (f" ({low:.3g} to {high:.3g})" if seeds > 1 else "")


def speed_up_table(curves: Curves, racers: Sequence[str]) -> list[str]:
    """When each racer first has what each other contestant ends with, and how many times as long the other has trained.

    Empty if there is no other.
    """
    lines = [
        "| contestant | baseline | its FD at the end | reached after, s | each seed | speed-up | FD at the end / baseline's |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    last = curves.marks[-1]
    for racer in racers:
        for other in curves.contestants:
            end, own = curves.at(other, last), curves.at(racer, last)
            if other == racer or end is None or own is None:
                continue
            reached = first_below(curves.mean(racer), end[0])
            seeds = ", ".join(str(first_below(curve, end[0])) for curve in curves.seeds(racer).values())
            # a run of a budget trains for less than that: start-up and calibration count
            ratio = (
                ""
                if reached.between_s is None
                else f"{'> ' * reached.bound}{curves.mean(other)[-1].seconds / reached.between_s:.1f}"
            )
            lines.append(
                f"| {racer} | {other} | {end[0]:.3g} | {reached} | {seeds} | {ratio} | {own[0] / end[0]:.2f} |"
            )
    return ["\n".join(lines)] if len(lines) > 2 else []


def modes_table(rows: Iterable[Row]) -> str:
    """Modes at each mark: of each seed, with the divergence of their frequencies."""
    found: dict[str, dict[float, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["modes"] and row["which"] == "weights":
            found[row["contestant"]][float(row["mark_s"])].append(f"{row['modes']} (KL {float(row['modes_kl']):.2f})")
    marks = sorted({mark for by_mark in found.values() for mark in by_mark})
    lines = ["| contestant | " + " | ".join(f"{mark:g} s" for mark in marks) + " |", "|---" * (len(marks) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(", ".join(found[name][m]) for m in marks) + " |" for name in sorted(found)]
    return "\n".join(lines)


def disagreements(rows: Iterable[Row], racers: Sequence[str] = ()) -> list[str]:
    """Pairs of contestants, one a racer if any are named, that two extractors order differently at the last mark."""
    places: dict[tuple[str, ...], dict[str, Curves]] = defaultdict(dict)
    for group, members in grouped(rows).items():
        if (curves := Curves(members)).marks:
            places[group[:5]][f"{group[5]} ({group[7]} images)"] = curves
    lines = []
    for place, by_feature in places.items():
        names = list(by_feature)
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                a, b = by_feature[first], by_feature[second]
                both = [name for name in a.contestants if name in b.points]
                order = {name: rank for rank, name in enumerate(b.contestants)}
                pairs = [(x, y) for j, x in enumerate(both) for y in both[j + 1 :] if {x, y} & {*(racers or both)}]
                swapped = [(x, y) for x, y in pairs if order[x] > order[y]]
                lines += [
                    f"{place[0]}, {place[1]}: {x} is better than {y} in {first}, worse in {second}" for x, y in swapped
                ]
    return lines


def plot(curves: Curves, heading: str, path: Path) -> None:
    """Distances against seconds, both axes logarithmic: the mean over seeds, and their range as a band."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for number, name in enumerate(curves.contestants):
        mean, colour = curves.mean(name), f"C{number % 10}"
        style = "-" if number < 10 else "--"
        axes.plot([p.seconds for p in mean], [p.score for p in mean], style, color=colour, marker="o", ms=3, label=name)
        ends = [curves.at(name, mark) for mark in curves.marks if len(mean) == len(curves.marks)]
        bands = [(low, high) for _, low, high, _ in filter(None, ends)]
        if bands:
            axes.fill_between([p.seconds for p in mean], *zip(*bands, strict=True), color=colour, alpha=0.15, lw=0)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="Fréchet distance", title=heading)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def wilson(failed: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927, "Probable inference")."""
    z, share = 1.959964, failed / total
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def failures(rows: Iterable[Row], above: float, recall_below: float) -> list[str]:
    """A line per group and contestant: of its runs, those that diverged, or that end above an FD or below a recall."""
    ends: dict[tuple[str, ...], dict[tuple[str, str], Row]] = defaultdict(dict)
    for group, members in grouped(rows).items():
        for row in members:
            if row["which"] == "weights" and row["mark_s"] == row["budget_s"] and (row["fd"] or row["error"]):
                ends[group][row["contestant"], row["seed"]] = row
    lines = []
    for group, by_run in ends.items():
        for name in sorted({contestant for contestant, _ in by_run}):
            runs = {seed: row for (contestant, seed), row in by_run.items() if contestant == name}
            bad = [
                s for s, r in runs.items() if r["error"] or float(r["fd"]) > above or float(r["recall"]) < recall_below
            ]
            low, high = wilson(len(bad), len(runs))
            distances = [float(row["fd"]) for row in runs.values() if row["fd"]]
            spread = f"FD {min(distances):.3g} to {max(distances):.3g}" if distances else "no scores"
            which = f" (seeds {', '.join(bad)})" if bad else ""
            share = f"95% interval of the share {low:.1%} to {high:.1%}"
            lines.append(f"{title(group)}: {name}: {len(bad)} of {len(runs)} runs failed{which}, {share}; {spread}")
    return lines
