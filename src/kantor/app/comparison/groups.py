"""Repeats of one training: runs whose configurations differ in their seeds only."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kantor.app.comparison.load import ComparedRun, finite
from kantor.config.io import difference, leaves
from kantor.errors import ConfigError
from kantor.metrics.score import measured_how

MOST_GROUPS = 8
_PATHS = {"data.source", "data.labels"}  # the fingerprint says whether the images are the same
_INTERVALS = {"train.tick_images", "train.sample_images", "train.snapshot_images"}
_FROM_THE_BUDGET = {"train.images", "train.horizon_images", "train.score_images"}
_SHOWN_IN_A_NAME = 2


@dataclass(frozen=True)
class Group:
    """Repeats of one training with different seeds.

    Attributes:
        label: short and unlike that of other groups: "wgan-gp".
    """

    label: str
    runs: tuple[ComparedRun, ...]

    def values(self, score: str, way: str) -> list[float]:
        """A score of each run that measured it in this way (see `ways`)."""
        found = [finite(run.measured.scores.get(score)) for run in self.runs if way_of(run, score) == way]
        return [value for value in found if value is not None]

    @property
    def images(self) -> float | None:
        return _mean([run.cost.images for run in self.runs])

    @property
    def seconds(self) -> float | None:
        return _mean([run.cost.seconds for run in self.runs])

    @property
    def generator_steps(self) -> float | None:
        return _mean([run.cost.generator_steps for run in self.runs])

    @property
    def critic_steps(self) -> float | None:
        return _mean([run.cost.critic_steps for run in self.runs])


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def way_of(run: ComparedRun, score: str) -> str:
    """How a score of a run was measured, as a text; "" without the score."""
    return measured_how(score, run.measured.provenance) if score in run.measured.scores else ""


def grouped(runs: Sequence[ComparedRun]) -> list[Group]:
    """Runs by their configuration apart from the seed, in the order given, with labels.

    Raises ConfigError if there are more groups than can be told apart in a figure.
    """
    groups: list[list[ComparedRun]] = []
    for run in runs:
        same = next((group for group in groups if _repeats(group[0], run)), None)
        if same is None:
            groups.append([run])
        else:
            same.append(run)
    if len(groups) > MOST_GROUPS:
        what = f"{len(groups)} kinds of training are too many for one figure"
        raise ConfigError(
            "compare", what, f"compare {MOST_GROUPS} at most (repeats of one, with other seeds, count once)"
        )
    return [Group(label, tuple(group)) for label, group in zip(_labels(groups), groups, strict=True)]


def _repeats(a: ComparedRun, b: ComparedRun) -> bool:
    if a.data != b.data:
        return False
    may_differ = {"train.seed", *_INTERVALS} | (_PATHS if a.data[0] else set())
    if all(run.env.get("length_from_budget") for run in (a, b)):
        may_differ |= _FROM_THE_BUDGET
    return not difference(a.config, b.config).keys() - may_differ


def _labels(groups: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """The preset or objective of each group, with what tells it from others of the same; at worst the name of its first run."""
    bases = [group[0].summary.objective for group in groups]
    counts = Counter(bases)
    labels = list(bases)
    for i, group in enumerate(groups):
        if counts[bases[i]] > 1:
            others = [other[0] for j, other in enumerate(groups) if j != i and bases[j] == bases[i]]
            labels[i] = f"{bases[i]}{_distinction(group[0], others)}"
    twice = {label for label, count in Counter(labels).items() if count > 1}
    return [groups[i][0].name if label in twice else label for i, label in enumerate(labels)]


def _distinction(run: ComparedRun, others: Sequence[ComparedRun]) -> str:
    """ ", batch 32": fields in which a run differs from others, if they are few."""
    fields: dict[str, Any] = {}
    for other in others:
        for name, (value, _) in difference(run.config, other.config).items():
            if name not in {"train.seed", *_PATHS, *_INTERVALS, "train.horizon_images", "train.score_images"}:
                fields[name] = value
    if run.data[0] not in {other.data[0] for other in others}:
        fields = {"data": run.summary.data, **fields}
    if not 0 < len(fields) <= _SHOWN_IN_A_NAME:
        return ""
    return "".join(f", {name.rpartition('.')[2].replace('_', ' ')} {value}" for name, value in fields.items())


def settings_that_differ(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Rows of (field, value in each group), "" where a group has no such field."""
    trees: list[Mapping[str, Any]] = [leaves(group.runs[0].config.model_dump(mode="json")) for group in groups]
    names = sorted({name for tree in trees for name in tree} - {"train.seed", *_INTERVALS})
    rows = [(name, *("" if tree.get(name) is None else str(tree[name]) for tree in trees)) for name in names]
    return [row for row in rows if len({*row[1:]}) > 1]


def ways(groups: Sequence[Group], score: str) -> list[str]:
    """The ways in which a score was measured, the one of most runs first."""
    found = Counter(way_of(run, score) for group in groups for run in group.runs if score in run.measured.scores)
    return [way for way, _ in found.most_common()]
