"""Means with intervals over few seeds, and differences between runs that share their seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

CONFIDENCE = 0.95


class MeanInterval(NamedTuple):
    """A mean and the interval that holds the true one with 95 %, None where one value alone gives none."""

    mean: float
    low: float | None
    high: float | None
    size: int


def t_interval(values: Sequence[float]) -> MeanInterval:
    """Return the mean of some values with Student's interval.

    ``mean +- t * s / sqrt(n)``, s the deviation of the sample and t the quantile 0.975 of Student's distribution with n - 1
    degrees of freedom: 12.7 for 2 values, 4.30 for 3, 2.78 for 5.

    Parameters
    ----------
    values : sequence of float
        At least one; independent and about normal, or the interval is only a guide.
    """
    mean = fmean(values)
    if len(values) < 2:
        return MeanInterval(mean, None, None, len(values))
    from scipy.special import stdtrit  # takes as long to import as a comparison of small nets takes to start

    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    reach = quantile * stdev(values) / math.sqrt(len(values))
    return MeanInterval(mean, mean - reach, mean + reach, len(values))


def paired_difference(own: Mapping[int, float], other: Mapping[int, float]) -> MeanInterval | None:
    """Return the mean of ``own[seed] - other[seed]`` over the seeds that both have; None if there are none.

    Runs of one seed start from the same draws and see the same order of samples, so that what a seed does to both leaves
    the difference: its interval is mostly far narrower than those of the two means suggest.

    Parameters
    ----------
    own, other : mapping of seed to float
    """
    differences = [own[seed] - other[seed] for seed in own if seed in other]
    return t_interval(differences) if differences else None
