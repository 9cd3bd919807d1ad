"""Convolutions in a register of limited width: `fasim.kernels.accumulate` says what the arguments mean."""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.proven import (
    BLOCK,
    ROWS,
    add_packed,
    pack_columns,
    pack_factors,
    pack_rows,
    padded,
    provable,
    sum_rows,
    whole_tiles,
)
from fasim.kernels.registers import add_all, add_products, count_events, finish, load_bias, transpose
from fasim.scalar.constants import ASCENDING
from fasim.scalar.rounding import JAM

# pixels whose windows are packed at once, whole blocks
_PIXELS = 8 * 2 * BLOCK


@njit(inline="always", cache=True)
def _place_of(number, rows, columns):
    """Return sample, row and column of a pixel."""
    return number // columns // rows, number // columns % rows, number % columns


@njit(inline="always", cache=True)
def _load_window(image, top, left, side, patch):
    """Copy a window of image[H, W, C] to patch[(R S C)], zeros where it leaves the map."""
    channels = image.shape[2]
    k = 0
    for place in range(patch.shape[0] // channels):
        h, w = top + place // side, left + place % side
        inside = 0 <= h < image.shape[0] and 0 <= w < image.shape[1]
        for c in range(channels):
            patch[k] = image[h, w, c] if inside else 0
            k += 1


@njit(inline="always", cache=True)
def _load_deltas(delta, bottom, right, side, stride, factors):
    """Copy the deltas whose windows hold a pixel to factors[(R S J)], zeros where there is none."""
    units = delta.shape[2]
    k = 0
    for place in range(factors.shape[0] // units):
        high, wide = bottom - place // side, right - place % side
        p, q = high // stride, wide // stride
        inside = high == p * stride and wide == q * stride and 0 <= p < delta.shape[0] and 0 <= q < delta.shape[1]
        for j in range(units):
            factors[k] = delta[p, q, j] if inside else 0
            k += 1


@kernel
def conv_forward_accumulate(
    act,
    weight,
    bias,
    bias_shift,
    product_shift,
    product_rounding,
    lo,
    hi,
    overflow_mode,
    every_mac,
    order,
    lanes,
    stride,
    padding,
    registers,
    out,
    counters,
):
    """Pre-activations of a convolutional layer in limited registers; k = (r S + s) C + c, padding included.

    ``out[n, p, q, j] = register(bias[j] << bias_shift, act[n, h, w, c] * weight[j, r, s, c] for all r, s, c)``
    with h = p stride + r - padding, w = q stride + s - padding, act = 0 outside of the map

    Parameters
    ----------
    act : integer[N, H, W, C]
    weight : integer[J, R, S, C]
    bias : integer[J]
    bias_shift : int64, >= 0
    stride, padding : int64
    registers : int32 or int64[P, J]        scratch
    out : integer[N, P, Q, J]               written; must hold lo .. hi
    counters : int64[2]                     grow
    """
    events = np.int64(0)
    filters = weight.reshape(weight.shape[0], weight.shape[1] * weight.shape[2] * weight.shape[3])
    if provable(act, weight, product_shift, product_rounding, every_mac, order):
        panels, most = pack_columns(filters)
        outside = load_bias(registers, bias, bias_shift, lo, hi, overflow_mode, every_mac)
        patches = np.empty((ROWS, filters.shape[1]), act.dtype)
        sums = np.empty((ROWS, out.shape[3]), registers.dtype)
        side, pixels = out.shape[2], out.shape[0] * out.shape[1] * out.shape[2]
        for start in range(0, pixels, ROWS):
            count = min(ROWS, pixels - start)
            for m in range(count):
                n, p, q = _place_of(start + m, out.shape[1], side)
                _load_window(act[n], p * stride - padding, q * stride - padding, weight.shape[2], patches[m])
            events += count * outside
            events += sum_rows(patches[:count], panels, most, registers[0], lo, hi, overflow_mode, sums)
            for m in range(count):
                n, p, q = _place_of(start + m, out.shape[1], side)
                out[n, p, q] = sums[m]
        count_events(counters, overflow_mode, events)
        return
    packed = np.empty((filters.shape[1], filters.shape[0]), weight.dtype)
    patch = np.empty(packed.shape[0], act.dtype)
    transpose(filters, packed)
    for n in range(out.shape[0]):
        for p in range(out.shape[1]):
            for q in range(out.shape[2]):
                events += load_bias(registers, bias, bias_shift, lo, hi, overflow_mode, every_mac)
                _load_window(act[n], p * stride - padding, q * stride - padding, weight.shape[2], patch)
                events += add_all(
                    *(registers, patch, packed, product_shift, product_rounding),
                    *(lo, hi, overflow_mode, every_mac, order, lanes),
                )
                events += finish(registers, lo, hi, overflow_mode, every_mac, order, lanes, out[n, p, q])
    count_events(counters, overflow_mode, events)


@kernel
def conv_input_gradient_accumulate(
    delta,
    weight,
    product_shift,
    product_rounding,
    lo,
    hi,
    overflow_mode,
    every_mac,
    order,
    lanes,
    stride,
    padding,
    registers,
    out,
    counters,
):
    """Bring a delta back through a convolution in limited registers; k = (r S + s) J + j, places without a delta included.

    ``out[n, h, w, c] = register(0, delta[n, p, q, j] * weight[j, r, s, c] for all r, s, j)``
    with p stride = h + padding - r, q stride = w + padding - s, delta = 0 where there is no such p, q

    Parameters
    ----------
    delta : integer[N, P, Q, J]
    weight : integer[J, R, S, C]
    stride, padding : int64
    registers : int32 or int64[P, C]        scratch
    out : integer[N, H, W, C]               written; must hold lo .. hi
    counters : int64[2]                     grow
    """
    events = np.int64(0)
    units, rows, columns, channels = weight.shape
    factors = np.empty(rows * columns * units, delta.dtype)
    sources = np.empty((rows * columns * units, channels), weight.dtype)
    for k in range(factors.shape[0]):
        sources[k] = weight[k % units, k // units // columns, k // units % columns]
    if provable(delta, weight, product_shift, product_rounding, every_mac, order):
        panels, most = pack_rows(sources)
        registers[:] = 0
        spread = np.empty((ROWS, factors.shape[0]), delta.dtype)
        sums = np.empty((ROWS, channels), registers.dtype)
        pixels = out.shape[0] * out.shape[1] * out.shape[2]
        for start in range(0, pixels, ROWS):
            count = min(ROWS, pixels - start)
            for m in range(count):
                n, h, w = _place_of(start + m, out.shape[1], out.shape[2])
                _load_deltas(delta[n], h + padding, w + padding, columns, stride, spread[m])
            events += sum_rows(spread[:count], panels, most, registers[0], lo, hi, overflow_mode, sums)
            for m in range(count):
                n, h, w = _place_of(start + m, out.shape[1], out.shape[2])
                out[n, h, w] = sums[m]
        count_events(counters, overflow_mode, events)
        return
    for n in range(out.shape[0]):
        for h in range(out.shape[1]):
            for w in range(out.shape[2]):
                _load_deltas(delta[n], h + padding, w + padding, columns, stride, factors)
                registers[:] = 0
                events += add_all(
                    *(registers, factors, sources, product_shift, product_rounding),
                    *(lo, hi, overflow_mode, every_mac, order, lanes),
                )
                events += finish(registers, lo, hi, overflow_mode, every_mac, order, lanes, out[n, h, w])
    count_events(counters, overflow_mode, events)


@njit(inline="always", cache=True)
def _window_gradients(delta, act, first, stride, padding, lo, hi, mode, like, out):
    """Sum the products of deltas with their windows, some hundred pixels after the other; return the events."""
    events = np.int64(0)
    units, terms = out.shape[0], out.shape[1] * out.shape[2] * out.shape[3]
    pixels = delta.shape[0] * delta.shape[1] * delta.shape[2]
    registers = np.zeros((whole_tiles(units), padded(terms)), like.dtype)
    windows = np.empty((_PIXELS, terms), act.dtype)
    given = np.empty((units, _PIXELS), delta.dtype)
    factors = np.empty((like.itemsize // 4, len(registers), _PIXELS), np.int16)
    sums = np.empty((len(registers), _PIXELS // 2 // BLOCK), np.int64)
    for start in range(0, pixels, _PIXELS):
        for m in range(_PIXELS):
            if start + m < pixels:
                n, p, q = _place_of(start + m, delta.shape[1], delta.shape[2])
                _load_window(act[n], p * stride - padding, q * stride - padding, out.shape[2], windows[m])
                for j in range(units):
                    given[j, m] = delta[n, p, q, first + j]
            else:
                given[:, m] = 0
                windows[m] = 0
        panels, most = pack_rows(windows)
        pack_factors(given, factors, sums)
        events += add_packed(registers, factors, sums, panels, most, units, lo, hi, mode)
    result = out.reshape(units, terms)
    for j in range(units):
        for k in range(terms):
            result[j, k] = registers[j, k]
    return events


@kernel
def conv_weight_gradient_accumulate(
    delta,
    act,
    first,
    product_shift,
    product_rounding,
    lo,
    hi,
    overflow_mode,
    every_mac,
    stride,
    padding,
    registers,
    patch,
    out,
    counters,
):
    """Gradient of a convolution's units first, first+1, ... in limited registers; samples, then (p, q) ascending.

    ``out[j, r, s, c] = register(0, delta[n, p, q, first + j] * act[n, h, w, c] for all n, p, q)``
    with h, w and act as in `conv_forward_accumulate`

    Parameters
    ----------
    delta : integer[N, P, Q, J]
    act : integer[N, H, W, C]
    first : int64                           first unit of this slice
    stride, padding : int64
    registers : int32 or int64[j, R S C]    scratch
    patch : integer[R S C]                  scratch of act's type
    out : integer[j, R, S, C]               written; must hold lo .. hi
    counters : int64[2]                     grow
    """
    events = np.int64(0)
    registers[:] = 0
    if provable(delta, act, product_shift, product_rounding, every_mac, ASCENDING):
        events += _window_gradients(delta, act, first, stride, padding, lo, hi, overflow_mode, registers, out)
        count_events(counters, overflow_mode, events)
        return
    for n in range(act.shape[0]):
        for p in range(delta.shape[1]):
            for q in range(delta.shape[2]):
                _load_window(act[n], p * stride - padding, q * stride - padding, out.shape[2], patch)
                for j in range(out.shape[0]):
                    factor = delta[n, p, q, first + j]
                    if factor != 0 or product_rounding == JAM:
                        events += add_products(
                            registers[j], factor, patch, product_shift, product_rounding, lo, hi, overflow_mode, every_mac
                        )
    result = out.reshape(out.shape[0], patch.shape[0])
    for j in range(out.shape[0]):
        events += finish(registers[j : j + 1], lo, hi, overflow_mode, every_mac, ASCENDING, 1, result[j])
    count_events(counters, overflow_mode, events)
