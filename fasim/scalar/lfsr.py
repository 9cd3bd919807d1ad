"""Shift registers with linear feedback: the random numbers that most chips have.

One shift is ``state = (state << 1 | parity of the tapped bits) mod 2^width``; bit number n is bit n - 1 of the state. A
shift is a matrix over GF(2), so the state after any number of shifts is found by squaring that matrix: every slice of a
tensor can start at its own draw.

A matrix is the array of its columns: ``columns[b]`` is what bit b of a state contributes to the next state.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numba import njit

#: Taps of a register of maximal period 2^width - 1, from Xilinx application note XAPP052 (P. Alfke, 1996), table 3
MAXIMAL_TAPS = {
    2: (2, 1),
    3: (3, 2),
    4: (4, 3),
    5: (5, 3),
    6: (6, 5),
    7: (7, 6),
    8: (8, 6, 5, 4),
    9: (9, 5),
    10: (10, 7),
    11: (11, 9),
    12: (12, 6, 4, 1),
    13: (13, 4, 3, 1),
    14: (14, 5, 3, 1),
    15: (15, 14),
    16: (16, 15, 13, 4),
    17: (17, 14),
    18: (18, 11),
    19: (19, 6, 2, 1),
    20: (20, 17),
    21: (21, 19),
    22: (22, 21),
    23: (23, 18),
    24: (24, 23, 22, 17),
    25: (25, 22),
    26: (26, 6, 2, 1),
    27: (27, 5, 2, 1),
    28: (28, 25),
    29: (29, 27),
    30: (30, 6, 4, 1),
    31: (31, 28),
    32: (32, 22, 2, 1),
}


def tap_mask(taps: Iterable[int]) -> int:
    """Return the mask of tapped bits, which the kernels take: bit number n sets bit n - 1.

    Parameters
    ----------
    taps : iterable of int
        Bit numbers from 1, such as ``MAXIMAL_TAPS[16]``.
    """
    return sum(1 << (tap - 1) for tap in set(taps))


def lfsr_start(width: int, seed: int, run_seed: int, site: int) -> int:
    """Return the state before the first shift: ``1 + (seed + run_seed + site) mod (2^width - 1)``, never 0.

    Parameters
    ----------
    width : int
        Bits of the register.
    seed, run_seed : int
        Of the register in the datapath, and of the run.
    site : int
        CRC-32 of the site's name.
    """
    return 1 + (seed + run_seed + site) % ((1 << width) - 1)


@njit(inline="always", cache=True)
def lfsr_shift(state, taps, width):
    """Return the state after one shift.

    Parameters
    ----------
    state : uint64
    taps : uint64
        See `tap_mask`.
    width : int64
        2 to 32.

    Returns
    -------
    uint64
    """
    now = np.uint64(state)
    parity = now & np.uint64(taps)
    for half in (16, 8, 4, 2, 1):
        parity ^= parity >> np.uint64(half)
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    return ((now << np.uint64(1)) & mask) | (parity & np.uint64(1))


@njit(inline="always", cache=True)
def apply_columns(columns, state):
    """Return the product of a matrix over GF(2) and a state.

    Parameters
    ----------
    columns : uint64[width]
    state : uint64

    Returns
    -------
    uint64
    """
    total = np.uint64(0)
    for b in range(columns.size):
        # Without a branch: all ones where the bit is set
        total ^= columns[b] & (np.uint64(0) - ((np.uint64(state) >> np.uint64(b)) & np.uint64(1)))
    return total


@njit(inline="always", cache=True)
def _multiply(left, right, out):
    for b in range(left.size):
        out[b] = apply_columns(left, right[b])


@njit(cache=True)
def lfsr_power(width, taps, count):
    """Return the matrix of ``count`` shifts, by about 2 log2(count) products of matrices.

    Parameters
    ----------
    width : int64
    taps : uint64
    count : int64
        0 or more.

    Returns
    -------
    uint64[width]
        Columns.
    """
    result = np.empty(width, np.uint64)
    square = np.empty(width, np.uint64)
    product = np.empty(width, np.uint64)
    for b in range(width):
        result[b] = np.uint64(1) << np.uint64(b)
        square[b] = lfsr_shift(result[b], taps, width)
    left = np.int64(count)
    while left > 0:
        if left & 1:
            _multiply(square, result, product)
            result[:] = product
        left >>= 1
        if left > 0:
            _multiply(square, square, product)
            square[:] = product
    return result


@njit(cache=True)
def lfsr_jump(columns, count, state):
    """Return the state after ``count`` steps, each of which is the matrix ``columns``.

    Parameters
    ----------
    columns : uint64[width]
        Of one step, such as `lfsr_power` gives for the shifts of a draw.
    count : int64
        0 or more.
    state : uint64

    Returns
    -------
    uint64
    """
    square = columns.copy()
    product = np.empty_like(square)
    now = np.uint64(state)
    left = np.int64(count)
    while left > 0:
        if left & 1:
            now = apply_columns(square, now)
        left >>= 1
        if left > 0:
            _multiply(square, square, product)
            square[:] = product
    return now
