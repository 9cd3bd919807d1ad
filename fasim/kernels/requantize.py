"""Cast a tensor of integers to another format: shift or divide, round, overflow, count."""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.blocks import BLOCK, column, round_block, round_block_at_random, store_block
from fasim.kernels.compile import kernel
from fasim.kernels.micro.casts import cast_bits, cast_vectors, quick
from fasim.scalar.rounding import (
    JAM,
    JAM_UNBIASED,
    NUMERIC_STD,
    SAT,
    SAT_SYM,
    SAT_ZERO,
    STOCH,
    STOCH_PSEUDO,
    TRN,
    WRAP,
    divide_round,
    overflow,
    random_round,
    shift_round,
)


@njit(inline="always", cache=True)
def divides(rounding):
    """Return whether a rounding is defined for a quotient by any number, not only for dropped bits."""
    drops_only = rounding in (STOCH, JAM, JAM_UNBIASED, STOCH_PSEUDO)
    return TRN <= rounding <= STOCH_PSEUDO and not drops_only


@njit(inline="always", cache=True)
def _add_bits(raw, shift, lo, hi, rounding, mode, out):
    """Cast with ``shift`` <= 0: compares before it shifts, since the result may need > 64 bits."""
    count = min(-shift, 63)
    least = -(-lo >> count)
    most = hi >> count
    last_bit = np.int64(rounding == JAM and shift == 0)
    outside = 0
    for i in range(raw.size):
        value = np.int64(raw[i]) | last_bit
        shifted = shift_round(value, shift, TRN, 0)
        below, above = value < least, value > most
        if mode in (SAT, SAT_SYM):
            out[i] = lo if below else (hi if above else shifted)
        elif mode == SAT_ZERO:
            out[i] = 0 if below or above else shifted
        elif mode == NUMERIC_STD:
            out[i] = (shifted & hi) + ((value >> 63) & lo)
        else:
            out[i] = overflow(shifted, lo, hi, WRAP)
        outside += np.int64(below) | np.int64(above)
    return outside


@kernel
def requantize(raw, shift, lo, hi, rounding, overflow_mode, seed, site, step, first, out, counters):
    """Cast ``raw`` to a format: ``out = overflow(round(raw / 2^shift))``, element by element.

    Exact for every int64, also where a left shift leaves 64 bits. ``out`` may be ``raw``.

    Parameters
    ----------
    raw : integer array, shape (size,), contiguous
        The numbers before the cast, each an int64 (a uint64 above is read as negative).
    shift : int
        Fraction bits of ``raw`` minus fraction bits of ``out``; negative shifts left.
    lo, hi : int
        Range of the target format (`fasim.fixedpoint.cast.limits`); ``out`` must be able to hold it.
    rounding, overflow_mode : int
        Codes of `fasim.scalar.rounding`.
    seed : uint64
    site, step : int
        What STOCH draws from, see `fasim.scalar.philox.random_block`; ignored otherwise.
    first : int
        Index of ``raw[0]`` in the whole tensor: a slice draws the words that the whole would.
    out : integer array, shape (size,), contiguous
        The numbers after the cast.
    counters : int64 array, shape (2,)
        ``counters[0]`` grows by the elements outside of the range that SAT, SAT_SYM or SAT_ZERO brought in,
        ``counters[1]`` by those that WRAP or NUMERIC_STD wrapped.

    Raises
    ------
    ValueError
        If ``out`` has another size than ``raw``, a mode is unknown, or STOCH is to drop more than
        the 32 bits that a Philox word has.
    """
    if out.size != raw.size:
        raise ValueError("requantize: out needs as many elements as raw")
    if rounding < TRN or rounding > STOCH_PSEUDO or overflow_mode < WRAP or overflow_mode > NUMERIC_STD:
        raise ValueError("requantize: unknown rounding or overflow code; see fasim.scalar.rounding")
    if rounding == STOCH and shift > 32:
        raise ValueError("requantize: STOCH drops at most 32 bits; use a format with more of them")
    outside = 0
    if quick(cast_bits(raw), raw, out, shift, lo, hi, rounding, overflow_mode):
        outside = cast_vectors(raw, shift, lo, hi, rounding, overflow_mode, out)
    elif shift <= 0:
        outside = _add_bits(raw, shift, lo, hi, rounding, overflow_mode, out)
    else:
        values = np.empty(BLOCK, np.int64)
        words = np.empty(BLOCK + 6, np.uint32)
        for start in range(0, raw.size, BLOCK):
            part = raw[start : start + BLOCK]
            if rounding == STOCH:
                round_block_at_random(part, shift, seed, site, step, first + start, words, values)
            else:
                round_block(part, shift, rounding, values)
            outside += store_block(values, lo, hi, overflow_mode, out[start : start + BLOCK])
    counters[column(overflow_mode)] += outside


