"""Convolution, pooling, batch normalisation and dropout, each beside its equation.

Maps are (N, H, W, C), convolution weights (J, R, S, C): J output channels, a kernel of R x S, C input
channels. Output maps are (N, P, Q, J) with ``P = (H + 2 padding - R) // stride + 1``, Q likewise. Loops run
over the offsets (r, s) of a kernel or window; everything else is one array expression.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .float_optimizers import Array

Index = NDArray[np.integer[Any]]


def _offsets(rows: int, columns: int, size: tuple[int, int], stride: int) -> Iterator[tuple[int, int, slice, slice]]:
    """Yield (r, s, the map rows, the map columns) that offset (r, s) of each window falls on."""
    for r in range(rows):
        for s in range(columns):
            yield r, s, slice(r, r + stride * (size[0] - 1) + 1, stride), slice(s, s + stride * (size[1] - 1) + 1, stride)


def _pad(act: Array, padding: int) -> Array:
    return np.pad(act, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def conv_forward(act: Array, weight: Array, bias: Array, stride: int = 1, padding: int = 0) -> Array:
    """Return ``z[n,p,q,j] = bias[j] + sum_rsc weight[j,r,s,c] act[n, p stride + r - padding, q stride + s - padding, c]``.

    Outside of the map act is 0.
    """
    samples, height, width, _ = act.shape
    channels, rows, columns, _ = weight.shape
    size = (height + 2 * padding - rows) // stride + 1, (width + 2 * padding - columns) // stride + 1
    padded = _pad(act, padding)
    preact = np.zeros((samples, *size, channels)) + bias
    for r, s, at_rows, at_columns in _offsets(rows, columns, size, stride):
        preact += np.einsum("npqc,jc->npqj", padded[:, at_rows, at_columns], weight[:, r, s])
    return preact


def conv_input_gradient(delta: Array, weight: Array, shape: tuple[int, int], stride: int = 1, padding: int = 0) -> Array:
    """Return dLoss/dact, (N, H, W, C) with (H, W) = shape: each delta goes back to the places its window read."""
    samples, *size, _ = delta.shape
    _, rows, columns, inputs = weight.shape
    padded = np.zeros((samples, shape[0] + 2 * padding, shape[1] + 2 * padding, inputs))
    for r, s, at_rows, at_columns in _offsets(rows, columns, (size[0], size[1]), stride):
        padded[:, at_rows, at_columns] += np.einsum("npqj,jc->npqc", delta, weight[:, r, s])
    return padded[:, padding : padding + shape[0], padding : padding + shape[1]]


def conv_weight_gradient(delta: Array, act: Array, kernel: tuple[int, int], stride: int = 1, padding: int = 0) -> Array:
    """Return ``g[j,r,s,c] = sum_npq delta[n,p,q,j] act[n, p stride + r - padding, q stride + s - padding, c]``."""
    _, *size, channels = delta.shape
    padded = _pad(act, padding)
    gradient = np.zeros((channels, *kernel, act.shape[3]))
    for r, s, at_rows, at_columns in _offsets(*kernel, (size[0], size[1]), stride):
        gradient[:, r, s] = np.einsum("npqj,npqc->jc", delta, padded[:, at_rows, at_columns])
    return gradient


def _windows(act: Array, kernel: int, stride: int) -> Array:
    """Return (kernel^2, N, P, Q, C): entry r * kernel + s holds offset (r, s) of every window."""
    size = (act.shape[1] - kernel) // stride + 1, (act.shape[2] - kernel) // stride + 1
    return np.stack([act[:, rows, columns] for _, _, rows, columns in _offsets(kernel, kernel, size, stride)])


def max_pool(act: Array, kernel: int, stride: int) -> tuple[Array, Index]:
    """Return (maxima, index): index = r * kernel + s of the first maximum of each window."""
    windows = _windows(act, kernel, stride)
    return windows.max(axis=0), windows.argmax(axis=0)


def average_pool(act: Array, kernel: int, stride: int) -> Array:
    """Return the mean of each window of kernel x kernel."""
    return np.asarray(_windows(act, kernel, stride).sum(axis=0) / kernel**2)


def max_unpool(signal: Array, index: Index, kernel: int, stride: int, shape: tuple[int, int]) -> Array:
    """Return (N, H, W, C): each signal at its window's winner, added where windows overlap, 0 elsewhere."""
    samples, *size, channels = signal.shape
    out = np.zeros((samples, *shape, channels))
    for r, s, rows, columns in _offsets(kernel, kernel, (size[0], size[1]), stride):
        out[:, rows, columns] += np.where(index == r * kernel + s, signal, 0.0)
    return out


