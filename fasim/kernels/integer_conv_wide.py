"""Convolution of maps of 16 bits or fewer whose sums need int64, by the register tiles of sums of 32 bits.

Formats allow far larger sums than a network has: weights of 16 bits use a few percent of their range. A few samples are
taken at a time; from their largest number ``m`` and the weights, ``|sum_k x_k w_k| <= m sum_k |w_k|`` proves that int32
holds each of their sums, and every part of one. Where it does not, their sums are formed by plain loops: the same bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.integer_conv_loops import forward_loops, input_gradient_loops, weight_gradient_loops
from fasim.kernels.integer_conv_tiles import forward_tiles, input_gradient_tiles, weight_gradient_tiles
from fasim.kernels.micro.bounds import WINDOW
from fasim.kernels.micro.correlate import correlate_words, gradient_words, interleave_words

# samples whose sums stay in the cache, and for which weights are laid out once
SAMPLES = 4
_INT16 = np.empty(0, np.int16)


@njit(inline="always", cache=True)
def _largest(numbers):
    """Return the largest magnitude in a contiguous array."""
    low, high = np.int32(0), np.int32(0)
    for x in numbers.reshape(numbers.size):
        low, high = min(low, np.int32(x)), max(high, np.int32(x))
    return max(-np.int64(low), np.int64(high))


@njit(inline="always", cache=True)
def _most_of_rows(matrix):
    """Return the largest ``sum_k |matrix[j, k]|``."""
    most = np.int64(0)
    for row in matrix:
        total = np.int64(0)
        for x in row:
            total += abs(np.int32(x))
        most = max(most, total)
    return most


@njit(inline="always", cache=True)
def _most_of_columns(matrix, first, count):
    """Return the largest ``sum_k |matrix[k, first + j]|`` of so many columns."""
    totals = np.zeros(count, np.int64)
    for row in matrix:
        for j in range(count):
            totals[j] += abs(np.int32(row[first + j]))
    return totals.max()


@kernel
def forward_wide(act, weight, bias, product_shift, bias_shift, stride, padding, out):
    """Sum as `conv_forward_fixed` does, in int64."""
    units = len(weight)
    most = _most_of_rows(weight.reshape(units, weight.size // units))
    none = np.zeros(units, np.int8)
    scratch = np.empty((SAMPLES, *out.shape[1:]), np.int32)
    for n in range(0, len(act), SAMPLES):
        maps, to = act[n : n + SAMPLES], out[n : n + SAMPLES]
        if _largest(maps) * most >= WINDOW:
            forward_loops(maps, weight, bias, product_shift, bias_shift, stride, padding, to)
            continue
        sums = scratch[: len(maps)]
        forward_tiles(correlate_words, 2, 0, _INT16, _INT16, maps, weight, none, 0, 0, stride, padding, sums)
        pixels = sums.size // units
        found, result = sums.reshape(pixels, units), to.reshape(pixels, units)
        for pixel in range(pixels):
            for j in range(units):
                result[pixel, j] = (np.int64(found[pixel, j]) << product_shift) + (np.int64(bias[j]) << bias_shift)


@kernel
def input_gradient_wide(delta, weight, stride, padding, out):
    """Sum as `conv_input_gradient_fixed` does, in int64."""
    channels = weight.shape[3]
    most = _most_of_columns(weight.reshape(weight.size // channels, channels), 0, channels)
    scratch = np.empty((SAMPLES, *out.shape[1:]), np.int32)
    for n in range(0, len(delta), SAMPLES):
        signals, to = delta[n : n + SAMPLES], out[n : n + SAMPLES]
        if _largest(signals) * most >= WINDOW:
            input_gradient_loops(signals, weight, stride, padding, to)
            continue
        sums = scratch[: len(signals)]
        input_gradient_tiles(correlate_words, 2, 0, _INT16, _INT16, signals, weight, stride, padding, sums)
        to[:] = sums


@kernel
def weight_gradient_wide(delta, act, first, stride, padding, out):
    """Sum as `conv_weight_gradient_fixed` does, in int64."""
    units, whole = len(out), delta.shape[3]
    sums, loops = np.empty(out.shape, np.int32), np.empty(out.shape, np.int64)
    out[:] = 0
    for n in range(0, len(delta), SAMPLES):
        signals, maps = delta[n : n + SAMPLES], act[n : n + SAMPLES]
        most = _most_of_columns(signals.reshape(signals.size // whole, whole), first, units)
        if _largest(maps) * most < WINDOW:
            words = signals.astype(np.int16)
            weight_gradient_tiles(gradient_words, interleave_words, 2, 0, _INT16, words, maps, first, stride, padding, sums)
            out += sums
        else:
            weight_gradient_loops(signals, maps, first, stride, padding, loops)
            out += loops
