"""Parameter updates in fixed point: a rounded step and a rounded shrinking, subtracted with overflow counted.

All of them compute ``w = overflow(w - step - shrink)``; they differ in what the step is.
"""

from __future__ import annotations

from numba import int64

from fasim.scalar.philox import random_word
from fasim_cuda.scalars import by_one, column, less_quotient, less_step, shrunk, word_of
from fasim_cuda.target import cuda, jit


@jit
def update_fixed(
    parameter,
    gradient,
    base_shift,
    learning_shift,
    factor,
    lo,
    hi,
    rounding,
    overflow_mode,
    seed,
    site,
    step,
    bits,
    half,
    decay_shift,
    counters,
):
    """Gradient descent with learning rate M 2^-k: ``w = overflow(w - round(g M / 2^shift) - round(w / 2^j))``.

    The twin of both `fasim.kernels.update_fixed` and `fasim.kernels.update_scaled`.

    Parameters
    ----------
    parameter : integer[P]      master or weight, updated
    gradient : integer[P]       sum over the batch; ``gradient * factor`` fits 64 bits, which the caller has proven
    base_shift : int64[1]       fraction bits of the gradient minus those of the parameter
    learning_shift : int64[1]   k of this step
    factor : int64[1]           M of this step
    lo, hi : int64              range of the parameter's format
    rounding, overflow_mode : int64
        Codes of :mod:`fasim.scalar.rounding`.
    seed, site : int64          STOCH draws word p of the site's stream
    step : int64[1]             step of the training
    bits, half : int64, bool    of the random word, see `fasim.scalar.rounding.random_round`
    decay_shift : int64         j of the weight decay 2^-j; -1: none. It is rounded as the step, under STOCH by RND
    counters : int64[2]         grows by saturations and wraps
    """
    outside = int64(0)
    shift = int64(base_shift[0] + learning_shift[0])
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        word = word_of(rounding, shift, seed, site, step[0], p)
        w = shrunk(int64(parameter[p]), decay_shift, rounding)
        product = int64(int64(gradient[p]) * factor[0])
        value, beyond = less_step(w, product, shift, lo, hi, rounding, overflow_mode, word, bits, half)
        parameter[p] = value
        outside = int64(outside + beyond)
    if outside > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), outside)


@jit
def update_divided(parameter, gradient, left_shift, divisor, lo, hi, rounding, overflow_mode, decay_shift, counters):
    """Gradient descent with learning rate 1/n: ``w = overflow(w - round((g << left) / n) - round(w / 2^j))``.

    Parameters
    ----------
    parameter, gradient : integer[P]
    left_shift : int64      fraction bits of the parameter minus those of the gradient, 0 or more
    divisor : int64[1]      n of this step, 1 or more
    lo, hi, rounding, overflow_mode, decay_shift, counters
        As for `update_fixed`; the rounding must be one that can divide.
    """
    outside = int64(0)
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        w = shrunk(int64(parameter[p]), decay_shift, rounding)
        value, beyond = less_quotient(w, int64(gradient[p]), left_shift, divisor[0], lo, hi, rounding, overflow_mode)
        parameter[p] = value
        outside = int64(outside + beyond)
    if outside > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), outside)


@jit
def update_by_one(parameter, gradient, base_shift, learning_shift, lo, hi, overflow_mode, seed, site, step, bits, counters):
    """Move a parameter by one step of its format, with a probability that grows with its gradient (ReckOn).

    Parameters
    ----------
    parameter, gradient : integer[P]
    base_shift, learning_shift : int64[1]
    lo, hi, overflow_mode, seed, site, step, counters
        As for `update_fixed`.
    bits : int64            of the word that are compared, at most 32; 0 means 16
    """
    outside = int64(0)
    shift = int64(base_shift[0] + learning_shift[0])
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        word = random_word(seed, site, step[0], p)
        value, beyond = by_one(int64(parameter[p]), int64(gradient[p]), shift, lo, hi, overflow_mode, word, bits)
        parameter[p] = value
        outside = int64(outside + beyond)
    if outside > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), outside)
