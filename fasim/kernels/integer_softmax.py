"""Softmax in whole numbers: powers of two from a table, one division each output."""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.scalar.constants import FAR, LOG2_E


@njit(inline="always", cache=True)
def _power(product, largest, shift, table, fraction_bits):
    """Return ``2^(15 + (t - max t) / 2^f)``, rounded down, where t is `product` without `shift` bits."""
    if shift >= 0:
        count = min(shift, 63)
        distance = (product >> count) - (largest >> count)
    else:
        # exact up to where every power is 0
        distance = max(product - largest, FAR) << min(-shift, 22)
    entry = distance & ((np.int64(1) << fraction_bits) - 1)
    return np.int64(table[entry]) >> min(-(distance >> fraction_bits), 31)


@kernel
def softmax_fixed(preact, log_shift, table, fraction_bits, one_shift, highest, out, counters):
    """Softmax of each row, in whole numbers alone.

    ``t = (preact * 47274) >> log_shift``, ``d = t - max_k t``, ``e = table[d mod 2^f] >> min(-(d div 2^f), 31)``,
    ``out = min((2 e 2^one_shift + S) div (2 S), highest)`` with ``S = sum_k e``

    Parameters
    ----------
    preact : integer[N, K]          at F fraction bits, 32 bits at most
    log_shift : int64[1]            F + 15 - f; where it is negative, t is exact
    table : uint32[2^f]             ``floor(2^(15 + i / 2^f) + 1/2)``
    fraction_bits : int64           f, 0 .. 8
    one_shift : int64               fraction bits of out, at most 45
    highest : int64                 largest number of out's format
    out : integer[N, K]             written; may be `preact`
    counters : int64[2]             ``counters[0]`` grows by the outputs above `highest`

    Cost: 3 N K table entries read, N K divisions.
    """
    shift = np.int64(log_shift[0])
    up, down = np.int64(max(one_shift, 0)), np.int64(min(max(-one_shift, 0), 8))  # 8 is more than an output of 1 survives
    outside = 0
    for n in range(out.shape[0]):
        largest = np.int64(preact[n, 0])
        for k in range(1, out.shape[1]):
            largest = max(largest, np.int64(preact[n, k]))
        largest *= LOG2_E
        total = np.int64(0)
        for k in range(out.shape[1]):
            total += _power(np.int64(preact[n, k]) * LOG2_E, largest, shift, table, fraction_bits)
        half = total << down
        for k in range(out.shape[1]):
            power = _power(np.int64(preact[n, k]) * LOG2_E, largest, shift, table, fraction_bits)
            value = ((power << (up + 1)) + half) // (2 * half)
            outside += np.int64(value > highest)
            out[n, k] = min(value, highest)
    counters[0] += outside
