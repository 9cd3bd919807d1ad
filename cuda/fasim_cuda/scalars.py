"""One number at a time: casts and steps as kernels inline them, made of the functions of `fasim.scalar`.

They are ``njit`` functions like those: one source for the GPU and, compiled for the CPU, for the simulator, whose own
arithmetic of single numbers is NumPy's and not Numba's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from fasim.kernels.compile import CACHE_FOLDER, config
from fasim.scalar.constants import FAR
from fasim.scalar.fused import fused
from fasim.scalar.philox import random_word
from fasim.scalar.rounding import (
    JAM,
    NUMERIC_STD,
    RND,
    SAT,
    SAT_SYM,
    SAT_ZERO,
    STOCH,
    TRN,
    WRAP,
    divide_round,
    overflow,
    random_round,
    shift_round,
)

ZERO = np.float32(0)


def scalar(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile for both targets, inlined; for the simulator it is cached where the kernels of the CPU are.

    That folder is named by the content of the files whose functions are inlined here.
    """
    before = config.CACHE_DIR
    config.CACHE_DIR = CACHE_FOLDER or before
    try:
        return njit(inline="always", cache=True)(function)
    finally:
        config.CACHE_DIR = before


@scalar
def multiply_add(total, x, y):
    """Return ``total + x y`` of float32, rounded once."""
    return fused(total, x, y)


@scalar
def add_product32(total, x, y):
    """Return ``total + x y`` of int32, which the lowering has proven to fit."""
    return np.int32(np.int32(total) + np.int32(np.int32(x) * np.int32(y)))


@scalar
def add_product64(total, x, y):
    """Return ``total + x y`` of int64, which the lowering has proven to fit."""
    return np.int64(total) + np.int64(x) * np.int64(y)


@scalar
def column(overflow_mode):
    """Return which counter an overflow grows: 0 for numbers that were saturated, 1 for numbers that wrapped."""
    return np.int64(overflow_mode in (WRAP, NUMERIC_STD))


@scalar
def word_of(rounding, shift, seed, site, step, index):
    """Return the random word of an element where its rounding draws one, else 0."""
    return random_word(seed, site, step, index) if rounding == STOCH and shift > 0 else np.int64(0)


@scalar
def cast(raw, shift, lo, hi, rounding, mode, word, bits, half):
    """Return a number of another format and whether it was outside of it: ``overflow(round(raw / 2^shift))``.

    Exact for every int64, also where a left shift leaves 64 bits: what is outside is found before it is shifted.

    Parameters
    ----------
    raw, shift, lo, hi, rounding, mode : int64
        As for `fasim.kernels.requantize`.
    word, bits, half : int64, int64, bool
        What STOCH draws, see `fasim.scalar.rounding.random_round`.

    Returns
    -------
    int64, int64
        The number, and 1 where it was outside of lo .. hi.
    """
    count = np.int64(shift)
    low, high = np.int64(lo), np.int64(hi)
    if count > 0:
        value = random_round(raw, count, word, bits, half) if rounding == STOCH else shift_round(raw, count, rounding, 0)
        return overflow(value, low, high, mode), np.int64(value < low or value > high)
    left = min(-count, 63)
    value = np.int64(raw) | np.int64(rounding == JAM and count == 0)
    shifted = shift_round(value, count, TRN, 0)
    below, above = value < -(-low >> left), value > high >> left
    if mode in (SAT, SAT_SYM):
        result = low if below else (high if above else shifted)
    elif mode == SAT_ZERO:
        result = np.int64(0) if below or above else shifted
    elif mode == NUMERIC_STD:
        result = (shifted & high) + ((value >> 63) & low)
    else:
        result = overflow(shifted, low, high, WRAP)
    return result, np.int64(below or above)


@scalar
def shrunk(parameter, decay_shift, rounding):
    """Return ``w - round(w / 2^decay_shift)`` (STOCH: RND) or, without decay (-1), w itself."""
    value = np.int64(parameter)
    if decay_shift < 0:
        return value
    return value - shift_round(value, decay_shift, RND if rounding == STOCH else rounding, 0)


@scalar
def less_step(parameter, product, shift, lo, hi, rounding, mode, word, bits, half):
    """Return ``overflow(w - round(g / 2^shift))`` and whether that was outside, for every int64 w and g.

    Parameters
    ----------
    parameter, product : int64
        w, shrunk where there is decay, and the gradient times its factor.
    shift, lo, hi, rounding, mode, word, bits, half
        As for `cast`.
    """
    w, g, low, high, count = np.int64(parameter), np.int64(product), np.int64(lo), np.int64(hi), np.int64(shift)
    if count > 0:
        step = random_round(g, count, word, bits, half) if rounding == STOCH else shift_round(g, count, rounding, 0)
        value = w - step
        return overflow(value, low, high, mode), np.int64(value < low or value > high)
    left = -count
    g = g | np.int64(rounding == JAM and count == 0)
    most = np.int64(0x7FFFFFFFFFFFFFFF) >> min(left, 63)
    step = g << left if left < 64 else np.int64(0)
    value = w - step
    # The step, or the difference, needs more than 64 bits: then its sign is known, and it is far outside.
    far = g > most or g < -most or ((w ^ step) & (w ^ value)) < 0
    negative = g > 0 if far else value < 0
    if mode in (SAT, SAT_SYM):
        result = (low if negative else high) if far else overflow(value, low, high, SAT)
    elif mode == SAT_ZERO:
        result = np.int64(0) if far else overflow(value, low, high, SAT_ZERO)
    elif mode == NUMERIC_STD:
        result = (value & high) + (low if negative else np.int64(0))
    else:
        result = overflow(value, low, high, WRAP)
    return result, np.int64(far or value < low or value > high)


