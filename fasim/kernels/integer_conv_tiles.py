"""Convolution of maps in fixed point by register tiles, for operands of 16 bits or fewer and sums of 32.

A group of numbers is multiplied at once: 4 bytes, or 2 words. Sums are formed modulo 2^32, exact where the result fits. Of
two bytes one must be unsigned: `offset` (128 for a signed map, else 0) is added to the map, also to its padding, and
`offset` times the sum of what the map is multiplied with is taken off the result.

`correlate`, `gradient`: the kernels for these types. `like`, `other`: arrays of the types that maps and what they are
multiplied with are laid out in.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.conv_layout import load_map, pack, pack_back, panels
from fasim.kernels.micro.correlate import PANEL, ROWS, grid
from fasim.scalar.phases import first_of, taps

# of the type of a variable: for a literal number, kernels are compiled anew
WORD, ZERO = np.int64(4), np.int64(0)


@kernel
def _take_off(packed, offset, shift, added):
    """``added[j] -= (offset * sum of column j of packed) << shift``, modulo 2^32."""
    for panel in range(packed.shape[0]):
        first = panel * PANEL
        for k in range(packed.shape[1]):
            row = packed[panel, k]
            for j in range(min(PANEL, len(added) - first)):
                for g in range(packed.shape[3]):
                    added[first + j] -= np.int32((offset * np.int64(row[j, g])) << shift)


@njit(inline="always", cache=True)
def forward_tiles(
    correlate, group, offset, like, other, act, weight, bias, product_shift, bias_shift, stride, padding, out
):
    """Sum as `conv_forward_fixed` does."""
    samples, height, width, channels = act.shape
    units, side = weight.shape[:2]
    terms = (side * channels + group - 1) // group
    size = WORD // group
    packed = np.zeros((panels(units), side * terms, PANEL, group), other.dtype)
    pack(weight, packed)
    # a sum that a shift of 32 leaves in 32 bits is 0
    shift = min(product_shift, 31)
    added = np.empty(units, np.int32)
    for j in range(units):
        added[j] = np.int32(np.int64(bias[j]) << bias_shift)
    if offset:
        _take_off(packed, offset, shift, added)
    line = (width + 2 * padding) * channels
    places = grid(out.shape[1], out.shape[2], ZERO, stride * line * size, stride * channels * size)
    pixels = out.shape[1] * out.shape[2]
    targets = grid(out.shape[1], out.shape[2], ZERO, out.shape[2] * units * WORD, units * WORD)
    # the last group may reach beyond the map, where its weights are 0
    image = np.full((height + 2 * padding) * line + group, offset, like.dtype)
    for n in range(samples):
        load_map(act[n], padding, offset, line, image)
        result = out[n].reshape(pixels * units)
        correlate(image, places, pixels, line * size, side, terms, packed, added, shift, targets, result)


@njit(inline="always", cache=True)
def input_gradient_tiles(correlate, group, offset, like, other, delta, weight, stride, padding, out):
    """Sum as `conv_input_gradient_fixed` does."""
    samples, height, width, channels = out.shape
    units, side = weight.shape[:2]
    size = WORD // group
    most = taps(side, stride, 0)
    line = ((width - 1 + padding) // stride + most) * units
    image = np.full(((height - 1 + padding) // stride + most) * line + group, offset, like.dtype)
    added = np.empty(channels, np.int32)
    for phases in range(stride * stride):
        down, across = phases // stride, phases % stride
        rows, columns = taps(side, stride, down), taps(side, stride, across)
        terms = (columns * units + group - 1) // group
        packed = np.zeros((panels(channels), rows * terms, PANEL, group), other.dtype)
        pack_back(weight, stride, down, across, packed)
        added[:] = 0
        if offset:
            _take_off(packed, offset, ZERO, added)
        top, left = first_of(down, padding, stride), first_of(across, padding, stride)
        h, w = down + top * stride - padding, across + left * stride - padding
        tall, wide = max(height - h + stride - 1, 0) // stride, max(width - w + stride - 1, 0) // stride
        corner = (top + most - rows) * line + (left + most - columns) * units
        places = grid(tall, wide, corner * size, line * size, units * size)
        step = channels * WORD
        targets = grid(tall, wide, (h * width + w) * step, stride * width * step, stride * step)
        for n in range(samples):
            load_map(delta[n], most - 1, offset, line, image)
            result = out[n].reshape(height * width * channels)
            correlate(image, places, tall * wide, line * size, rows, terms, packed, added, ZERO, targets, result)


@njit(inline="always", cache=True)
def weight_gradient_tiles(gradient, interleave, group, offset, like, delta, act, first, stride, padding, out):
    """Sum as `conv_weight_gradient_fixed` does."""
    samples, height, width, channels = act.shape
    units, side = out.shape[:2]
    strip = side * channels
    window = side * strip
    line, step = (width + 2 * padding) * channels, stride * channels
    size = (height + 2 * padding) * line
    image, words = np.full(size + group * step, offset, like.dtype), np.empty(size, np.uint32)
    places = grid(side, strip, ZERO, line * WORD, WORD)
    signal = np.empty((delta.shape[1], (delta.shape[2] + group - 1) // group, units), np.uint32)
    sums, total = np.zeros((window, units), np.int32), np.zeros((1, units), np.int32)
    ones, place = np.full(signal.shape[1], 0x01010101, np.uint32), np.zeros(ROWS, np.int64)
    for n in range(samples):
        load_map(act[n], padding, offset, line, image)
        interleave(image, step, words, delta[n], first, signal)
        gradient(words, places, stride * line * WORD, group * step * WORD, signal, False, sums)
        if offset:
            gradient(ones, place, ZERO, WORD, signal, False, total)
    result = out.reshape(units, window)
    for j in range(units):
        for i in range(window):
            result[j, i] = np.int32(sums[i, j] - offset * total[0, j])
