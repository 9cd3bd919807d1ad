"""Rounding and overflow of one integer: the two halves of every cast in fixed point.

Every function is exact for every 64-bit argument: nothing is added before a shift, so no sum can
leave 64 bits, and shift counts are clamped because LLVM leaves large ones undefined. The arguments
are converted to int64 first: the CUDA simulator and ``.py_func`` would else compute in the
narrow type of an array element.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TRN, RND, RND_CONV, STOCH = 0, 1, 2, 3
WRAP, SAT = 0, 1

ROUNDINGS = {"TRN": TRN, "RND": RND, "RND_CONV": RND_CONV, "STOCH": STOCH}
OVERFLOWS = {"WRAP": WRAP, "SAT": SAT}


@njit(inline="always", cache=True)
def shift_round(x, shift, rounding, word):
    """Drop ``shift`` fraction bits of ``x``; a negative shift adds fraction bits.

    With s = shift > 0: TRN ``x >> s``, RND ``(x + 2^(s-1)) >> s``, RND_CONV nearest with ties to
    even, STOCH ``(x + (word mod 2^s)) >> s``. With s <= 0 the result is ``x << -s`` modulo 2^64.

    Parameters
    ----------
    x : int64
        The number before the cast.
    shift : int64
        Fraction bits before minus fraction bits after; any value (STOCH: at most 32, because
        a Philox word has no more bits; not checked here).
    rounding : int64
        One of TRN, RND, RND_CONV, STOCH.
    word : int64
        32 random bits, read by STOCH only.

    Returns
    -------
    int64
    """
    value = np.int64(x)
    count = np.int64(shift)
    if count <= 0:
        if count < -63:
            return np.int64(0)
        return value << -count
    whole = value >> min(count, 63)
    if rounding == STOCH:
        mask = (np.int64(1) << min(count, 62)) - 1
        return whole + (((value & mask) + (np.int64(word) & mask)) >> min(count, 63))
    if rounding == TRN:
        return whole
    half = (value >> min(count - 1, 63)) & 1
    if rounding == RND:
        return whole + half
    # From 64 bits on, `whole` is odd wherever `half` is set: the lower bits do not matter.
    below = value & ((np.int64(1) << min(count - 1, 62)) - 1)
    return whole + (half & (whole | np.int64(below != 0)))


@njit(inline="always", cache=True)
def overflow(x, lo, hi, mode):
    """Bring ``x`` into ``[lo, hi]``: SAT clamps, WRAP keeps it modulo ``hi - lo + 1``.

    Parameters
    ----------
    x : int64
        The number after rounding.
    lo, hi : int64
        The range of the format; ``hi - lo + 1`` is a power of two, at most 2^63.
    mode : int64
        WRAP or SAT.

    Returns
    -------
    int64
    """
    value = np.int64(x)
    low = np.int64(lo)
    high = np.int64(hi)
    if mode == SAT:
        return min(max(value, low), high)
    span = high - low
    return low + (((value & span) - (low & span)) & span)
