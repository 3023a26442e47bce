"""Names and definitions of scores, as users see them. docs/scores.md lists the same."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kantor.metrics.score import BETTER, LOWER, Score, kind
from kantor.report.curve_data import Column


class Definition(NamedTuple):
    """What a score means, in a few words, and its source in the literature ("" for Kantor's own)."""

    title: str
    meaning: str
    source: str


_PRECISION, _DENSITY = "Kynkäänniemi et al. 2019", "Naeem et al. 2020"
_CLIPPED = "Salvy et al. 2026"
_SWD, _MSSSIM = "Rabin et al. 2011; Karras et al. 2018", "Wang et al. 2003; Odena et al. 2017"
_MODES = "Metz et al. 2017"
_ROWS = [
    ("fd", "Fréchet distance", "Fréchet distance between features; lower is better", "Heusel et al. 2017"),
    ("mind", "Monge Inception distance", "mean transport cost of features along lines; lower is better", "Berthet et al. 2026"),
    ("clipped_density", "Clipped density", "fraction of generated images that look real, in effect", _CLIPPED),
    ("clipped_coverage", "Clipped coverage", "fraction of good images that would cover the real ones as well", _CLIPPED),
    ("kid", "Kernel distance (KID)", "kernel MMD between features; lower is better", "Bińkowski et al. 2018"),
    ("is", "Inception score", "confident and diverse classes; higher is better", "Salimans et al. 2016"),
    ("precision", "Precision", "fraction of generated images within the real manifold", _PRECISION),
    ("recall", "Recall", "fraction of real images within the generated manifold", _PRECISION),
    ("density", "Density", "mean number of real neighbourhoods that contain a generated image, divided by k", _DENSITY),
    ("coverage", "Coverage", "fraction of real images with a generated neighbour", _DENSITY),
    ("swd", "Sliced Wasserstein distance", "sliced Wasserstein distance between patches, mean over scales; lower is better", _SWD),
    ("swd_", "Sliced Wasserstein distance", "sliced Wasserstein distance between patches of this scale; lower is better", _SWD),
    ("msssim", "MS-SSIM of pairs", "mean similarity of pairs; higher than for real images means low diversity", _MSSSIM),
    ("copied", "Copied", "fraction closer to a training image than 99% of other real images are", ""),
    ("copying_z", "Copying, z", "below -3, generated images are closer to training images than other real images are", "Meehan et al. 2020"),
    ("modes", "Modes", "modes with at least one generated image", _MODES),
    ("modes_kl", "Mode divergence", "KL divergence from the real mode frequencies; lower is better", _MODES),
    ("w2", "2-Wasserstein distance", "2-Wasserstein distance between features; lower is better", ""),
    ("sinkhorn", "Sinkhorn divergence", "entropic transport cost between features; lower is better", "Feydy et al. 2019"),
    ("critic_t", "Critic's t", "t statistic of the critic's scores, real against generated", "Welch 1947"),
    ("critic_effect", "Critic's effect", "effect size of the same difference, in standard deviations", "Cohen 1988"),
    ("controls", "Asked and got", "lowest correlation of what a guided model is asked for with what its images have; higher is better", ""),
    ("controls_", "Asked and got", "correlation of this control, asked for and got; higher is better", ""),
    ("controls_error_", "Asked and got", "mean absolute difference of this control, asked for and got; lower is better", ""),
    ("held_out_gap", "Critic's held-out gap", "training minus held-out critic score; above 0: overfitting", ""),
]  # fmt: skip
DEFINITIONS = {name: Definition(title, meaning, source) for name, title, meaning, source in _ROWS}


def _definition(name: str) -> Definition:
    """Of a full name such as "swd_16@pixels"; the name itself for unknown scores."""
    family = re.match(r"swd_(?=\d)|controls_error_|controls_", name)
    return DEFINITIONS.get(family[0] if family else kind(name), Definition(name, "", ""))


def meaning(name: str) -> str:
    """In a few words; "" for unknown scores."""
    return _definition(name).meaning


def sentence(name: str) -> str:
    """`meaning` as a sentence; "" for unknown scores."""
    words = meaning(name)
    return f"{words[0].upper()}{words[1:]}." if words else ""


def sourced(name: str) -> str:
    """`meaning` with its source: "... (Naeem et al. 2020)"."""
    definition = _definition(name)
    return f"{definition.meaning} ({definition.source})" if definition.source else definition.meaning


def title(name: str) -> str:
    """ "Fréchet distance @kantor-small"."""
    return f"{_definition(name).title} @{name.partition('@')[2]}"


def number(value: float | None) -> str:
    """With four significant digits; integers whole; "" for None."""
    if value is None or not math.isfinite(value):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """ "1.5 to 2", or "" for None."""
    return "" if interval is None else f"{number(interval[0])} to {number(interval[1])}"


def row(name: str, score: Score) -> tuple[str, str, str, str, str]:
    """Name, value, interval, score of real images, meaning."""
    of, interval = f" of {score.of:,}" if score.of is not None else "", score.interval
    if score.of is not None and interval is not None:  # of a count
        interval = float(math.floor(interval[0])), float(math.ceil(interval[1]))
    return name, number(score.value) + of, interval_text(interval), number(score.reals), meaning(name)


def curve_words(name: str, kimg: Column, values: Column) -> str:
    """What a score means, where it was best in a run, and where it ended."""
    finite = np.isfinite(values)
    kimg, values = kimg[finite], values[finite]
    direction = BETTER.get(kind(name))
    if not len(values) or direction is None:
        return sentence(name)
    best = int(values.argmin() if direction == LOWER else values.argmax())
    last = len(values) - 1
    when = "at the end" if best == last else f"at {kimg[best]:.1f} kimg, {number(float(values[-1]))} at the end"
    return f"{sentence(name)} Best {number(float(values[best]))}, {when}."


def scores_at(
    events: Sequence[Mapping[str, Any]], moment: int | None
) -> tuple[list[tuple[str, str, str, str, str]], str]:
    """Rows of the scores of a run, and what they were measured with; empty without scores.

    moment: images seen by the generator whose scores are wanted; those measured last if it has none.
    """
    scored = [event for event in events if event.get("event") == "scored"]
    try:
        last = next((event for event in reversed(scored) if event["images_seen"] == moment), scored[-1])
        scores = {str(name): Score.from_json(score) for name, score in last["scores"].items()}
        rows = [(*row(name, score)[:4], sourced(name)) for name, score in scores.items()]
        origin = last["provenance"]
        about = (
            f"After {last['images_seen']:,} images: {origin['drawn']:,} generated and {origin['reals']:,} real images, "
            f"features of {origin['extractor']}. The interval says how far the number would move with other generated "
            "images; the column “real images” shows what real images score instead."
        )
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        return [], ""
    return rows, about
