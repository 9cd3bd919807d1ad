"""Batch normalisation in float32, with PyTorch's conventions for the running statistics; maps come as [M, C].

Sums over rows are those of `fasim_cuda.rows` in float64, which are added in stretches: the last bit of a mean may differ
from the CPU's. What is said of a channel is reckoned by one thread in float64, elements in float32.
"""

from __future__ import annotations

from numba import float32, float64

from fasim_cuda.scalars_norm import inverse_root, nearer
from fasim_cuda.target import cuda, jit


@jit
def divide_sums(sums, rows, out):
    """Turn sums into means: ``out[c] = sums[c] / rows``, reckoned in float64.

    Parameters
    ----------
    sums : float64[C]
    rows : int64
    out : float32 or float64[C]     written; may be `sums`
    """
    for c in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[c] = sums[c] / float64(rows)


@jit
def batch_statistics(mean, squares, rows, momentum, eps, running_mean, running_var, centre, inverse_std):
    """Take deviations from sums of squares, and move the running statistics.

    ``inverse_std = 1 / sqrt(squares / M + eps)``, ``running = (1 - momentum) * running + momentum * batch`` with the
    unbiased variance ``squares / (M - 1)``

    Parameters
    ----------
    mean, squares : float64[C]
    rows : int64                            M, at least 2
    momentum, eps : float64
    running_mean, running_var : float32[C]  updated
    centre, inverse_std : float32[C]        written; centre is the mean, rounded
    """
    for c in range(cuda.grid(1), inverse_std.size, cuda.gridsize(1)):
        centre[c] = mean[c]
        inverse_std[c] = inverse_root(squares[c] / float64(rows), eps)
        running_mean[c] = nearer(running_mean[c], mean[c], momentum)
        running_var[c] = nearer(running_var[c], squares[c] / float64(rows - 1), momentum)


@jit
def running_deviation(running_var, eps, inverse_std):
    """Take deviations from the running statistics: ``inverse_std = 1 / sqrt(running_var + eps)``, float32[C]."""
    for c in range(cuda.grid(1), inverse_std.size, cuda.gridsize(1)):
        inverse_std[c] = inverse_root(float64(running_var[c]), eps)


@jit
def batch_norm(preact, gain, shift, centre, inverse_std, normal, out):
    """Normalise, scale and shift: ``normal = (preact - centre) * inverse_std``, ``out = gain * normal + shift``.

    Parameters
    ----------
    preact : float32[M, C]
    gain, shift, centre, inverse_std : float32[C]
    normal : float32[M, C]      written
    out : float32[M, C]         written; may be `preact`
    """
    channels = out.shape[1]
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        m = x // channels
        c = x - m * channels
        value = float32(float32(preact[m, c] - centre[c]) * inverse_std[c])
        normal[m, c] = value
        out[m, c] = float32(float32(gain[c] * value) + shift[c])


@jit
def batch_norm_inference(preact, gain, shift, running_mean, inverse_std, out):
    """Normalise by the running statistics: ``out = gain * ((preact - running_mean) * inverse_std) + shift``.

    Parameters
    ----------
    preact : float32[M, C]
    gain, shift, running_mean : float32[C]
    inverse_std : float32[C]    of `running_deviation`
    out : float32[M, C]         written; may be `preact`
    """
    channels = out.shape[1]
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        m = x // channels
        c = x - m * channels
        value = float32(float32(preact[m, c] - running_mean[c]) * inverse_std[c])
        out[m, c] = float32(float32(gain[c] * value) + shift[c])


@jit
def batch_norm_backward(delta, normal, inverse_std, gain, mean, slope, out):
    """Bring a delta back through the normalisation, through the batch's mean and variance too: the exact derivative.

    ``out = gain * inverse_std * (delta - mean - normal * slope)``

    Parameters
    ----------
    delta, normal : float32[M, C]
    inverse_std, gain : float32[C]
    mean, slope : float32[C]        means over rows of delta and of delta * normal
    out : float32[M, C]             written; may be `delta`
    """
    channels = out.shape[1]
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        m = x // channels
        c = x - m * channels
        centred = float32(float32(delta[m, c] - mean[c]) - float32(normal[m, c] * slope[c]))
        out[m, c] = float32(float32(gain[c] * inverse_std[c]) * centred)
