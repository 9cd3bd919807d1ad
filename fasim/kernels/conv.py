"""Convolution of maps in float32: forward, input gradient, weight gradient. Maps are NHWC, kernels square.

All three take four output pixels at a time: the windows of these pixels are the rows of a small scratch matrix (a matrix of
all patches never exists), and a 4 x 4 tile multiplies with it. The tile's inner loop runs over independent sums, so LLVM
vectorises it without reordering any of them: the same bits on every CPU. Where four does not divide a size, scratch memory
is filled up with zeros.

P = (H + 2 padding - R) // stride + 1, Q likewise from W, and S = R; what no window reaches at the far edges is left out.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel

ZERO = np.float32(0.0)
TILE = 4


@njit(inline="always", cache=True)
def _whole_tiles(count):
    """Return ``count`` rounded up to a multiple of the tile."""
    return (count + TILE - 1) // TILE * TILE


@njit(inline="always", cache=True)
def _add_tile(left, a, b, right, k, out, i):
    """``out[i + u, :] += sum_v left[a + u, b + v] * right[k + v, :]`` for u, v in 0 .. 3, one v after the other."""
    x00, x01, x02, x03 = left[a, b], left[a, b + 1], left[a, b + 2], left[a, b + 3]
    x10, x11, x12, x13 = left[a + 1, b], left[a + 1, b + 1], left[a + 1, b + 2], left[a + 1, b + 3]
    x20, x21, x22, x23 = left[a + 2, b], left[a + 2, b + 1], left[a + 2, b + 2], left[a + 2, b + 3]
    x30, x31, x32, x33 = left[a + 3, b], left[a + 3, b + 1], left[a + 3, b + 2], left[a + 3, b + 3]
    for j in range(right.shape[1]):
        y0, y1, y2, y3 = right[k, j], right[k + 1, j], right[k + 2, j], right[k + 3, j]
        out[i, j] = out[i, j] + x00 * y0 + x01 * y1 + x02 * y2 + x03 * y3
        out[i + 1, j] = out[i + 1, j] + x10 * y0 + x11 * y1 + x12 * y2 + x13 * y3
        out[i + 2, j] = out[i + 2, j] + x20 * y0 + x21 * y1 + x22 * y2 + x23 * y3
        out[i + 3, j] = out[i + 3, j] + x30 * y0 + x31 * y1 + x32 * y2 + x33 * y3


@njit(inline="always", cache=True)
def _pad(image, padding, padded):
    """Copy image[H, W, C] into padded[H + 2 padding, (W + 2 padding) C], whose border stays as it is."""
    height, width, channels = image.shape
    rows = image.reshape(height, width * channels)
    first = padding * channels
    for h in range(height):
        for k in range(width * channels):
            padded[h + padding, first + k] = rows[h, k]


@njit(inline="always", cache=True)
def _load_windows(padded, pixel, count, columns, stride, strip, channels, patch):
    """Copy the windows of ``count`` pixels to patch[u, (R S C)]; ``strip`` is S C, a window's contiguous part of a row."""
    for u in range(count):
        top = (pixel + u) // columns * stride
        first = (pixel + u) % columns * stride * channels
        for r in range(strip // channels):
            for k in range(strip):
                patch[u, r * strip + k] = padded[top + r, first + k]


@kernel
def conv_forward(act, weight, bias, stride, padding, out):
    """Pre-activations of a convolutional layer: a correlation, as everywhere in deep learning.

    ``out[n, p, q, j] = bias[j] + sum_r sum_s sum_c act[n, h, w, c] weight[j, r, s, c]``
    with h = p stride + r - padding, w = q stride + s - padding, act = 0 outside of the map

    Parameters
    ----------
    act : float32[N, H, W, C]
    weight : float32[J, R, S, C]
    bias : float32[J]
    stride, padding : int64
    out : float32[N, P, Q, J]   written; may not overlap an input

    Cost: N P Q J R S C multiply-accumulates. Order of summation: the bias, then (r, s, c) ascending, padding included.
    """
    samples, height, width, channels = act.shape
    units = weight.shape[0]
    strip = weight.shape[2] * channels
    window = weight.shape[1] * strip
    packed = np.zeros((_whole_tiles(window), units), np.float32)
    flat = weight.reshape(units, window)
    for j in range(units):
        for k in range(window):
            packed[k, j] = flat[j, k]
    padded = np.zeros((height + 2 * padding, (width + 2 * padding) * channels), np.float32)
    patch = np.zeros((TILE, packed.shape[0]), np.float32)
    total = np.empty((TILE, units), np.float32)
    columns = out.shape[2]
    pixels = out.shape[1] * columns
    for n in range(samples):
        _pad(act[n], padding, padded)
        result = out[n].reshape(pixels, units)
        for pixel in range(0, pixels, TILE):
            count = min(TILE, pixels - pixel)
            _load_windows(padded, pixel, count, columns, stride, strip, channels, patch)
            for u in range(TILE):
                for j in range(units):
                    total[u, j] = bias[j]
            for k in range(0, packed.shape[0], TILE):
                _add_tile(patch, 0, k, packed, k, total, 0)
            for u in range(count):
                for j in range(units):
                    result[pixel + u, j] = total[u, j]


@kernel
def conv_input_gradient(delta, weight, scale, stride, padding, out):
    """Bring a delta back through a convolution: the transposed convolution of BP, or of FA with feedback for weights.

    ``out[n, h, w, c] = scale * sum_p sum_q sum_j delta[n, p, q, j] weight[j, r, s, c]`` over all p, q whose window holds
    (h, w): r = h + padding - p stride, s = w + padding - q stride; 0 where no window reaches

    Parameters
    ----------
    delta : float32[N, P, Q, J]
    weight : float32[J, R, S, C]
    scale : float32
    stride, padding : int64
    out : float32[N, H, W, C]   written; may not overlap an input

    Cost: N P Q J R S C multiply-accumulates. Order of summation: first over j, ascending; then these sums over (p, q),
    ascending; `scale` last.
    """
    samples, height, width, channels = out.shape
    units = weight.shape[0]
    strip = weight.shape[2] * channels
    window = weight.shape[1] * strip
    packed = np.zeros((_whole_tiles(units), window), np.float32)
    flat = weight.reshape(units, window)
    for j in range(units):
        for k in range(window):
            packed[j, k] = flat[j, k]
    padded = np.empty((height + 2 * padding, (width + 2 * padding) * channels), np.float32)
    patch = np.empty((TILE, window), np.float32)
    signal = np.zeros((TILE, packed.shape[0]), np.float32)
    columns = delta.shape[2]
    pixels = delta.shape[1] * columns
    for n in range(samples):
        for h in range(padded.shape[0]):
            for k in range(padded.shape[1]):
                padded[h, k] = ZERO
        source = delta[n].reshape(pixels, units)
        for pixel in range(0, pixels, TILE):
            count = min(TILE, pixels - pixel)
            for u in range(count):
                for j in range(units):
                    signal[u, j] = source[pixel + u, j]
            for u in range(TILE):
                for k in range(window):
                    patch[u, k] = ZERO
            for j in range(0, packed.shape[0], TILE):
                _add_tile(signal, 0, j, packed, j, patch, 0)
            for u in range(count):
                top = (pixel + u) // columns * stride
                first = (pixel + u) % columns * stride * channels
                for r in range(weight.shape[1]):
                    for k in range(strip):
                        padded[top + r, first + k] += patch[u, r * strip + k]
        result = out[n].reshape(height, width * channels)
        for h in range(height):
            for k in range(width * channels):
                result[h, k] = scale * padded[h + padding, padding * channels + k]


@kernel
def conv_weight_gradient(delta, act, stride, padding, out):
    """Gradient of a convolution's weights, summed over the batch and all pixels.

    ``out[j, r, s, c] = sum_n sum_p sum_q delta[n, p, q, j] act[n, h, w, c]``
    with h, w and act as in `conv_forward`; that of the biases is ``bias_gradient`` of delta as [N P Q, J]

    Parameters
    ----------
    delta : float32[N, P, Q, J]
    act : float32[N, H, W, C]
    stride, padding : int64
    out : float32[J, R, S, C]   written; may not overlap an input

    Cost: N P Q J R S C multiply-accumulates. Order of summation: (p, q) ascending within a sample; then these sums over n,
    ascending, which keeps the rounding errors of N P Q terms small.
    """
    samples, height, width, channels = act.shape
    units = out.shape[0]
    strip = out.shape[2] * channels
    window = out.shape[1] * strip
    total = np.empty((_whole_tiles(units), window), np.float32)
    result = out.reshape(units, window)
    for j in range(units):
        for k in range(window):
            result[j, k] = ZERO
    padded = np.zeros((height + 2 * padding, (width + 2 * padding) * channels), np.float32)
    patch = np.zeros((TILE, window), np.float32)
    signal = np.zeros((total.shape[0], TILE), np.float32)
    columns = delta.shape[2]
    pixels = delta.shape[1] * columns
    for n in range(samples):
        _pad(act[n], padding, padded)
        for j in range(total.shape[0]):
            for k in range(window):
                total[j, k] = ZERO
        source = delta[n].reshape(pixels, units)
        for pixel in range(0, pixels, TILE):
            count = min(TILE, pixels - pixel)
            _load_windows(padded, pixel, count, columns, stride, strip, channels, patch)
            # pixels past the last one keep an old window and get a zero signal
            for u in range(TILE):
                for j in range(units):
                    signal[j, u] = source[pixel + u, j] if u < count else ZERO
            for j in range(0, total.shape[0], TILE):
                _add_tile(signal, j, 0, patch, 0, total, j)
        for j in range(units):
            for k in range(window):
                result[j, k] += total[j, k]
