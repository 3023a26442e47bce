"""What scores are called and what they say, in plain words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.metrics.score import BETTER, LOWER, Score, kind

Column = NDArray[np.float64]

TITLES = {
    "fd": "Fréchet distance",
    "kid": "Kernel distance (KID)",
    "is": "Inception-style score",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "swd": "Sliced Wasserstein distance",
    "msssim": "MS-SSIM of pairs",
    "copied": "Copied",
    "copying_z": "Copying, z",
    "modes": "Modes",
    "modes_kl": "Divergence of modes",
    "w2": "2-Wasserstein distance",
    "sinkhorn": "Sinkhorn divergence",
    "critic_t": "Critic's t",
    "critic_effect": "Critic's effect",
    "held_out_gap": "Critic's held-out gap",
}
MEANING = {
    "fd": "lower is nearer to the reals",
    "kid": "lower is nearer to the reals",
    "is": "higher is more classes, more clearly",
    "precision": "share of drawn ones among the reals",
    "recall": "share of reals among the drawn ones",
    "density": "how deep among the reals; 1 as reals",
    "coverage": "share of reals with a drawn one near",
    "swd": "lower is nearer, in detail of all sizes",
    "swd_": "lower is nearer, in detail of this size",
    "msssim": "likeness of pairs; above reals: too alike",
    "copied": "share nearer to a real than reals are",
    "copying_z": "below -3: nearer to the reals than by chance",
    "modes": "modes seen at least once",
    "modes_kl": "lower: modes as often as in the set",
    "w2": "lower is nearer to the reals",
    "sinkhorn": "lower is nearer to the reals",
    "critic_t": "how surely the critic tells them apart",
    "critic_effect": "the same in deviations of its scores",
    "held_out_gap": "above 0: it knows its images by heart",
}


def meaning(name: str) -> str:
    """In a few words."""
    return MEANING.get("swd_" if re.match(r"swd_\d", name) else kind(name), "")


def sentence(name: str) -> str:
    """The same as a sentence; "" where there is nothing to say."""
    words = meaning(name)
    return f"{words[0].upper()}{words[1:]}." if words else ""


def title(name: str) -> str:
    """ "Fréchet distance@kantor-small", or the name where it has no title."""
    return f"{TITLES.get(kind(name), name)} @{name.partition('@')[2]}"


def number(value: float | None) -> str:
    """For people: four digits, whole numbers whole; "" for nothing."""
    if value is None or not math.isfinite(value):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def ends(span: tuple[float, float] | None) -> str:
    """ "1.5 to 2", or nothing."""
    return "" if span is None else f"{number(span[0])} to {number(span[1])}"


def row(name: str, score: Score) -> tuple[str, str, str, str, str]:
    """Name, value, interval, what reals get, meaning."""
    of, span = f" of {score.of:,}" if score.of is not None else "", score.interval
    if score.of is not None and span is not None:  # of things that are counted
        span = float(math.floor(span[0])), float(math.ceil(span[1]))
    return name, number(score.value) + of, ends(span), number(score.reals), meaning(name)


def curve_words(name: str, kimg: Column, values: Column) -> str:
    """What a score did over a run: where it was best, and where it ended."""
    good = np.isfinite(values)
    kimg, values = kimg[good], values[good]
    way = BETTER.get(kind(name))
    if not len(values) or way is None:
        return sentence(name)
    best = int(values.argmin() if way == LOWER else values.argmax())
    when = (
        "at the end" if best == len(values) - 1 else f"at {kimg[best]:.1f} kimg, {number(float(values[-1]))} at the end"
    )
    return f"{sentence(name)} Best {number(float(values[best]))}, {when}."


def last_scores(events: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, str, str, str, str]], str]:
    """Rows of the last scores of a run, and what they were measured with; nothing where there are none."""
    scored = [event for event in events if event.get("event") == "scored"]
    try:
        last = scored[-1]
        rows = [row(str(name), Score.from_json(one)) for name, one in last["scores"].items()]
        told = last["provenance"]
        about = (
            f"After {last['images_seen']:,} images: {told['drawn']:,} drawn ones beside {told['reals']:,} of the set, "
            f"features of {told['extractor']}. The interval says how far the number would move with other drawn "
            "images; “reals” is what real images get in their place."
        )
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        return [], ""
    return rows, about