def average_unpool(signal: Array, kernel: int, stride: int, shape: tuple[int, int]) -> Array:
    """Return (N, H, W, C): ``signal / kernel^2`` at every place of its window, added where windows overlap."""
    samples, *size, channels = signal.shape
    out = np.zeros((samples, *shape, channels))
    for _, _, rows, columns in _offsets(kernel, kernel, (size[0], size[1]), stride):
        out[:, rows, columns] += signal / kernel**2
    return out


@dataclass(frozen=True)
class Normalised:
    """Batch normalisation of one batch: what the activation reads, what the backward pass needs, new statistics."""

    out: Array
    normal: Array
    inverse_std: Array
    running_mean: Array
    running_var: Array


def batch_norm(
    preact: Array,
    gain: Array,
    shift: Array,
    running_mean: Array,
    running_var: Array,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Normalised:
    """Normalise each channel (the last axis) over all M other places of the batch (Ioffe & Szegedy 2015).

    ``normal = (z - mean) / sqrt(var + eps)``, ``out = gain normal + shift`` with the biased var;
    ``running' = (1 - momentum) running + momentum batch``, there with the unbiased var (M - 1), as PyTorch.
    """
    rows = preact.reshape(-1, preact.shape[-1])
    count = len(rows)
    if count < 2:
        raise ValueError("batch normalisation needs at least 2 values of each channel")
    mean = rows.sum(axis=0) / count
    squares = ((rows - mean) ** 2).sum(axis=0)
    inverse_std = 1.0 / np.sqrt(squares / count + eps)
    normal = (preact - mean) * inverse_std
    return Normalised(
        gain * normal + shift,
        normal,
        inverse_std,
        (1.0 - momentum) * running_mean + momentum * mean,
        (1.0 - momentum) * running_var + momentum * squares / (count - 1),
    )


def batch_norm_inference(
    preact: Array, gain: Array, shift: Array, running_mean: Array, running_var: Array, eps: float = 1e-5
) -> Array:
    """Return ``gain (z - running_mean) / sqrt(running_var + eps) + shift``: evaluation reads no batch statistics."""
    return gain * (preact - running_mean) / np.sqrt(running_var + eps) + shift


def batch_norm_backward(signal: Array, normal: Array, inverse_std: Array, gain: Array) -> tuple[Array, Array, Array]:
    """Return (delta, gradient of gain, gradient of shift) for signal = dLoss/dout.

    With d = signal and means over the M places of a channel:
    ``delta = gain inverse_std (d - mean(d) - normal mean(d normal))``, ``g_gain = sum(d normal)``, ``g_shift = sum(d)``.
    """
    places = tuple(range(signal.ndim - 1))
    gain_gradient = (signal * normal).sum(axis=places)
    shift_gradient = signal.sum(axis=places)
    count = signal.size // signal.shape[-1]
    centred = signal - shift_gradient / count - normal * gain_gradient / count
    return gain * inverse_std * centred, gain_gradient, shift_gradient


def dropout(act: Array, mask: Array | None, scale: float) -> Array:
    """Return ``scale mask act`` for a given 0/1 mask of the same shape; also its backward pass. None drops nothing."""
    return act if mask is None else scale * mask * act
