"""What range a tensor takes: smallest and largest value, zeros, and how many values have which size.

Counts add up over launches; the caller makes the arrays once, with the extremes crossed and everything else 0. Blocks count
in shared memory first. All additions are of integers: no grid changes a count.
"""

from __future__ import annotations

import math

from numba import float32, int64

from fasim_cuda.scalars_observe import bits_of, exponent_of, is_finite
from fasim_cuda.target import cuda, jit

INTEGER_BINS, FLOAT_BINS = 64, 128
INFINITY = math.inf


@jit
def observe(array, bins, extremes):
    """Count the integers of a tensor by size: ``bins[b] += number of x with bit_length(|x|) = b``; b = 0 are the zeros.

    Parameters
    ----------
    array : integer[M]
    bins : int64[64]        added to; the last one takes the 64 bits of -2^63 too
    extremes : int64[4]     smallest, largest, zeros, elements; updated
    """
    counts = cuda.shared.array(INTEGER_BINS, int64)
    for b in range(cuda.threadIdx.x, INTEGER_BINS, cuda.blockDim.x):
        counts[b] = int64(0)
    cuda.syncthreads()
    smallest = int64(0x7FFFFFFFFFFFFFFF)
    largest = int64(-0x7FFFFFFFFFFFFFFF - 1)
    seen = int64(0)
    for m in range(cuda.grid(1), array.size, cuda.gridsize(1)):
        x = int64(array[m])
        smallest = min(smallest, x)
        largest = max(largest, x)
        seen = int64(seen + int64(1))
        cuda.atomic.add(counts, bits_of(x), int64(1))
    cuda.syncthreads()
    for b in range(cuda.threadIdx.x, INTEGER_BINS, cuda.blockDim.x):
        if counts[b] > int64(0):
            cuda.atomic.add(bins, b, counts[b])
            if b == 0:
                cuda.atomic.add(extremes, 2, counts[b])
    if seen > int64(0):
        cuda.atomic.min(extremes, 0, smallest)
        cuda.atomic.max(extremes, 1, largest)
        cuda.atomic.add(extremes, 3, seen)


@jit
def observe_float(array, bins, extremes, counts):
    """Count the numbers of a float tensor by binary exponent.

    ``bins[i] += number of x with 2^(i - 64) <= |x| < 2^(i - 63)``; the first bin takes what is smaller too, but no zeros,
    the last one what is larger. NaN and infinities are counted apart and have no part in smallest and largest.

    Parameters
    ----------
    array : float32[M]
    bins : int64[128]       added to
    extremes : float32[2]   smallest, largest; updated
    counts : int64[3]       zeros, elements, NaN and infinities; added to
    """
    sizes = cuda.shared.array(FLOAT_BINS, int64)
    for b in range(cuda.threadIdx.x, FLOAT_BINS, cuda.blockDim.x):
        sizes[b] = int64(0)
    cuda.syncthreads()
    smallest = float32(INFINITY)
    largest = float32(-INFINITY)
    zeros = int64(0)
    others = int64(0)
    seen = int64(0)
    for m in range(cuda.grid(1), array.size, cuda.gridsize(1)):
        x = float32(array[m])
        seen = int64(seen + int64(1))
        if not is_finite(x):
            others = int64(others + int64(1))
        else:
            smallest = min(smallest, x)
            largest = max(largest, x)
            if x == float32(0):
                zeros = int64(zeros + int64(1))
            else:
                cuda.atomic.add(sizes, exponent_of(x), int64(1))
    cuda.syncthreads()
    for b in range(cuda.threadIdx.x, FLOAT_BINS, cuda.blockDim.x):
        if sizes[b] > int64(0):
            cuda.atomic.add(bins, b, sizes[b])
    if seen > int64(0):
        cuda.atomic.min(extremes, 0, smallest)
        cuda.atomic.max(extremes, 1, largest)
        cuda.atomic.add(counts, 0, zeros)
        cuda.atomic.add(counts, 1, seen)
        cuda.atomic.add(counts, 2, others)