@scalar
def less_quotient(parameter, gradient, left_shift, divisor, lo, hi, rounding, mode):
    """Return ``overflow(w - round((g << left) / n))`` and whether that was outside."""
    value = np.int64(parameter) - divide_round(np.int64(gradient) << np.int64(left_shift), divisor, rounding)
    return overflow(value, lo, hi, mode), np.int64(value < lo or value > hi)


@scalar
def quotient(raw, divisor, shift, lo, hi, rounding, mode):
    """Return ``overflow(round(raw 2^-shift / divisor))`` and whether that was outside; shift is 0 or less."""
    value = divide_round(np.int64(raw) << -np.int64(shift), divisor, rounding)
    return overflow(value, lo, hi, mode), np.int64(value < lo or value > hi)


@scalar
def power_of_two(product, largest, shift, entries, fraction_bits):
    """Return entry and shift of ``2^(15 + (t - max t) / 2^f)``, where t is `product` without `shift` bits.

    See `fasim.kernels.softmax_fixed`, whose products these are.
    """
    if shift >= 0:
        count = min(np.int64(shift), 63)
        distance = (np.int64(product) >> count) - (np.int64(largest) >> count)
    else:
        # exact up to where every power is 0
        distance = max(np.int64(product) - np.int64(largest), np.int64(FAR)) << min(-np.int64(shift), 22)
    return distance & (np.int64(entries) - 1), min(-(distance >> np.int64(fraction_bits)), 31)


@scalar
def share(power, total, one_shift):
    """Return ``(2 e 2^one_shift + S) div (2 S)``, the nearest number to e / S at `one_shift` fraction bits."""
    # 8 is more than an output of 1 survives
    up, down = max(np.int64(one_shift), 0), min(max(-np.int64(one_shift), 0), 8)
    half = np.int64(total) << down
    return ((np.int64(power) << (up + 1)) + half) // (2 * half)


@scalar
def by_one(parameter, gradient, shift, lo, hi, mode, word, bits):
    """Return a parameter moved by one where ``min(|g| 2^(b - shift), 2^b) >= u``, and whether that was outside.

    u is made of the low b bits of the word, b = `bits` or 16 where that is 0; see `fasim.kernels.update_by_one`.
    """
    width = np.int64(bits) if bits > 0 else np.int64(16)
    certain = np.uint64(1) << np.uint64(width)
    left = width - np.int64(shift)
    up, down = np.uint64(min(max(left, 0), 63)), np.uint64(min(max(-left, 0), 63))
    g = np.int64(gradient)
    sign = np.int64(g > 0) - np.int64(g < 0)
    size = np.uint64(g if g > 0 else -g)
    # Compared before it is moved left, since the product may leave 64 bits
    near = np.uint64(0) if left < -63 else size >> down
    chance = certain if near > certain >> up else near << up
    drawn = np.uint64(word) & (certain - np.uint64(1))
    value = np.int64(parameter) - (sign if chance >= drawn else np.int64(0))
    return overflow(value, lo, hi, mode), np.int64(value < lo or value > hi)


@scalar
def limited(value, lo, hi, mode):
    """Return a register brought into its range, and whether it had left it."""
    return overflow(value, lo, hi, mode), np.int64(value < lo or value > hi)


@scalar
def rounded_product(x, y, shift, rounding):
    """Return ``round(x y / 2^shift)`` as it goes into a register; a negative shift is to the left."""
    return shift_round(np.int64(x) * np.int64(y), shift, rounding, 0)


@scalar
def decays(rate, decay, kind):
    """Return what scales w in the gradient, and what scales it beside the step; kinds as in `fasim.kernels.optimize`."""
    couple = decay if kind == 0 else ZERO
    shrink = decay if kind == 1 else (np.float32(rate * decay) if kind == 2 else ZERO)
    return couple, shrink


@scalar
def decayed(gradient, w, couple):
    """Return the gradient with coupled decay. Without decay it stays as it is: 0 * w is NaN where w has diverged."""
    return np.float32(gradient + couple * w) if couple != ZERO else gradient


@scalar
def moved(w, step, shrink):
    """Return w less step and decay, which are summed first, so that w, which is far larger, is rounded once."""
    return np.float32(w - (step + shrink * w)) if shrink != ZERO else np.float32(w - step)


@scalar
def mixed(a, x, b, y):
    """Return ``a x + b y`` of float32: a running mean, or a velocity."""
    return np.float32(a * x + b * y)


@scalar
def over_root(size, x, square, root, eps):
    """Return ``size x / (sqrt(square) root + eps)`` of float32."""
    return np.float32(size * x / (np.float32(math.sqrt(square)) * root + eps))


@scalar
def corrections(rate, step, beta1, beta2):
    """Return ``rate / (1 - beta1^t)`` and ``1 / sqrt(1 - beta2^t)``, t = step + 1, reckoned in float64."""
    t = step + 1
    return np.float32(rate / (1.0 - beta1**t)), np.float32(1.0 / math.sqrt(1.0 - beta2**t))
