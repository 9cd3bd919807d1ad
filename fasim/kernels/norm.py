"""Batch normalisation in float32 (Ioffe and Szegedy 2015), with PyTorch's conventions for the running statistics.

A map [N, H, W, C] is normalised per channel: it comes as [M, C] with M = N H W rows; a dense layer has M = N. All sums over
rows are float64, rows ascending.
"""

from __future__ import annotations

import math

import numpy as np

from fasim.kernels.compile import kernel


@kernel
def batch_norm(preact, gain, shift, running_mean, running_var, momentum, eps, normal, inverse_std, out):
    """Normalise each column by the batch, in training.

    ``normal = (preact - mean) * inverse_std``, ``inverse_std = 1 / sqrt(var + eps)``, ``out = gain * normal + shift``,
    mean and biased variance over the M rows (two passes);
    ``running = (1 - momentum) * running + momentum * batch``, with the unbiased variance

    Parameters
    ----------
    preact : float32[M, C]
    gain, shift : float32[C]
    running_mean, running_var : float32[C]  updated
    momentum, eps : float64                 PyTorch: 0.1, 1e-5
    normal : float32[M, C]                  written, for `batch_norm_backward` and `gain_gradient`
    inverse_std : float32[C]                written, for `batch_norm_backward`
    out : float32[M, C]                     written; may be `preact`

    Raises
    ------
    ValueError
        If M is 1: one row has no variance.
    """
    rows, columns = preact.shape
    if rows < 2:
        raise ValueError("batch_norm: one row has no variance; use a batch of at least 2 samples")
    mean = np.zeros(columns)
    for m in range(rows):
        for c in range(columns):
            mean[c] += preact[m, c]
    for c in range(columns):
        mean[c] /= rows
    squares = np.zeros(columns)
    for m in range(rows):
        for c in range(columns):
            distance = preact[m, c] - mean[c]
            squares[c] += distance * distance
    centre = np.empty(columns, np.float32)
    for c in range(columns):
        centre[c] = np.float32(mean[c])
        inverse_std[c] = np.float32(1.0 / math.sqrt(squares[c] / rows + eps))
        running_mean[c] = np.float32((1.0 - momentum) * running_mean[c] + momentum * mean[c])
        running_var[c] = np.float32((1.0 - momentum) * running_var[c] + momentum * (squares[c] / (rows - 1)))
    for m in range(rows):
        for c in range(columns):
            normal[m, c] = (preact[m, c] - centre[c]) * inverse_std[c]
            out[m, c] = gain[c] * normal[m, c] + shift[c]


@kernel
def batch_norm_inference(preact, gain, shift, running_mean, running_var, eps, out):
    """Normalise each column by the running statistics, in evaluation.

    ``out = gain * ((preact - running_mean) * (1 / sqrt(running_var + eps))) + shift``

    Parameters
    ----------
    preact : float32[M, C]
    gain, shift, running_mean, running_var : float32[C]
    eps : float64           PyTorch: 1e-5
    out : float32[M, C]     written; may be `preact`
    """
    inverse_std = np.empty(out.shape[1], np.float32)
    for c in range(out.shape[1]):
        inverse_std[c] = np.float32(1.0 / math.sqrt(running_var[c] + eps))
    for m in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[m, c] = gain[c] * ((preact[m, c] - running_mean[c]) * inverse_std[c]) + shift[c]


@kernel
def batch_norm_backward(delta, normal, inverse_std, gain, out):
    """Bring a delta back through the normalisation, through the batch's mean and variance too: the exact derivative.

    ``out = gain * inverse_std * (delta - mean_m(delta) - normal * mean_m(delta * normal))``

    Parameters
    ----------
    delta : float32[M, C]           derivative by the output of `batch_norm`
    normal : float32[M, C]
    inverse_std, gain : float32[C]
    out : float32[M, C]             written; may be `delta`
    """
    rows, columns = out.shape
    total, product = np.zeros(columns), np.zeros(columns)
    for m in range(rows):
        for c in range(columns):
            total[c] += delta[m, c]
            product[c] += np.float64(delta[m, c]) * np.float64(normal[m, c])
    mean, slope = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for c in range(columns):
        mean[c] = np.float32(total[c] / rows)
        slope[c] = np.float32(product[c] / rows)
    for m in range(rows):
        for c in range(columns):
            out[m, c] = gain[c] * inverse_std[c] * (delta[m, c] - mean[c] - normal[m, c] * slope[c])


@kernel
def gain_gradient(delta, normal, out):
    """Gradient of the gains: ``out[c] = sum_m delta[m, c] * normal[m, c]``, float32[M, C] -> float32[C].

    The gradient of the shifts is ``bias_gradient`` of delta.
    """
    total = np.zeros(out.shape[0])
    for m in range(delta.shape[0]):
        for c in range(out.shape[0]):
            total[c] += np.float64(delta[m, c]) * np.float64(normal[m, c])
    for c in range(out.shape[0]):
        out[c] = np.float32(total[c])
