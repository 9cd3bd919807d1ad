"""What batch normalisation and clipping by the norm do to one number, made as those of `fasim_cuda.scalars` are."""

from __future__ import annotations

import math

import numpy as np

from fasim_cuda.scalars import scalar

# more fraction bits of running statistics in fixed point
STATISTIC_BITS = 8


@scalar
def inverse_root(variance, eps):
    """Return ``1 / sqrt(variance + eps)``, reckoned in float64."""
    return np.float32(1.0 / math.sqrt(variance + eps))


@scalar
def nearer(running, batch, momentum):
    """Return a running statistic moved towards that of the batch, reckoned in float64."""
    return np.float32((1.0 - momentum) * running + momentum * batch)


@scalar
def nearest_mean(total, rows):
    """Return ``total / rows``, the nearest whole number, ties up."""
    twice = np.int64(2) * np.int64(total) + np.int64(rows)
    return twice // (np.int64(2) * np.int64(rows))


@scalar
def half_length(variance):
    """Return half of the bits that a number >= 0 has: the binary exponent of its root."""
    left = np.int64(variance)
    length = np.int64(0)
    while left > 0:
        left >>= 1
        length += 1
    return length >> 1


@scalar
def an_eighth_nearer(running, batch):
    """Return a running statistic moved by an eighth of the way, rounded half up; it has 8 fraction bits more."""
    return np.int64(running) + (((np.int64(batch) << STATISTIC_BITS) - np.int64(running) + 4) >> 3)


@scalar
def without_statistic_bits(running):
    """Return a running mean at the batch's binary point, rounded half up."""
    return (np.int64(running) + (1 << (STATISTIC_BITS - 1))) >> STATISTIC_BITS


@scalar
def centred(delta, normal, mean, slope, bits):
    """Return ``delta - mean - RND(normal slope / 2^bits)``; bits >= 0."""
    drift = np.int64(normal) * np.int64(slope)
    if bits > 0:
        drift = ((drift >> (bits - 1)) + 1) >> 1
    return np.int64(delta) - np.int64(mean) - drift


@scalar
def shrinking(norm2, limit):
    """Return ``min(1, limit / (sqrt(norm2) + 1e-6))``, reckoned in float64; a NaN stays one."""
    factor = limit / (math.sqrt(norm2) + 1e-6)
    return np.float32(1.0 if factor >= 1.0 else factor)
