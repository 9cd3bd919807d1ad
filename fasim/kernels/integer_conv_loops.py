"""Convolution of maps in fixed point by plain loops, for all integers and CPUs that no register tiles serve.

Four output pixels are taken at a time: their windows are the rows of a small scratch matrix, and a 4 x 4 tile multiplies
with it. Where four does not divide a size, scratch memory is filled up with zeros. Sums are held in the type of `out`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel

TILE = 4


@njit(inline="always", cache=True)
def _whole_tiles(count):
    """Return ``count`` rounded up to a multiple of the tile."""
    return (count + TILE - 1) // TILE * TILE


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


@njit(inline="always", cache=True)
def _add_tile_fixed(left, a, b, right, k, out, i):
    """``out[i + u, :] += sum_v left[a + u, b + v] * right[k + v, :]`` for u, v in 0 .. 3, in the type of `out`."""
    cast = out.dtype.type
    for u in range(TILE):
        x0, x1, x2, x3 = cast(left[a + u, b]), cast(left[a + u, b + 1]), cast(left[a + u, b + 2]), cast(left[a + u, b + 3])
        row = out[i + u]
        for j in range(right.shape[1]):
            near = cast(cast(x0 * cast(right[k, j])) + cast(x1 * cast(right[k + 1, j])))
            far = cast(cast(x2 * cast(right[k + 2, j])) + cast(x3 * cast(right[k + 3, j])))
            row[j] = cast(row[j] + cast(near + far))


@njit(inline="always", cache=True)
def _clear(array):
    """Set a matrix to 0."""
    for i in range(array.shape[0]):
        for j in range(array.shape[1]):
            array[i, j] = 0


@kernel
def forward_loops(act, weight, bias, product_shift, bias_shift, stride, padding, out):
    """Exact accumulators of a convolutional layer, product sum and bias aligned to one binary point.

    ``out[n, p, q, j] = (sum_r sum_s sum_c act[n, h, w, c] weight[j, r, s, c] << product_shift) + (bias[j] << bias_shift)``
    with h = p stride + r - padding, w = q stride + s - padding, act = 0 outside of the map

    Parameters
    ----------
    act : integer[N, H, W, C]
    weight : integer[J, R, S, C]
    bias : integer[J]
    product_shift, bias_shift : int64, >= 0
    stride, padding : int64
    out : int32 or int64[N, P, Q, J]    written

    Cost: N P Q J R S C multiply-accumulates.
    """
    samples, height, width, channels = act.shape
    units = weight.shape[0]
    strip = weight.shape[2] * channels
    window = weight.shape[1] * strip
    packed = np.zeros((_whole_tiles(window), units), weight.dtype)
    flat = weight.reshape(units, window)
    for j in range(units):
        for k in range(window):
            packed[k, j] = flat[j, k]
    padded = np.zeros((height + 2 * padding, (width + 2 * padding) * channels), act.dtype)
    patch = np.zeros((TILE, packed.shape[0]), act.dtype)
    total = np.empty((TILE, units), out.dtype)
    columns = out.shape[2]
    pixels = out.shape[1] * columns
    for n in range(samples):
        _pad(act[n], padding, padded)
        result = out[n].reshape(pixels, units)
        for pixel in range(0, pixels, TILE):
            count = min(TILE, pixels - pixel)
            _load_windows(padded, pixel, count, columns, stride, strip, channels, patch)
            _clear(total)
            for k in range(0, packed.shape[0], TILE):
                _add_tile_fixed(patch, 0, k, packed, k, total, 0)
            for u in range(count):
                for j in range(units):
                    result[pixel + u, j] = (np.int64(total[u, j]) << product_shift) + (np.int64(bias[j]) << bias_shift)


@kernel
def input_gradient_loops(delta, weight, stride, padding, out):
    """Bring an integer delta back through a convolution, exact: the transposed convolution of BP, or of FA with feedback.

    ``out[n, h, w, c] = sum_p sum_q sum_j delta[n, p, q, j] weight[j, r, s, c]`` over all p, q whose window holds (h, w):
    r = h + padding - p stride, s = w + padding - q stride; 0 where no window reaches

    Parameters
    ----------
    delta : integer[N, P, Q, J]
    weight : integer[J, R, S, C]
    stride, padding : int64
    out : int32 or int64[N, H, W, C]    written

    Cost: N P Q J R S C multiply-accumulates.
    """
    samples, height, width, channels = out.shape
    units = weight.shape[0]
    strip = weight.shape[2] * channels
    window = weight.shape[1] * strip
    packed = np.zeros((_whole_tiles(units), window), weight.dtype)
    flat = weight.reshape(units, window)
    for j in range(units):
        for k in range(window):
            packed[j, k] = flat[j, k]
    padded = np.empty((height + 2 * padding, (width + 2 * padding) * channels), out.dtype)
    patch = np.empty((TILE, window), out.dtype)
    signal = np.zeros((TILE, packed.shape[0]), delta.dtype)
    columns = delta.shape[2]
    pixels = delta.shape[1] * columns
    for n in range(samples):
        _clear(padded)
        source = delta[n].reshape(pixels, units)
        for pixel in range(0, pixels, TILE):
            count = min(TILE, pixels - pixel)
            for u in range(count):
                for j in range(units):
                    signal[u, j] = source[pixel + u, j]
            _clear(patch)
            for j in range(0, packed.shape[0], TILE):
                _add_tile_fixed(signal, 0, j, packed, j, patch, 0)
            for u in range(count):
                top = (pixel + u) // columns * stride
                first = (pixel + u) % columns * stride * channels
                for r in range(weight.shape[1]):
                    for k in range(strip):
                        padded[top + r, first + k] += patch[u, r * strip + k]
        result = out[n].reshape(height, width * channels)
        for h in range(height):
            for k in range(width * channels):
                result[h, k] = padded[h + padding, padding * channels + k]


@kernel
def weight_gradient_loops(delta, act, first, stride, padding, out):
    """Exact gradient of a convolution's units first, first+1, ..., summed over the batch and all pixels.

    ``out[j, r, s, c] = sum_n sum_p sum_q delta[n, p, q, first + j] act[n, h, w, c]``
    with h, w and act as in `conv_forward_fixed`; that of the biases is ``bias_gradient_fixed`` of delta as [N P Q, J]

    Parameters
    ----------
    delta : integer[N, P, Q, J]
    act : integer[N, H, W, C]
    first : int64                       first unit of this slice
    stride, padding : int64
    out : int32 or int64[j, R, S, C]    written

    Cost: N P Q j R S C multiply-accumulates.
    """
    samples, height, width, channels = act.shape
    units = out.shape[0]
    strip = out.shape[2] * channels
    window = out.shape[1] * strip
    total = np.zeros((_whole_tiles(units), window), out.dtype)
    padded = np.zeros((height + 2 * padding, (width + 2 * padding) * channels), act.dtype)
    patch = np.zeros((TILE, window), act.dtype)
    signal = np.zeros((total.shape[0], TILE), delta.dtype)
    columns = delta.shape[2]
    pixels = delta.shape[1] * columns
    for n in range(samples):
        _pad(act[n], padding, padded)
        source = delta[n].reshape(pixels, delta.shape[3])
        for pixel in range(0, pixels, TILE):
            count = min(TILE, pixels - pixel)
            _load_windows(padded, pixel, count, columns, stride, strip, channels, patch)
            # pixels past the last one keep an old window and get a zero signal
            for u in range(TILE):
                for j in range(units):
                    signal[j, u] = source[pixel + u, first + j] if u < count else 0
            for j in range(0, total.shape[0], TILE):
                _add_tile_fixed(signal, j, 0, patch, 0, total, j)
    result = out.reshape(units, window)
    for j in range(units):
        for k in range(window):
            result[j, k] = total[j, k]
