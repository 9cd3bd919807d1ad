"""What casts and updates do block by block: rounding into a buffer, then bringing it into range.

Apart, a rounding and an overflow are two short loops without a branch, for which LLVM finds vector code; together they
would be as many loops as there are pairs of modes, or one that is scalar. A block stays in the first-level cache. Blocks
are slices, since an index ``start + i`` might be negative for all that LLVM knows.

What takes a whole block is a function of its own, compiled once for each type of numbers. Inlined by Numba, which copies
what it inlines over and over, it made two kernels half of all time that a first `fasim compare` compiles.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.scalar.philox import random_block
from fasim.scalar.rounding import (
    NUMERIC_STD,
    RND,
    RND_CONV,
    SAT,
    SAT_SYM,
    SAT_ZERO,
    STOCH,
    STOCH_PSEUDO,
    TABLES,
    TRN,
    WRAP,
    overflow,
    pseudo_round,
    shift_round,
    table_round,
)

BLOCK = 1024


@njit(inline="always", cache=True)
def column(overflow_mode):
    """Return which counter an overflow grows: 0 for numbers that were saturated, 1 for numbers that wrapped."""
    return 1 if overflow_mode in (WRAP, NUMERIC_STD) else 0


@kernel
def round_block(raw, shift, rounding, values):
    """Round by a mode without random numbers, ``shift`` > 0, into the first of ``values``."""
    if rounding == TRN:
        for i in range(raw.size):
            values[i] = shift_round(raw[i], shift, TRN, 0)
    elif rounding == RND:
        for i in range(raw.size):
            values[i] = shift_round(raw[i], shift, RND, 0)
    elif rounding == RND_CONV:
        for i in range(raw.size):
            values[i] = shift_round(raw[i], shift, RND_CONV, 0)
    elif rounding == STOCH_PSEUDO:
        for i in range(raw.size):
            values[i] = pseudo_round(raw[i], shift)
    else:
        table = TABLES[rounding]
        for i in range(raw.size):
            values[i] = table_round(raw[i], shift, table)


@kernel
def round_block_at_random(raw, shift, seed, site, step, first, words, values):
    """Round with STOCH: ``words``, 6 longer than ``raw``, takes the Philox blocks of elements ``first`` on."""
    skip = first & 3
    for b in range((skip + raw.size + 3) >> 2):
        w0, w1, w2, w3 = random_block(seed, site, step, (first >> 2) + b)
        words[4 * b] = w0
        words[4 * b + 1] = w1
        words[4 * b + 2] = w2
        words[4 * b + 3] = w3
    mine = words[skip:]
    for i in range(raw.size):
        values[i] = shift_round(raw[i], shift, STOCH, mine[i])


@kernel
def store_block(values, lo, hi, mode, out):
    """Bring the first of ``values`` into range and write them to ``out``; return how many were outside."""
    outside = 0
    for i in range(out.size):
        outside += np.int64(values[i] < lo) | np.int64(values[i] > hi)
    if mode in (SAT, SAT_SYM):
        for i in range(out.size):
            out[i] = overflow(values[i], lo, hi, SAT)
    elif mode == SAT_ZERO:
        for i in range(out.size):
            out[i] = overflow(values[i], lo, hi, SAT_ZERO)
    elif mode == NUMERIC_STD:
        for i in range(out.size):
            out[i] = overflow(values[i], lo, hi, NUMERIC_STD)
    else:
        for i in range(out.size):
            out[i] = overflow(values[i], lo, hi, WRAP)
    return outside
