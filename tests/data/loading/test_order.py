"""The order of data: each epoch every image once, and the same stream however it is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kantor.data.loading.order import Order

COUNTS = st.integers(1, 240)
SEEDS = st.integers(0, 2**63 - 1)


@settings(max_examples=60, deadline=None)
@given(COUNTS, SEEDS, st.integers(0, 50))
def test_each_epoch_is_a_bijection(n: int, seed: int, epoch: int) -> None:
    rows = Order(n, seed).rows(epoch * n, n)
    assert rows.dtype == np.int64
    assert sorted(rows.tolist()) == list(range(n))


@settings(max_examples=60, deadline=None)
@given(COUNTS, SEEDS, st.integers(0, 300), st.lists(st.integers(0, 70), max_size=8))
def test_any_split_gives_the_same_stream(n: int, seed: int, start: int, takes: list[int]) -> None:
    order = Order(n, seed)
    pieces, position = [], start
    for take in takes:
        pieces.extend(order.rows(position, take).tolist())
        position += take
    assert pieces == order.rows(start, sum(takes)).tolist()


GOLDEN = [0, 1, 4, 6, 9, 3, 8, 5, 7, 2, 9, 1]


def test_golden_order() -> None:
    """Resuming runs of older releases depends on these numbers: they never change."""
    assert Order(10, 0).rows(0, 12).tolist() == GOLDEN


def test_epochs_and_seeds_differ() -> None:
    order, n = Order(256, 3), 256
    epochs = {tuple(order.rows(e * n, n).tolist()) for e in range(10)}
    seeds = {tuple(Order(256, s).rows(0, n).tolist()) for s in range(10)}
    assert len(epochs) == len(seeds) == 10


def test_every_row_comes_everywhere_equally_often() -> None:
    """Chi-square of position against row over 1,500 seeds."""
    n, trials = 7, 1500
    table = np.zeros((n, n))
    for seed in range(trials):
        table[np.arange(n), Order(n, seed).rows(0, n)] += 1
    chi_square = ((table - trials / n) ** 2 / (trials / n)).sum()
    freedom = (n - 1) ** 2
    assert chi_square < freedom + 6 * (2 * freedom) ** 0.5


def test_neighbouring_epochs_are_not_related() -> None:
    n = 4096
    order = Order(n, 1)
    first, second = order.rows(0, n), order.rows(n, n)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.08
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.08


def test_large_datasets_cost_nothing() -> None:
    rows = Order(10**9, 0).rows(10**12, 64)
    assert len(rows) == 64
    assert rows.min() >= 0
    assert rows.max() < 10**9


def test_an_empty_dataset_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least"):
        Order(0, 0)
