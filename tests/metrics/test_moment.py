"""Which generator of a run is kept: the rule, branch by branch."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kantor.metrics.moment import (
    EXTRACTORS_DISAGREE,
    RECALL_IS_ZERO,
    Choice,
    Measured,
    choose_moment,
    disagreement,
    distances,
    needs_second_opinion,
    recall,
)
from kantor.metrics.score import Score

Intervals = dict[str, tuple[float, float]]


def measured(
    seen: int, value: float, recall: float | None = 0.5, name: str = "fd@x", **fd: tuple[float, float]
) -> Measured:
    return Measured(seen, name, value, recall, {k: ((low + high) / 2, (low, high)) for k, (low, high) in fd.items()})


NOISE = measured(10, 5.0, recall=0.0)
FIRST = measured(20, 9.0, x=(8, 10), y=(80, 90))


def test_the_newest_is_kept_while_recall_is_0() -> None:
    """Grey noise had the lower distance: 5 after 10 images, 9 after 20."""
    choice = choose_moment(Choice(), NOISE)
    assert choice == Choice(None, RECALL_IS_ZERO) and choice.keeps_newest
    assert choice.reason == "newest, because recall is 0"
    worse = choose_moment(choice, measured(15, 50.0, recall=0.0))
    assert worse == choice
    trusted = choose_moment(choice, FIRST)
    assert trusted == Choice(FIRST) and not trusted.keeps_newest and trusted.reason == "best by fd@x"


def test_a_later_collapse_does_not_replace_the_best() -> None:
    assert choose_moment(Choice(FIRST), measured(30, 1.0, recall=0.0)) == Choice(FIRST)
    assert choose_moment(Choice(FIRST, EXTRACTORS_DISAGREE), measured(30, 1.0, recall=0.0)) == Choice(FIRST)


@pytest.mark.parametrize(
    ("value", "fd", "kept"),
    [
        (7.0, {"x": (6, 7), "y": (60, 70)}, "new"),  # both see it closer
        (7.0, {"x": (6, 7), "y": (95, 99)}, "newest"),  # closer and farther
        (12.0, {"x": (11, 13), "y": (60, 70)}, "newest"),  # farther and closer
        (12.0, {"x": (11, 13), "y": (95, 99)}, "best"),  # both see it farther
        (7.0, {"x": (6, 7), "y": (89, 99)}, "new"),  # the second cannot tell: its intervals overlap
        (7.0, {"x": (6, 8), "y": (95, 99)}, "new"),  # the first cannot tell: its intervals touch
        (12.0, {"x": (9.5, 13), "y": (60, 70)}, "best"),
        (7.0, {"x": (6, 7)}, "new"),  # one extractor
        (12.0, {"x": (11, 13)}, "best"),
        (7.0, {"z": (6, 7), "y": (95, 99)}, "new"),  # no other extractor in common
        (9.0, {"x": (8, 10), "y": (80, 90)}, "best"),  # equal: the earlier one
    ],
)
def test_two_extractors(value: float, fd: Intervals, kept: str) -> None:
    new = measured(30, value, **fd)
    choice = choose_moment(Choice(FIRST), new)
    assert choice == {"new": Choice(new), "best": Choice(FIRST), "newest": Choice(FIRST, EXTRACTORS_DISAGREE)}[kept]
    assert bool(disagreement(FIRST, new)) == (kept == "newest")
    if kept == "newest":
        assert choice.reason == "newest, because two extractors disagree" and choice.keeps_newest


def test_after_a_disagreement_the_best_is_still_compared_with() -> None:
    apart = Choice(FIRST, EXTRACTORS_DISAGREE)
    better = measured(40, 6.0, x=(5, 7), y=(60, 70))
    assert choose_moment(apart, better) == Choice(better)
    assert choose_moment(apart, measured(40, 20.0, x=(19, 21), y=(100, 110))) == Choice(FIRST)


@pytest.mark.parametrize(
    "choice", [Choice(), Choice(None, RECALL_IS_ZERO), Choice(FIRST), Choice(FIRST, EXTRACTORS_DISAGREE)]
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_changes_nothing(choice: Choice, value: float) -> None:
    assert choose_moment(choice, measured(30, value)) == choice
    assert not needs_second_opinion(choice, measured(30, value))


def test_a_recall_that_was_not_measured_counts_as_above_0() -> None:
    new = measured(30, 3.0, recall=None)
    assert choose_moment(Choice(None, RECALL_IS_ZERO), new) == choose_moment(Choice(FIRST), new) == Choice(new)


def test_scores_measured_in_another_way_start_anew() -> None:
    other = Measured(30, "fd@x", 99.0, 0.1, {}, {"drawn": 500})
    renamed = Measured(30, "kid@x", 99.0, 0.1)
    assert choose_moment(Choice(FIRST), other) == Choice(other)
    assert choose_moment(Choice(FIRST), renamed) == Choice(renamed)
    collapsed = Measured(30, "kid@x", 99.0, 0.0)
    assert choose_moment(Choice(FIRST), collapsed) == Choice(FIRST)


def test_higher_is_better_for_some() -> None:
    low, high = measured(1, 0.2, 0.2, "recall@x"), measured(2, 0.3, 0.3, "recall@x")
    assert choose_moment(Choice(low), high) == Choice(high)
    assert choose_moment(Choice(high), measured(3, 0.2, 0.2, "recall@x")) == Choice(high)


def test_one_extractor_is_said() -> None:
    assert Choice(measured(1, 2.0, x=(1, 3))).reason == "best by fd@x (one extractor)"
    assert Choice().reason == "newest"


@pytest.mark.parametrize(
    ("new", "needed"),
    [
        (measured(30, 7.0, x=(6, 8)), True),  # better: it may become the best
        (measured(30, 12.0, x=(11, 13)), True),  # clearly worse: the second may disagree
        (measured(30, 9.5, x=(8.5, 10.5)), False),  # no clear difference, and not better
        (measured(30, 7.0, recall=0.0, x=(6, 8)), False),
    ],
)
def test_a_second_opinion_is_asked_for_only_where_it_can_matter(new: Measured, needed: bool) -> None:
    assert needs_second_opinion(Choice(FIRST), new) is needed
    assert needs_second_opinion(Choice(), new) is (new.recall != 0)


def test_what_is_read_from_scores() -> None:
    scores: dict[str, Any] = {
        "fd@x": Score(5.0, (4.0, 6.0)), "fd@y@96": Score(7.0, (6.0, 8.0)), "fd@z": Score(math.nan, (1.0, 2.0)),
        "kid@x": Score(1.0, (0.0, 2.0)), "recall@x": Score(0.25), "recall@y@96": Score(0.5),
    }  # fmt: skip
    assert distances(scores) == {"x": (5.0, (4.0, 6.0)), "y@96": (7.0, (6.0, 8.0))}
    assert recall(scores, "fd@y@96") == 0.5 and recall(scores, "swd@pixels") == 0.25
    assert recall({"recall@x": Score(math.nan)}, "fd@x") is recall({}, "fd@x") is None
