"""Windows of maps: the products of convolutions in the order of their sums, pooling and its way back.

Maps are (N, H, W, C), convolution weights (J, R, S, C), (R, S) the kernel, (P, Q) the places of an output map. One loop a
letter: nothing is clever here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .fixed_numbers import Num, Raw


def patches(act: Raw, kernel: tuple[int, int], stride: int, padding: int) -> Raw:
    """Return (N, P, Q, R S C): what each window reads, row-major; 0 outside of the map."""
    samples, height, width, channels = act.shape
    rows, columns = kernel
    down, across = (height + 2 * padding - rows) // stride + 1, (width + 2 * padding - columns) // stride + 1
    padded = np.zeros((samples, height + 2 * padding, width + 2 * padding, channels), dtype=object)
    padded[:, padding : padding + height, padding : padding + width] = act
    out = np.empty((samples, down, across, rows * columns * channels), dtype=object)
    for p in range(down):
        for q in range(across):
            window = padded[:, p * stride : p * stride + rows, q * stride : q * stride + columns]
            out[:, p, q] = window.reshape(samples, -1)
    return out


def conv_products(act: Raw, weight: Raw, stride: int, padding: int) -> Raw:
    """Return (N, P, Q, J, R S C): the products of each pre-activation."""
    read = patches(act, weight.shape[1:3], stride, padding)
    return read[:, :, :, None, :] * weight.reshape(len(weight), -1)


def conv_input_products(delta: Raw, weight: Raw, shape: tuple[int, int], stride: int, padding: int) -> Raw:
    """Return (N, H, W, C, R S J): the products of the transposed convolution; 0 where no window reaches."""
    samples, down, across, units = delta.shape
    _, rows, columns, channels = weight.shape
    out = np.zeros((samples, *shape, channels, rows, columns, units), dtype=object)
    for p in range(down):
        for q in range(across):
            for r in range(rows):
                for s in range(columns):
                    h, w = p * stride + r - padding, q * stride + s - padding
                    if 0 <= h < shape[0] and 0 <= w < shape[1]:
                        out[:, h, w, :, r, s, :] += delta[:, p, q, None, :] * weight[:, r, s, :].T
    return out.reshape(samples, *shape, channels, -1)


def conv_weight_products(delta: Raw, act: Raw, kernel: tuple[int, int], stride: int, padding: int) -> Raw:
    """Return (J, R, S, C, N P Q): the products of each weight's gradient, samples, then places."""
    units = delta.shape[-1]
    read = patches(act, kernel, stride, padding)
    sent = delta.reshape(-1, units)  # (N P Q, J)
    products = sent.T[:, None, :] * read.reshape(len(sent), -1).T  # (J, R S C, N P Q)
    return products.reshape(units, *kernel, act.shape[3], len(sent))


def _windows(size: tuple[int, ...], kernel: int, stride: int) -> Iterator[tuple[int, int, slice, slice]]:
    """Yield (p, q, rows, columns) of every window of a map (N, H, W, C)."""
    for p in range((size[1] - kernel) // stride + 1):
        for q in range((size[2] - kernel) // stride + 1):
            yield p, q, slice(p * stride, p * stride + kernel), slice(q * stride, q * stride + kernel)


def _pooled_shape(size: tuple[int, ...], kernel: int, stride: int) -> tuple[int, ...]:
    return size[0], (size[1] - kernel) // stride + 1, (size[2] - kernel) // stride + 1, size[3]


def max_pool(act: Raw, kernel: int, stride: int) -> tuple[Raw, Raw]:
    """Return (maxima, the place r * kernel + s of the first maximum)."""
    shape = _pooled_shape(act.shape, kernel, stride)
    out, places = np.empty(shape, dtype=object), np.empty(shape, dtype=object)
    for p, q, rows, columns in _windows(act.shape, kernel, stride):
        for n in range(shape[0]):
            for c in range(shape[3]):
                window = list(act[n, rows, columns, c].reshape(-1))
                out[n, p, q, c] = max(window)
                places[n, p, q, c] = window.index(max(window))
    return out, places


def max_unpool(signal: Raw, places: Raw, kernel: int, stride: int, size: tuple[int, ...]) -> Raw:
    """Return each signal at the place of its maximum, sums where windows overlap."""
    out = np.zeros(size, dtype=object)
    for p, q, _, _ in _windows(size, kernel, stride):
        for n in range(size[0]):
            for c in range(size[3]):
                r, s = divmod(places[n, p, q, c], kernel)
                out[n, p * stride + r, q * stride + s, c] += signal[n, p, q, c]
    return out


def log2_of_square(kernel: int) -> int:
    """Return log2(kernel^2), kernel^2 a power of two."""
    bits = (kernel * kernel).bit_length() - 1
    if 2**bits != kernel * kernel:
        raise ValueError(f"average pooling divides by {kernel * kernel}, no power of two")
    return bits


def window_sum(act: Num, kernel: int, stride: int) -> Num:
    """Return the mean of each window, exactly: its sum at log2(kernel^2) more fraction bits."""
    out = np.empty(_pooled_shape(act.raw.shape, kernel, stride), dtype=object)
    for p, q, rows, columns in _windows(act.raw.shape, kernel, stride):
        out[:, p, q] = act.raw[:, rows, columns].sum(axis=(1, 2))
    return Num(out, act.frac + log2_of_square(kernel))


def window_spread(signal: Num, kernel: int, stride: int, size: tuple[int, ...]) -> Num:
    """Return each value to all places of its window, at log2(kernel^2) more fraction bits."""
    out = np.zeros(size, dtype=object)
    for p, q, rows, columns in _windows(size, kernel, stride):
        out[:, rows, columns] += signal.raw[:, p, q][:, None, None]
    return Num(out, signal.frac + log2_of_square(kernel))
