"""The order of data: each epoch every image once, and the same stream however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kantor.data.loading.order import Order

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6)
WINDOWS = st.none() | st.integers(1, 60)
SEEDS = st.integers(0, 2**63 - 1)


@settings(max_examples=60, deadline=None)
@given(SIZES, WINDOWS, SEEDS, st.integers(0, 50))
def test_each_epoch_is_a_bijection(sizes: list[int], window: int | None, seed: int, epoch: int) -> None:
    order, n = Order(sizes, seed, window), sum(sizes)
    rows = order.rows(epoch * n, n)
    assert rows.dtype == np.int64
    assert sorted(rows.tolist()) == list(range(n))


@settings(max_examples=60, deadline=None)
@given(SIZES, WINDOWS, SEEDS, st.integers(0, 300), st.lists(st.integers(0, 70), max_size=8))
def test_any_split_gives_the_same_stream(
    sizes: list[int], window: int | None, seed: int, start: int, takes: list[int]
) -> None:
    order = Order(sizes, seed, window)
    pieces, at = [], start
    for take in takes:
        pieces.extend(order.rows(at, take).tolist())
        at += take
    assert pieces == order.rows(start, sum(takes)).tolist()


GOLDEN_WHOLE = [0, 1, 4, 6, 9, 3, 8, 5, 7, 2, 9, 1]
GOLDEN_WINDOW = [8, 7, 2, 3, 0, 1, 9, 8, 4, 7, 6, 5]


def test_golden_order() -> None:
    """Resumed runs of older releases rest on these numbers: they never change."""
    assert Order([10], 0).rows(0, 12).tolist() == GOLDEN_WHOLE
    assert Order([4, 3, 3], 7, 4).rows(8, 12).tolist() == GOLDEN_WINDOW


@pytest.mark.parametrize("window", [None, 64])
def test_epochs_and_seeds_differ(window: int | None) -> None:
    order, n = Order([100, 100, 56], 3, window), 256
    epochs = {tuple(order.rows(e * n, n).tolist()) for e in range(10)}
    seeds = {tuple(Order([100, 100, 56], s, window).rows(0, n).tolist()) for s in range(10)}
    assert len(epochs) == len(seeds) == 10


@pytest.mark.parametrize(("sizes", "window"), [([7], None), ([3, 2, 2], 3), ([2, 5], 4)])
def test_every_row_comes_everywhere_equally_often(sizes: list[int], window: int | None) -> None:
    """Chi-square of position against row over 1,500 seeds."""
    n, trials = sum(sizes), 1500
    table = np.zeros((n, n))
    for seed in range(trials):
        table[np.arange(n), Order(sizes, seed, window).rows(0, n)] += 1
    chi_square = ((table - trials / n) ** 2 / (trials / n)).sum()
    freedom = n * n if window else (n - 1) ** 2  # within a ring the cells hang together, so the bound is looser
    assert chi_square < freedom + 6 * (2 * freedom) ** 0.5


def test_neighbouring_epochs_are_not_related() -> None:
    n = 4096
    order = Order([n], 1)
    first, second = order.rows(0, n), order.rows(n, n)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.08
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.08


def test_a_window_touches_few_shards() -> None:
    sizes, window = [50] * 20, 100
    order, starts = Order(sizes, 5, window), np.arange(20) * 50
    for k in range(10):
        rows = order.rows(k * window, window)
        shards = np.unique(np.searchsorted(starts, rows, side="right"))
        assert len(shards) <= 4  # 2 and one cut on either side; one more where the ring closes


def test_whole_set_order_does_not_depend_on_shards() -> None:
    assert (Order([30, 30, 40], 9).rows(0, 250) == Order([100], 9).rows(0, 250)).all()
    assert (Order([100], 9, 100).rows(0, 250) == Order([100], 9).rows(0, 250)).all()


def test_large_sets_cost_nothing() -> None:
    order = Order([5_000_000] * 200, 0, None)
    rows = order.rows(10**12, 64)
    assert len(rows) == 64
    assert rows.min() >= 0
    assert rows.max() < 10**9


@pytest.mark.parametrize(("sizes", "window"), [([], None), ([3, 0], None), ([3], 0)])
def test_nonsense_is_refused(sizes: list[int], window: int | None) -> None:
    with pytest.raises(ValueError, match="at least"):
        Order(sizes, 0, window)
