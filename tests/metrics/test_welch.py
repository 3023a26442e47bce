"""Student's distribution against its closed forms, Welch's interval against simulation, permutations against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kantor.metrics.welch import difference, student_below, student_quantile


@pytest.mark.parametrize("p", [0.5, 0.6, 0.9, 0.975, 0.9995])
def test_quantiles_have_closed_forms_at_1_2_and_4_degrees(p: float) -> None:
    alpha = 4 * p * (1 - p)
    q = math.cos(math.acos(math.sqrt(alpha)) / 3) / math.sqrt(alpha)
    closed = {1: math.tan(math.pi * (p - 0.5)), 2: (2 * p - 1) * math.sqrt(2 / alpha), 4: 2 * math.sqrt(max(q - 1, 0))}
    for degrees, value in closed.items():
        assert student_quantile(p, degrees) == pytest.approx(value, rel=1e-9, abs=1e-7)


@pytest.mark.parametrize(("degrees", "t"), [(3, 3.182446), (10, 2.228139), (30, 2.042272), (1e7, 1.959964)])
def test_quantiles_are_those_of_the_tables(degrees: float, t: float) -> None:
    assert student_quantile(0.975, degrees) == pytest.approx(t, abs=1e-6)


def test_the_distribution_is_the_integral_of_its_density() -> None:
    degrees, t = 2.7, np.linspace(0, 1.8, 20_001)
    front = math.gamma((degrees + 1) / 2) / math.sqrt(degrees * math.pi) / math.gamma(degrees / 2)
    density = front * (1 + t * t / degrees) ** (-(degrees + 1) / 2)
    assert student_below(1.8, degrees) == pytest.approx(0.5 + np.trapezoid(density, t), abs=1e-9)


def test_equal_sizes_and_spreads_give_students_interval() -> None:
    found = difference([1, 2, 3], [4, 5, 6])
    assert found.value == -3 and found.degrees == pytest.approx(4)
    reach = student_quantile(0.975, 4) * math.sqrt(2 / 3)
    assert found.interval == pytest.approx((-3 - reach, -3 + reach)) and found.clear
    assert (found.as_large, found.ways) == (2, 20)  # this way and its mirror image


def test_welch_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        interval = difference(random.normal(0, 1, 3).tolist(), random.normal(0, 3, 5).tolist()).interval
        assert interval is not None
        covered += interval[0] <= 0 <= interval[1]
    assert 0.93 < covered / 2000 < 0.975


def test_few_values_say_little() -> None:
    single = difference([1.0], [3.0, 4.0])
    assert (single.value, single.interval, single.ways) == (-2.5, None, 0)
    pair = difference([1.0, 2.0], [3.0, 4.0])
    assert pair.interval is not None and not pair.clear and pair.ways == 0
    same = difference([2.0, 2.0, 2.0], [2.0, 2.0, 2.0])
    assert (same.value, same.interval, same.as_large, same.ways) == (0, None, 20, 20)


def test_mirror_images_count_as_equal_however_they_are_rounded() -> None:
    for k in range(40):
        near = [0.9 + 1e-9 * (k + i) for i in range(3)], [0.9 + 1e-9 * (k + 7 + 3 * i) for i in range(3)]
        assert difference(*near).as_large == 2
