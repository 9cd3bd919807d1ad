"""Means, Student's intervals and paired differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fasim.intervals import paired_difference, t_interval

# quantile 0.975 of Student's distribution by degrees of freedom, from printed tables
QUANTILES = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 29: 2.045}


@pytest.mark.parametrize("degrees", QUANTILES)
def test_the_interval_is_students(degrees):
    values = np.random.default_rng(degrees).normal(3, 2, degrees + 1)
    found = t_interval(values.tolist())
    reach = QUANTILES[degrees] * values.std(ddof=1) / math.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=2e-3)
    assert found.size == degrees + 1


def test_it_holds_the_true_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        found = t_interval(random.normal(0, 1, 4).tolist())
        held += found.low <= 0 <= found.high
    # 1900 expected, with a deviation of 10
    assert 1860 < held < 1940


def test_one_value_has_no_interval():
    assert t_interval([0.5]) == (0.5, None, None, 1)


def test_a_difference_is_taken_over_the_seeds_of_both():
    own, other = {1: 0.9, 2: 0.8, 5: 0.1}, {2: 0.75, 1: 0.8, 7: 0.0}
    found = paired_difference(own, other)
    assert found.mean == pytest.approx(0.075)
    assert found.size == 2
    assert paired_difference({1: 0.5}, {2: 0.5}) is None


def test_what_the_seed_does_to_both_leaves_the_interval():
    seeds = range(5)
    shared = np.random.default_rng(1).normal(0, 1, 5)
    own, other = ({seed: float(shared[seed]) + shift for seed in seeds} for shift in (0.25, 0.0))
    found = paired_difference(own, other)
    assert found.high - found.low < 1e-9 < t_interval(list(own.values())).high - t_interval(list(own.values())).low
    assert found.mean == pytest.approx(0.25)
