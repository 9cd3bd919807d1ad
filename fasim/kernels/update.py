"""The parameter update in fixed point: a rounded shift of the batch sum, subtracted with overflow counted."""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.scalar.philox import random_block
from fasim.scalar.rounding import RND, RND_CONV, SAT, STOCH, TRN, WRAP, overflow, shift_round


@njit(inline="always", cache=True)
def _subtract(parameter, gradient, shift, lo, hi, rounding, mode):
    """Update without random numbers; inlined with constant modes, so that the loop has no branch."""
    outside = 0
    for p in range(parameter.size):
        value = np.int64(parameter[p]) - shift_round(gradient[p], shift, rounding, 0)
        outside += np.int64(value < lo) | np.int64(value > hi)
        parameter[p] = overflow(value, lo, hi, mode)
    return outside


@njit(inline="always", cache=True)
def _subtract_at_random(parameter, gradient, shift, lo, hi, mode, seed, site, step, first):
    """Update with STOCH: four parameters share one Philox block."""
    outside = 0
    last = first + parameter.size
    for block in range(first >> 2, (last + 3) >> 2):
        words = random_block(seed, site, step, block)
        for lane in range(4):
            p = 4 * block + lane - first
            if 0 <= p < parameter.size:
                value = np.int64(parameter[p]) - shift_round(gradient[p], shift, STOCH, words[lane])
                outside += np.int64(value < lo) | np.int64(value > hi)
                parameter[p] = overflow(value, lo, hi, mode)
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
    lo, hi : int64              range of the parameter's format
    rounding, overflow_mode : int64
        Codes of :mod:`fasim.scalar.rounding`.
    seed, site, first : int64
        STOCH draws word ``first + p`` of the site's stream, see :mod:`fasim.scalar.philox`.
    step : int64[1]             step of the training
    counters : int64[2]         grows by saturations and wraps
    """
    shift = base_shift + learning_shift[0]
    saturate = overflow_mode == SAT
    if rounding == STOCH:
        mode = SAT if saturate else WRAP
        outside = _subtract_at_random(parameter, gradient, shift, lo, hi, mode, seed, site, step[0], first)
    elif rounding == RND and saturate:
        outside = _subtract(parameter, gradient, shift, lo, hi, RND, SAT)
    elif rounding == RND:
        outside = _subtract(parameter, gradient, shift, lo, hi, RND, WRAP)
    elif rounding == RND_CONV and saturate:
        outside = _subtract(parameter, gradient, shift, lo, hi, RND_CONV, SAT)
    elif rounding == RND_CONV:
        outside = _subtract(parameter, gradient, shift, lo, hi, RND_CONV, WRAP)
    elif saturate:
        outside = _subtract(parameter, gradient, shift, lo, hi, TRN, SAT)
    else:
        outside = _subtract(parameter, gradient, shift, lo, hi, TRN, WRAP)
    counters[0 if saturate else 1] += outside
