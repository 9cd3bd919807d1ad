"""Parameter updates in fixed point: a rounded step and a rounded shrinking, subtracted with overflow counted.

All of them compute ``w = overflow(w - step - shrink)``; they differ in what the step is. The sum is formed as
``(w - shrink) - step``: shrinking never makes a number larger than 2^62, so the difference stays within 64 bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.blocks import BLOCK, column, round_block, round_block_at_random, store_block
from fasim.kernels.compile import kernel
from fasim.kernels.micro.casts import quick, update_bits, update_vectors
from fasim.kernels.requantize import divides
from fasim.scalar.rounding import (
    JAM,
    NUMERIC_STD,
    RND,
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

# a number of 32 bits that is shifted by so many has 62
_FEW_BITS = 30


@njit(inline="always", cache=True)
def _known(rounding, overflow_mode):
    return TRN <= rounding <= STOCH_PSEUDO and WRAP <= overflow_mode <= NUMERIC_STD


@njit(inline="always", cache=True)
def _shrink(parameter, decay_shift, rounding, shrunk):
    """Write ``w - round(w / 2^decay_shift)`` (STOCH: RND) or, without decay (-1), w itself."""
    if decay_shift < 0:
        for p in range(parameter.size):
            shrunk[p] = parameter[p]
        return
    mode = RND if rounding == STOCH else rounding
    if decay_shift == 0:
        for p in range(parameter.size):
            shrunk[p] = np.int64(parameter[p]) - shift_round(parameter[p], 0, mode, 0)
        return
    round_block(parameter, decay_shift, mode, shrunk)
    for p in range(parameter.size):
        shrunk[p] = np.int64(parameter[p]) - shrunk[p]


@njit(inline="always", cache=True)
def _subtract_left(parameter, shrunk, gradient, factor, count, last_bit, lo, hi, mode):
    """Subtract ``gradient * factor << count``, also where that leaves 64 bits; the step is exact, so no mode rounds."""
    most = np.int64(0x7FFFFFFFFFFFFFFF) >> min(count, 63)
    outside = 0
    for p in range(parameter.size):
        product = (np.int64(gradient[p]) * factor) | last_bit
        step = product << count if count < 64 else np.int64(0)
        value = shrunk[p] - step
        # The step, or the difference, needs more than 64 bits: then its sign is known, and it is far outside.
        far = product > most or product < -most or ((shrunk[p] ^ step) & (shrunk[p] ^ value)) < 0
        negative = product > 0 if far else value < 0
        if mode in (SAT, SAT_SYM):
            parameter[p] = (lo if negative else hi) if far else overflow(value, lo, hi, SAT)
        elif mode == SAT_ZERO:
            parameter[p] = 0 if far else overflow(value, lo, hi, SAT_ZERO)
        elif mode == NUMERIC_STD:
            parameter[p] = (value & hi) + (lo if negative else 0)
        else:
            parameter[p] = overflow(value, lo, hi, WRAP)
        outside += np.int64(far or value < lo or value > hi)
    return outside


@njit(inline="always", cache=True)
def _is_near(parameter, gradient, shift, rounding, mode):
    """Tell whether a step that is shifted left, and the difference, surely fit 64 bits, for numbers that saturate."""
    short = parameter.itemsize <= 4 and gradient.itemsize <= 4 and -_FEW_BITS <= shift <= 0
    return short and rounding != JAM and mode in (SAT, SAT_SYM)


@njit(inline="always", cache=True)
def _subtract_near(parameter, gradient, count, lo, hi):
    """Subtract ``gradient << count`` where that is `_is_near`: 0.1 us for 500 biases instead of 1.4."""
    outside = 0
    for p in range(parameter.size):
        value = np.int64(parameter[p]) - (np.int64(gradient[p]) << count)
        inside = min(max(value, lo), hi)
        parameter[p] = inside
        outside += np.int64(inside != value)
    return outside


@kernel
def update_fixed(
    parameter,
    gradient,
    base_shift,
    learning_shift,
    lo,
    hi,
    rounding,
    overflow_mode,
    seed,
    site,
    step,
    first,
    counters,
):
    """Gradient descent with learning rate 2^-k: ``w = overflow(w - round(g / 2^shift))``, ``shift = base + k``.

    Parameters
    ----------
    parameter : integer[P]      master or weight, updated
    gradient : int32 or int64[P]
        Exact sum over the batch.
    base_shift : int64          fraction bits of the gradient minus those of the parameter
    learning_shift : int64[1]   k of this step
    lo, hi : int64              range of the parameter's format, see `fasim.fixedpoint.cast.limits`
    rounding, overflow_mode : int64
        Codes of :mod:`fasim.scalar.rounding`.
    seed, site, first : int64
        STOCH draws word ``first + p`` of the site's stream, see :mod:`fasim.scalar.philox`.
    step : int64[1]             step of the training
    counters : int64[2]         grows by saturations and wraps

    Raises
    ------
    ValueError
        If a mode is unknown, or STOCH is to drop more than the 32 bits of a word.
    """
    if not _known(rounding, overflow_mode):
        raise ValueError("update_fixed: unknown rounding or overflow code; see fasim.scalar.rounding")
    shift = base_shift + learning_shift[0]
    if rounding == STOCH and shift > 32:
        raise ValueError("update_fixed: STOCH drops at most 32 bits; use a larger learning rate or a finer parameter")
    if shift > 0 and quick(update_bits(parameter, gradient), gradient, parameter, shift, lo, hi, rounding, overflow_mode):
        counters[column(overflow_mode)] += update_vectors(parameter, gradient, shift, lo, hi, rounding, overflow_mode)
        return
    if _is_near(parameter, gradient, shift, rounding, overflow_mode):
        counters[column(overflow_mode)] += _subtract_near(parameter, gradient, -shift, lo, hi)
        return
    outside = 0
    steps = np.empty(BLOCK, np.int64)
    words = np.empty(BLOCK + 6, np.uint32)
    for start in range(0, parameter.size, BLOCK):
        mine, sums = parameter[start : start + BLOCK], gradient[start : start + BLOCK]
        if shift <= 0:
            last_bit = np.int64(rounding == JAM and shift == 0)
            for p in range(mine.size):
                steps[p] = mine[p]
            outside += _subtract_left(mine, steps, sums, np.int64(1), -shift, last_bit, lo, hi, overflow_mode)
            continue
        if rounding == STOCH:
            round_block_at_random(sums, shift, seed, site, step[0], first + start, words, steps)
        else:
            round_block(sums, shift, rounding, steps)
        for p in range(mine.size):
            steps[p] = np.int64(mine[p]) - steps[p]
        outside += store_block(steps, lo, hi, overflow_mode, mine)
    counters[column(overflow_mode)] += outside


@kernel
def update_scaled(
    parameter,
    gradient,
    base_shift,
    learning_shift,
    factor,
    lo,
    hi,
    rounding,
    overflow_mode,
    words,
    bits,
    half,
    decay_shift,
    counters,
):
    """Gradient descent with learning rate M 2^-k: ``w = overflow(w - round(g M / 2^shift) - round(w / 2^j))``.

    Parameters
    ----------
    parameter : integer[P]      master or weight, updated
    gradient : integer[P]
        Sum over the batch; ``gradient * factor`` must fit 64 bits, which the caller has proven.
    base_shift : int64          fraction bits of the gradient minus those of the parameter
    learning_shift : int64[1]   k of this step
    factor : int64[1]           M of this step
    lo, hi : int64              range of the parameter's format, at most 63 bits and signed
    rounding, overflow_mode : int64
        Codes of :mod:`fasim.scalar.rounding`.
    words : uint32[P]
        What STOCH draws for each element (`philox_words`, `lfsr_words`); any array otherwise.
    bits, half : int64, bool
        As for `requantize_random`.
    decay_shift : int64
        j of the weight decay 2^-j; -1: none. It is rounded as the step, under STOCH by RND.
    counters : int64[2]         grows by saturations and wraps

    Raises
    ------
    ValueError
        If a mode is unknown, or STOCH lacks words or bits of them.
    """
    if not _known(rounding, overflow_mode):
        raise ValueError("update_scaled: unknown rounding or overflow code; see fasim.scalar.rounding")
    shift = base_shift + learning_shift[0]
    if rounding == STOCH and shift > 0:
        if words.size < parameter.size:
            raise ValueError("update_scaled: STOCH needs a word for each parameter")
        if bits < 0 or bits > 32 or (bits == 0 and shift > 32):
            raise ValueError("update_scaled: a word has 32 bits; use fewer, a larger learning rate or a finer parameter")
    products = np.empty(BLOCK, np.int64)
    steps = np.empty(BLOCK, np.int64)
    shrunk = np.empty(BLOCK, np.int64)
    outside = 0
    for start in range(0, parameter.size, BLOCK):
        mine, sums = parameter[start : start + BLOCK], gradient[start : start + BLOCK]
        _shrink(mine, decay_shift, rounding, shrunk)
        if shift <= 0:
            last_bit = np.int64(rounding == JAM and shift == 0)
            outside += _subtract_left(mine, shrunk, sums, factor[0], -shift, last_bit, lo, hi, overflow_mode)
            continue
        for p in range(mine.size):
            products[p] = np.int64(sums[p]) * factor[0]
        if rounding == STOCH:
            drawn = words[start : start + BLOCK]
            for p in range(mine.size):
                steps[p] = random_round(products[p], shift, drawn[p], bits, half)
        else:
            round_block(products[: mine.size], shift, rounding, steps)
        for p in range(mine.size):
            steps[p] = shrunk[p] - steps[p]
        outside += store_block(steps, lo, hi, overflow_mode, mine)
    counters[column(overflow_mode)] += outside


@kernel
def update_divided(parameter, gradient, left_shift, divisor, lo, hi, rounding, overflow_mode, decay_shift, counters):
    """Gradient descent with learning rate 1/n: ``w = overflow(w - round((g << left) / n) - round(w / 2^j))``.

    Parameters
    ----------
    parameter : integer[P]      master or weight, updated
    gradient : integer[P]
        Sum over the batch; ``gradient << left_shift`` must fit 63 bits, which the caller has proven.
    left_shift : int64
        Fraction bits of the parameter minus those of the gradient, 0 or more.
    divisor : int64[1]          n of this step, 1 or more
    lo, hi, overflow_mode, decay_shift, counters
        As for `update_scaled`.
    rounding : int64
        A code that can divide, see `divide_fixed`.

    Raises
    ------
    ValueError
        If a mode is unknown or cannot divide, n < 1 or ``left_shift`` < 0.
    """
    if not divides(rounding) or not _known(rounding, overflow_mode):
        raise ValueError("update_divided: unknown overflow, or a rounding that cannot divide; see fasim.scalar.rounding")
    if divisor[0] < 1 or left_shift < 0:
        raise ValueError("update_divided: needs a divisor of 1 or more and a gradient with no more fraction bits")
    steps = np.empty(BLOCK, np.int64)
    outside = 0
    for start in range(0, parameter.size, BLOCK):
        mine, sums = parameter[start : start + BLOCK], gradient[start : start + BLOCK]
        _shrink(mine, decay_shift, rounding, steps)
        for p in range(mine.size):
            steps[p] -= divide_round(np.int64(sums[p]) << left_shift, divisor[0], rounding)
        outside += store_block(steps, lo, hi, overflow_mode, mine)
    counters[column(overflow_mode)] += outside


@kernel
def update_by_one(parameter, gradient, base_shift, learning_shift, lo, hi, overflow_mode, words, bits, counters):
    """Move a parameter by one step of its format, with a probability that grows with its gradient (ReckOn).

    ``p = min(|g| 2^(b - shift), 2^b)`` rounded down, ``w = overflow(w - sign(g))`` where ``p >= u``, u the low b bits of
    the word; a gradient of 0 never moves.

    Parameters
    ----------
    parameter : integer[P]      master or weight, updated
    gradient : integer[P]       sum over the batch
    base_shift : int64          fraction bits of the gradient minus those of the parameter
    learning_shift : int64[1]   k of the learning rate 2^-k of this step
    lo, hi, overflow_mode, counters
        As for `update_scaled`.
    words : uint32[P]           the random word of each element
    bits : int64                b, at most 32; 0 means 16

    Raises
    ------
    ValueError
        If the overflow is unknown, there are fewer words than parameters, or ``bits`` is not 0 to 32.
    """
    if not _known(TRN, overflow_mode):
        raise ValueError("update_by_one: unknown overflow code; see fasim.scalar.rounding")
    if words.size < parameter.size or bits < 0 or bits > 32:
        raise ValueError("update_by_one: needs a word for each parameter and bits of 0 to 32")
    width = np.int64(bits) if bits > 0 else np.int64(16)
    certain = np.uint64(1) << np.uint64(width)
    left = width - (base_shift + learning_shift[0])
    up = np.uint64(min(max(left, 0), 63))
    down = np.uint64(min(max(-left, 0), 63))
    vanishes = left < -63
    outside = 0
    for p in range(parameter.size):
        g = np.int64(gradient[p])
        sign = np.int64(g > 0) - np.int64(g < 0)
        size = np.uint64(g if g > 0 else -g)
        # Compared before it is moved left, since the product may leave 64 bits
        near = np.uint64(0) if vanishes else size >> down
        chance = certain if near > certain >> up else near << up
        drawn = np.uint64(words[p]) & (certain - np.uint64(1))
        value = np.int64(parameter[p]) - (sign if chance >= drawn else 0)
        outside += np.int64(value < lo) | np.int64(value > hi)
        parameter[p] = overflow(value, lo, hi, overflow_mode)
    counters[column(overflow_mode)] += outside


@kernel
def momentum_fixed(velocity, gradient, factor, velocity_shift, gradient_shift, out):
    """Form the velocity before its cast: ``out = (M v << velocity_shift) + (g << gradient_shift)``, exact.

    Parameters
    ----------
    velocity, gradient : integer[P]
    factor : int64
        M of the momentum M / 2^m.
    velocity_shift, gradient_shift : int64, >= 0
        Bring both to one binary point (that of v has m more fraction bits); the caller has proven that 64 bits suffice.
    out : int64[P]  written
    """
    for p in range(out.size):
        kept = np.int64(velocity[p]) * np.int64(factor)
        out[p] = (kept << velocity_shift) + (np.int64(gradient[p]) << gradient_shift)
