"""Of which size a number is, made as the functions of `fasim_cuda.scalars` are."""

from __future__ import annotations

import math

import numpy as np

from fasim.scalar.constants import FLOAT_OFFSET
from fasim_cuda.scalars import scalar


@scalar
def bits_of(value):
    """Return ``bit_length(|value|)`` of an int64, at most 63: -2^63 counts among the largest."""
    left = np.uint64(abs(np.int64(value)))
    length = np.int64(0)
    while left > np.uint64(0):
        left >>= np.uint64(1)
        length += 1
    return min(length, 63)


@scalar
def is_finite(value):
    """Return whether a float32 is a number."""
    return math.isfinite(value)


@scalar
def exponent_of(value):
    """Return the bin of a finite float32 other than 0: i where ``2^(i - 64) <= |value| < 2^(i - 63)``, 0 .. 127."""
    return min(max(np.int64(math.frexp(value)[1]) + FLOAT_OFFSET, 0), 127)
