"""Convolution of maps of 16 bits or fewer whose sums need int64, by the register tiles of sums of 32 bits.

Formats allow far larger sums than a network has: weights of 16 bits use a few percent of their range. From the largest
number ``m`` of a sample and the weights, ``|sum_k x_k w_k| <= m sum_k |w_k|`` proves that int32 holds a sum. Where it does
not hold all of one, each row of the window is divided into 2 or 4 equal parts, which are added up in int64. Where int32 is
too small for those, weights are divided: ``w = 256 h + l``, whose halves of 9 and 8 bits fill no sum of less than 512
products. Maps of 30 x 30 x 32 and kernels of 3 x 3 so take a ninth of the time of plain loops, whose bits are the same.

A gradient's sums take as many rows of pixels as int32 surely holds before they are added to sums of 64 bits: 14 times as
fast. A sample of which it does not hold one row is left to loops.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.conv_layout import load_map, pack, pack_back, panels
from fasim.kernels.integer_conv_loops import forward_loops, input_gradient_loops, weight_gradient_loops
from fasim.kernels.micro.arrays import keep, start
from fasim.kernels.micro.bounds import WINDOW, largest_of
from fasim.kernels.micro.correlate import PANEL, ROWS, correlate_words, gradient_words, grid, interleave_words
from fasim.scalar.phases import first_of, taps

# of the type of a variable: for a literal number, kernels are compiled anew
WORD, SIZE, GROUP, ZERO, ONE = np.int64(4), np.int64(2), np.int64(2), np.int64(0), np.int64(1)
# into how many parts a row of the window is divided at most before weights are halved, and the bits of a lower half
PARTS, HALF = 4, 8
# pixels whose sums of both widths stay in a first-level cache until all parts are added up
BLOCK = 5 * ROWS


@njit(inline="always", cache=True)
def _largest(image):
    """Return the largest magnitude in an image."""
    found = largest_of(start(image), ZERO, ONE, image.size)
    keep(image)
    return found


@kernel
def _most_of_parts(packed, rows, length):
    """Return the largest ``sum |w|`` of a column of packed weights, over parts of `length` pairs in each row of them."""
    terms = packed.shape[1] // max(rows, 1)
    most, totals = np.int64(0), np.empty((PANEL, GROUP), np.int64)
    for panel in packed:
        for first in range(0, terms, max(length, 1)):
            totals[:] = 0
            for r in range(rows):
                for t in range(r * terms + first, r * terms + min(first + length, terms)):
                    for j in range(PANEL):
                        for g in range(GROUP):
                            totals[j, g] += abs(np.int32(panel[t, j, g]))
            most = max(most, totals.sum(axis=1).max())
    return most


@kernel
def _halves(packed):
    """Return panels of the upper halves h of packed weights ``256 h + l``, and behind them those of the lower halves l."""
    halves = np.empty((2 * len(packed), *packed.shape[1:]), np.int16)
    upper, lower, source = halves[: len(packed)].ravel(), halves[len(packed) :].ravel(), packed.ravel()
    for k in range(source.size):
        half = (np.int32(source[k]) + (1 << (HALF - 1))) >> HALF
        upper[k], lower[k] = half, np.int32(source[k]) - (half << HALF)
    return halves


@kernel
def _parts(packed, rows, length):
    """Return packed weights[panel, (r, t), j, pair] as [part, panel, (r, t in the part), j, pair], filled up with zeros."""
    terms = packed.shape[1] // max(rows, 1)
    count = (terms + length - 1) // length if length else 1
    divided = np.zeros((count, len(packed), rows * length, PANEL, GROUP), np.int16)
    for panel in range(len(packed)):
        for r in range(rows):
            for t in range(terms):
                divided[t // length, panel, r * length + t % length] = packed[panel, r * terms + t]
    return divided


@kernel
def _enough_parts(packed, rows, largest):
    """Return the parts over which int32 surely holds sums, of weights or of their halves, and their ``sum |w|``."""
    terms, whole = packed.shape[1] // max(rows, 1), len(packed)
    length, most = terms, _most_of_parts(packed, rows, terms)
    while largest * most >= WINDOW:
        # halves take as long as four parts
        if len(packed) == whole and PARTS * length < terms + PARTS:
            packed, length = _halves(packed), terms
        else:
            length = (length + 1) // 2
        most = _most_of_parts(packed, rows, length)
    return _parts(packed, rows, length), most


@njit(inline="always", cache=True)
def _add_part(sums, shift, begun, to):
    """``to = begun + (sums << shift)``."""
    for k in range(len(to)):
        to[k] = begun[k] + (np.int64(sums[k]) << shift)


@kernel
def _add_up(image, places, targets, pixels, line, rows, parts, added, shift, result):
    """``result[targets[m] + j] = added[j] + (sum << shift)``, the sums of all parts as `correlate_words` forms them.

    `targets` counts numbers. Where pixels lie side by side, sums go there directly.
    """
    units, length = len(added), parts.shape[2] // max(rows, 1)
    whole = panels(units)
    halves = parts.shape[1] // whole
    divided = parts.reshape(len(parts) * halves, whole, parts.shape[2], PANEL, GROUP)
    nothing, sums, wide = np.zeros(units, np.int32), np.empty(BLOCK * units, np.int32), np.empty(BLOCK * units, np.int64)
    begun = np.empty(BLOCK * units, np.int64)
    for m in range(BLOCK):
        begun[m * units : (m + 1) * units] = added
    dense = grid(ONE, np.int64(BLOCK), ZERO, ZERO, units * WORD)
    for m in range(0, pixels, BLOCK):
        here = min(BLOCK, pixels - m)
        first, last = targets[m], targets[m + here - 1]
        direct = last - first == (here - 1) * units
        to = result[first : first + here * units] if direct else wide[: here * units]
        for i in range(len(divided)):
            part, half = i // halves, i % halves
            part_of = image[part * length * GROUP :]
            correlate_words(part_of, places[m:], here, line, rows, length, divided[i], nothing, ZERO, dense, sums)
            _add_part(sums, shift + HALF * (halves - 1 - half), to if i else begun, to)
        if not direct:
            for i in range(here):
                result[targets[m + i] : targets[m + i] + units] = wide[i * units : (i + 1) * units]


@kernel
def forward_wide(act, weight, bias, product_shift, bias_shift, stride, padding, out):
    """Sum as `conv_forward_fixed` does, in int64."""
    samples, height, width, channels = act.shape
    units, side = weight.shape[:2]
    terms = (side * channels + GROUP - 1) // GROUP
    packed = np.zeros((panels(units), side * terms, PANEL, GROUP), np.int16)
    pack(weight, packed)
    added = np.empty(units, np.int64)
    for j in range(units):
        added[j] = np.int64(bias[j]) << bias_shift
    line = (width + 2 * padding) * channels
    places = grid(out.shape[1], out.shape[2], ZERO, stride * line * SIZE, stride * channels * SIZE)
    targets = grid(out.shape[1], out.shape[2], ZERO, out.shape[2] * units, units)
    # parts may reach beyond the map, where their weights are 0
    image = np.zeros((height + 2 * padding) * line + GROUP * terms, np.int16)
    least = _most_of_parts(_halves(packed), side, ONE)
    parts, most = _enough_parts(packed, side, ZERO)
    for n in range(samples):
        load_map(act[n], padding, ZERO, line, image)
        largest = _largest(image)
        if largest * least >= WINDOW:
            forward_loops(act[n : n + 1], weight, bias, product_shift, bias_shift, stride, padding, out[n : n + 1])
            continue
        if largest * most >= WINDOW:
            parts, most = _enough_parts(packed, side, largest)
        result = out[n].reshape(out[n].size)
        _add_up(image, places, targets, out[n].size // units, line * SIZE, side, parts, added, product_shift, result)


@kernel
def _phase(weight, stride, down, across):
    """Return the packed taps of a phase, and how many rows they are."""
    units, side, _, channels = weight.shape
    rows, columns = taps(side, stride, down), taps(side, stride, across)
    terms = (columns * units + GROUP - 1) // GROUP
    packed = np.zeros((panels(channels), rows * terms, PANEL, GROUP), np.int16)
    pack_back(weight, stride, down, across, packed)
    return packed, rows


@kernel
def input_gradient_wide(delta, weight, stride, padding, out):
    """Sum as `conv_input_gradient_fixed` does, in int64."""
    samples, height, width, channels = out.shape
    units, side = weight.shape[:2]
    taken = taps(side, stride, 0)
    line = ((width - 1 + padding) // stride + taken) * units
    # parts may reach beyond the map, where their weights are 0
    image = np.zeros(((height - 1 + padding) // stride + taken) * line + taken * units + GROUP, np.int16)
    added, least = np.zeros(channels, np.int64), ZERO
    for phases in range(stride * stride):
        packed, rows = _phase(weight, stride, phases // stride, phases % stride)
        least = max(least, _most_of_parts(_halves(packed), rows, ONE))
    for phases in range(stride * stride):
        down, across = phases // stride, phases % stride
        packed, rows = _phase(weight, stride, down, across)
        columns = taps(side, stride, across)
        parts, most = _enough_parts(packed, rows, ZERO)
        top, left = first_of(down, padding, stride), first_of(across, padding, stride)
        h, w = down + top * stride - padding, across + left * stride - padding
        tall, wide = max(height - h + stride - 1, 0) // stride, max(width - w + stride - 1, 0) // stride
        corner = (top + taken - rows) * line + (left + taken - columns) * units
        places = grid(tall, wide, corner * SIZE, line * SIZE, units * SIZE)
        targets = grid(tall, wide, (h * width + w) * channels, stride * width * channels, stride * channels)
        for n in range(samples):
            load_map(delta[n], taken - 1, ZERO, line, image)
            largest = _largest(image)
            if largest * least >= WINDOW:
                if phases == 0:
                    input_gradient_loops(delta[n : n + 1], weight, stride, padding, out[n : n + 1])
                continue
            if largest * most >= WINDOW:
                parts, most = _enough_parts(packed, rows, largest)
            result = out[n].reshape(out[n].size)
            _add_up(image, places, targets, tall * wide, line * SIZE, rows, parts, added, ZERO, result)


@njit(inline="always", cache=True)
def _copy(source, to):
    """``to = source`` of any integers, as one loop: by slices of three axes it takes six times as long."""
    numbers, places = source.reshape(source.size), to.reshape(to.size)
    for k in range(len(places)):
        places[k] = numbers[k]


@njit(inline="always", cache=True)
def _most_of_row(signal, magnitudes):
    """Return the largest ``sum_q |delta[q, j]|`` of a unit, from a row of pixels as `interleave_words` lays it out."""
    magnitudes[:] = 0
    for pair in signal:
        for j in range(len(magnitudes)):
            low, high = np.int32(np.int16(pair[j])), np.int32(pair[j]) >> 16
            magnitudes[j] += np.int64(abs(low) + abs(high))
    return magnitudes.max()


@njit(inline="always", cache=True)
def _add(sums, total):
    """``total += sums``."""
    for i in range(len(total)):
        total[i] += sums[i]


@kernel
def weight_gradient_wide(delta, act, first, stride, padding, out):
    """Sum as `conv_weight_gradient_fixed` does, in int64."""
    samples, height, width, channels = act.shape
    units, side = out.shape[:2]
    rows, strip = delta.shape[1], side * channels
    line, step = (width + 2 * padding) * channels, stride * channels
    size, window = (height + 2 * padding) * line, side * strip
    image, words = np.zeros(size + GROUP * step, np.int16), np.empty(size, np.uint32)
    places = grid(side, strip, ZERO, line * WORD, WORD)
    down, across = stride * line, GROUP * step * WORD
    copy, signal = np.empty(delta.shape[1:], np.int16), np.empty((rows, (delta.shape[2] + 1) // GROUP, units), np.uint32)
    sums, total = np.zeros((window, units), np.int32), np.zeros((window, units), np.int64)
    found, loops = sums.reshape(sums.size), np.zeros(out.shape, np.int64)
    bounds, magnitudes, held = np.empty(rows, np.int64), np.empty(units, np.int64), ZERO
    out[:] = 0
    for n in range(samples):
        load_map(act[n], padding, ZERO, line, image)
        _copy(delta[n], copy)
        interleave_words(image, step, words, copy, first, signal)
        largest = _largest(image)
        for p in range(rows):
            bounds[p] = largest * _most_of_row(signal[p], magnitudes)
        if bounds.max() >= WINDOW:
            weight_gradient_loops(delta[n : n + 1], act[n : n + 1], first, stride, padding, loops)
            out += loops
            continue
        begin = ZERO
        while begin < rows:
            end = begin
            while end < rows and held + bounds[end] < WINDOW:
                held += bounds[end]
                end += 1
            if end > begin:
                rows_of = words[begin * down :]
                gradient_words(rows_of, places, down * WORD, across, signal[begin:end], False, sums)
            if end < rows:
                _add(found, total.reshape(total.size))
                found[:] = 0
                held = ZERO
            begin = end
    _add(found, total.reshape(total.size))
    result = out.reshape(units, window)
    for i in range(window):
        for j in range(units):
            result[j, i] += total[i, j]
