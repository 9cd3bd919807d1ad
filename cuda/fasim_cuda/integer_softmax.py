"""Softmax in whole numbers: powers of two from a table, one division each output; one thread a row."""

from __future__ import annotations

from numba import int64

from fasim.scalar.constants import LOG2_E
from fasim_cuda.scalars import power_of_two, share
from fasim_cuda.target import cuda, jit


@jit
def softmax_fixed(preact, log_shift, table, fraction_bits, one_shift, highest, out, counters):
    """Softmax of each row, in whole numbers alone; the formula is that of `fasim.kernels.softmax_fixed`.

    Parameters
    ----------
    preact : integer[N, K]          at F fraction bits, 32 bits at most
    log_shift : int64[1]            F + 15 - f; where it is negative, t is exact
    table : uint32[2^f]             ``floor(2^(15 + i / 2^f) + 1/2)``
    fraction_bits : int64           f, 0 .. 8
    one_shift : int64               fraction bits of out, at most 45
    highest : int64                 largest number of out's format
    out : integer[N, K]             written; may not be `preact`
    counters : int64[2]             ``counters[0]`` grows by the outputs above `highest`
    """
    outside = int64(0)
    shift = log_shift[0]
    for n in range(cuda.grid(1), out.shape[0], cuda.gridsize(1)):
        largest = int64(preact[n, 0])
        for k in range(1, out.shape[1]):
            largest = max(largest, int64(preact[n, k]))
        largest = int64(largest * int64(LOG2_E))
        total = int64(0)
        for k in range(out.shape[1]):
            product = int64(int64(preact[n, k]) * int64(LOG2_E))
            entry, down = power_of_two(product, largest, shift, table.size, fraction_bits)
            total = int64(total + (int64(table[entry]) >> int64(down)))
        for k in range(out.shape[1]):
            product = int64(int64(preact[n, k]) * int64(LOG2_E))
            entry, down = power_of_two(product, largest, shift, table.size, fraction_bits)
            value = int64(share(int64(table[entry]) >> int64(down), total, one_shift))
            if value > int64(highest):
                outside = int64(outside + int64(1))
            out[n, k] = min(value, int64(highest))
    if outside > int64(0):
        cuda.atomic.add(counters, 0, outside)