@kernel
def requantize_random(raw, shift, lo, hi, overflow_mode, words, bits, half, out, counters):
    """Cast with STOCH from words that the caller drew: ``out = overflow(floor((raw + u) / 2^shift))``.

    u is made from a word as in `fasim.scalar.rounding.random_round`. Exact for every int64. ``out`` may be ``raw``.

    Parameters
    ----------
    raw : integer array, shape (size,), contiguous
    shift, lo, hi, overflow_mode
        As for `requantize`.
    words : uint32 array, shape (size,)
        The random word of each element (`philox_words`, `lfsr_words`); not read where ``shift`` <= 0.
    bits : int
        Bits used of a word, 0: as many as are dropped.
    half : bool
        Whether half of the last random bit's weight is added where fewer bits are used than dropped.
    out : integer array, shape (size,), contiguous
    counters : int64 array, shape (2,)
        As for `requantize`.

    Raises
    ------
    ValueError
        If sizes differ, the mode is unknown, or more than the 32 bits of a word are needed.
    """
    if out.size != raw.size or (shift > 0 and words.size < raw.size):
        raise ValueError("requantize_random: out and words need as many elements as raw")
    if overflow_mode < WRAP or overflow_mode > NUMERIC_STD:
        raise ValueError("requantize_random: unknown overflow code; see fasim.scalar.rounding")
    if bits < 0 or bits > 32 or (bits == 0 and shift > 32):
        raise ValueError("requantize_random: a word has 32 bits; use fewer, or a format that drops fewer")
    outside = 0
    if shift <= 0:
        outside = _add_bits(raw, shift, lo, hi, STOCH, overflow_mode, out)
    else:
        values = np.empty(BLOCK, np.int64)
        for start in range(0, raw.size, BLOCK):
            part, drawn = raw[start : start + BLOCK], words[start : start + BLOCK]
            for i in range(part.size):
                values[i] = random_round(part[i], shift, drawn[i], bits, half)
            outside += store_block(values, lo, hi, overflow_mode, out[start : start + BLOCK])
    counters[column(overflow_mode)] += outside


@kernel
def divide_fixed(raw, divisor, shift, lo, hi, rounding, overflow_mode, out, counters):
    """Cast by a division: ``out = overflow(round(raw * 2^-shift / divisor))``, one rounding.

    Parameters
    ----------
    raw : integer array, shape (size,), contiguous
        ``raw * 2^-shift`` must fit 64 bits, which the caller has proven.
    divisor : int
        1 or more.
    shift : int
        0 or less: the numbers are shifted left by ``-shift``, then divided.
    lo, hi, overflow_mode
        As for `requantize`.
    rounding : int
        A code of `fasim.scalar.rounding` other than JAM, JAM_UNBIASED, STOCH and STOCH_PSEUDO.
    out : integer array, shape (size,), contiguous
    counters : int64 array, shape (2,)
        As for `requantize`.

    Raises
    ------
    ValueError
        If sizes differ, a mode is unknown or cannot divide, ``divisor`` < 1 or ``shift`` > 0.
    """
    if out.size != raw.size:
        raise ValueError("divide_fixed: out needs as many elements as raw")
    if not divides(rounding) or overflow_mode < WRAP or overflow_mode > NUMERIC_STD:
        raise ValueError("divide_fixed: unknown overflow code, or a rounding that cannot divide; see fasim.scalar.rounding")
    if divisor < 1 or shift > 0:
        raise ValueError("divide_fixed: needs a divisor of 1 or more and a shift of 0 or less")
    outside = 0
    values = np.empty(BLOCK, np.int64)
    for start in range(0, raw.size, BLOCK):
        part = raw[start : start + BLOCK]
        for i in range(part.size):
            values[i] = divide_round(np.int64(part[i]) << -shift, divisor, rounding)
        outside += store_block(values, lo, hi, overflow_mode, out[start : start + BLOCK])
    counters[column(overflow_mode)] += outside
