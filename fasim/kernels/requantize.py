"""Cast a tensor of integers to another format: shift, round, overflow, count."""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.scalar.philox import random_block
from fasim.scalar.rounding import SAT, STOCH, TRN, WRAP, overflow, shift_round

_BLOCKS = 256  # Philox blocks drawn at once: 1024 words, 4 KiB, stays in the first-level cache


@njit(inline="always", cache=True)
def _drop_bits(raw, shift, lo, hi, rounding, mode, out):
    """Cast with ``shift`` > 0. LLVM takes the modes, which never change, out of the loop."""
    outside = 0
    for i in range(raw.size):
        value = shift_round(raw[i], shift, rounding, 0)
        outside += np.int64(value < lo) | np.int64(value > hi)
        out[i] = overflow(value, lo, hi, mode)
    return outside


@njit(inline="always", cache=True)
def _add_bits(raw, shift, lo, hi, mode, out):
    """Cast with ``shift`` <= 0: compares before it shifts, since the result may need > 64 bits."""
    count = min(-shift, 63)
    least = -(-lo >> count)
    most = hi >> count
    outside = 0
    for i in range(raw.size):
        value = np.int64(raw[i])
        shifted = shift_round(value, shift, TRN, 0)
        if mode == SAT:
            out[i] = lo if value < least else (hi if value > most else shifted)
        else:
            out[i] = overflow(shifted, lo, hi, WRAP)
        outside += np.int64(value < least) | np.int64(value > most)
    return outside


@njit(inline="always", cache=True)
def _drop_bits_at_random(raw, shift, lo, hi, mode, seed, site, step, first, out):
    """Cast with STOCH: draw whole Philox blocks into a buffer, then round from it."""
    words = np.empty(4 * _BLOCKS, np.uint32)
    outside = 0
    done = 0
    while done < raw.size:
        block = (first + done) >> 2
        skip = (first + done) & 3
        todo = min(raw.size - done, words.size - skip)
        for b in range((skip + todo + 3) >> 2):
            w0, w1, w2, w3 = random_block(seed, site, step, block + b)
            words[4 * b] = w0
            words[4 * b + 1] = w1
            words[4 * b + 2] = w2
            words[4 * b + 3] = w3
        for i in range(todo):
            value = shift_round(raw[done + i], shift, STOCH, words[skip + i])
            outside += np.int64(value < lo) | np.int64(value > hi)
            out[done + i] = overflow(value, lo, hi, mode)
        done += todo
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
        Range of the target format (`Fixed.lo`, `Fixed.hi`); ``out`` must be able to hold it.
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
        ``counters[0]`` grows by the elements that SAT clamped, ``counters[1]`` by those that WRAP
        wrapped.

    Raises
    ------
    ValueError
        If ``out`` has another size than ``raw``, a mode is unknown, or STOCH is to drop more than
        the 32 bits that a Philox word has.
    """
    if out.size != raw.size:
        raise ValueError("requantize: out needs as many elements as raw")
    if rounding < TRN or rounding > STOCH or (overflow_mode != SAT and overflow_mode != WRAP):
        raise ValueError("requantize: unknown rounding or overflow code; see fasim.scalar.rounding")
    if rounding == STOCH and shift > 32:
        raise ValueError("requantize: STOCH drops at most 32 bits; use a format with more of them")
    if shift <= 0:
        outside = _add_bits(raw, shift, lo, hi, overflow_mode, out)
    elif rounding != STOCH:
        outside = _drop_bits(raw, shift, lo, hi, rounding, overflow_mode, out)
    else:
        outside = _drop_bits_at_random(raw, shift, lo, hi, overflow_mode, seed, site, step, first, out)
    counters[0 if overflow_mode == SAT else 1] += outside
