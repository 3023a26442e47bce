"""The panels of losses.png and of the page: which columns of metrics.csv each one shows, and in which colour."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kantor.report.curve_data import Column
from kantor.report.figures import INK
from kantor.report.scores import sentence, title


@dataclass(frozen=True)
class Line:
    """A curve. column: of metrics.csv; label: written at its end, where the panel has two curves."""

    column: str
    colour: str
    label: str = ""


@dataclass(frozen=True)
class Panel:
    """One or two curves over the same axis.

    Attributes:
        guide: the attribute of `LossGuide` that says what to look for.
        about: what the curve is, written before that sentence.
    """

    title: str
    lines: tuple[Line, ...]
    guide: str
    about: str = ""

    @property
    def colour(self) -> str:
        """Of the title: that of a single curve."""
        return self.lines[0].colour if len(self.lines) == 1 else INK

    def measured(self, metrics: Mapping[str, Column]) -> bool:
        """Whether any of its columns holds a number."""
        return any(has(metrics, line.column) for line in self.lines)


def has(metrics: Mapping[str, Column], column: str) -> bool:
    """Whether a column holds a number."""
    return bool(np.isfinite(metrics.get(column, np.zeros(0))).any())


def _single(column: str, title: str, colour: str, about: str = "", guide: str = "") -> Panel:
    return Panel(title, (Line(column, colour),), guide or column, about)


# Okabe and Ito's colours, which people with any kind of colour vision can tell apart
_GAP = "mean critic(real) − mean critic(fake). "
WASSERSTEIN = _single("wasserstein_estimate", "Wasserstein estimate", "#0072b2", _GAP, "gap")
GAP = _single("critic_gap", "Critic gap", "#0072b2", _GAP, "gap")
CRITIC_SCORES = Panel(
    "Critic scores",
    (Line("critic_real", "#56b4e9", "real"), Line("critic_fake", "#e69f00", "generated")),
    "critic_scores",
)
SMALL = (
    CRITIC_SCORES,
    _single("critic_loss", "Critic loss", "#d55e00"),
    _single("generator_loss", "Generator loss", "#009e73"),
    _single("penalty", "Penalty", "#a3527d"),
    _single("gradient_norm", "Gradient norm", "#8a6d00"),
)
_METRICS = ("#cc4778", "#5b6ee1")


def metric_panels(metrics: Mapping[str, Column]) -> list[Panel]:
    """One for each metric that was measured: "fd@kantor-small"."""
    names = [name for name in metrics if "@" in name and has(metrics, name)]
    return [
        _single(name, title(name), colour, sentence(name)) for name, colour in zip(names, itertools.cycle(_METRICS))
    ]


def gap_panel(metrics: Mapping[str, Column]) -> Panel:
    """The Wasserstein estimate, or else the critic gap: the same numbers, which only some losses bound."""
    return WASSERSTEIN if WASSERSTEIN.measured(metrics) else GAP
