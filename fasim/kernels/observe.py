"""What range a tensor takes: smallest and largest value, zeros, and how many values have which size.

Counts add up over calls: the caller makes the arrays once, with the extremes crossed (smallest: the largest number there
is; largest: the smallest) and everything else 0.
"""

from __future__ import annotations

import math

import numpy as np

from fasim.kernels.compile import kernel
from fasim.scalar.constants import FLOAT_OFFSET


@kernel
def observe(array, bins, extremes):
    """Count the integers of a tensor by size.

    ``bins[b] += number of x with bit_length(|x|) = b``; b = 0 are the zeros.

    Parameters
    ----------
    array : integer[M]
    bins : int64[64]        added to; the last one takes the 64 bits of -2^63 too
    extremes : int64[4]     smallest, largest, zeros, elements; updated
    """
    smallest, largest = extremes[0], extremes[1]
    for m in range(array.shape[0]):
        x = np.int64(array[m])
        smallest = min(smallest, x)
        largest = max(largest, x)
        magnitude = np.uint64(abs(x))
        length = 0
        while magnitude:
            magnitude >>= np.uint64(1)
            length += 1
        bins[min(length, 63)] += 1
        extremes[2] += x == 0
    extremes[0], extremes[1] = smallest, largest
    extremes[3] += array.shape[0]


@kernel
def observe_float(array, bins, extremes):
    """Count the numbers of a float tensor by binary exponent.

    ``bins[i] += number of x with 2^(i - 64) <= |x| < 2^(i - 63)``; the first bin takes what is smaller too, but no zeros,
    the last one what is larger. NaN and infinities are counted apart and have no part in smallest and largest.

    Parameters
    ----------
    array : float32[M]
    bins : int64[128]       added to
    extremes : float64[5]   smallest, largest, zeros, elements, NaN and infinities; updated
    """
    smallest, largest = extremes[0], extremes[1]
    for m in range(array.shape[0]):
        x = np.float64(array[m])
        if not math.isfinite(x):
            extremes[4] += 1
            continue
        smallest = min(smallest, x)
        largest = max(largest, x)
        if x == 0:
            extremes[2] += 1
        else:
            bins[min(max(math.frexp(x)[1] + FLOAT_OFFSET, 0), 127)] += 1
    extremes[0], extremes[1] = smallest, largest
    extremes[3] += array.shape[0]
