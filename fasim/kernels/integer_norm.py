"""Batch normalisation by shifts: the deviation of a channel is taken as a power of two, so that nothing is divided by it.

A map [N, H, W, C] is normalised per channel: it comes as [M, C] with M = N H W rows; a dense layer has M = N. What needs
all rows (statistics, way back, gradient of the gains) works on a slice of the channels, the rest on a slice of the rows.
Sums are int64: 2 * (bits of x) + log2 M must not exceed 60.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.scalar.rounding import RND, SAT, SAT_SYM, SAT_ZERO, overflow, shift_round

STATISTIC_BITS = 8  # more fraction bits of running statistics
BEYOND = np.int64(1) << 61


@njit(inline="always", cache=True)
def _bit_length(value):
    """Return how many bits a number >= 0 has."""
    length = np.int64(0)
    for step in (32, 16, 8, 4, 2, 1):
        if value >> step:
            value >>= step
            length += step
    return length + value


@njit(inline="always", cache=True)
def _mean(total, rows):
    """Return ``total / rows``, the nearest whole number, ties up."""
    return (2 * total + rows) // (2 * rows)


@njit(inline="always", cache=True)
def _cast(x, shift, lo, hi, rounding, mode):
    """Return x with `shift` bits dropped, in range, and whether it was outside; exact where a left shift leaves 64 bits."""
    value = shift_round(x, shift, rounding, 0)
    if shift < 0 and (value >> min(-shift, 63)) != x:
        # far outside of any range, on the side of x, with the low bits that wrapping looks at
        value = (value & (BEYOND - 1)) + (BEYOND if x > 0 else -2 * BEYOND)
    outside = np.int64(value < lo) | np.int64(value > hi)
    return overflow(value, lo, hi, mode), outside


@njit(inline="always", cache=True)
def _slot(mode):
    """Return which counter an event of an overflow mode belongs to."""
    return 0 if mode in (SAT, SAT_SYM, SAT_ZERO) else 1


@kernel
def norm_statistics_fixed(x, first, mean, var, exponent):
    """Mean, variance and binary exponent of the deviation of channels first, first+1, ...

    ``mean = (2 sum_m x + M) div (2 M)``, ``var = (sum_m (x - mean)^2) div M``, ``exponent = bit_length(var) div 2``

    Parameters
    ----------
    x : integer[M, C]           all rows of the batch
    first : int64               first channel of this slice
    mean, var : int64[c]        written
    exponent : integer[c]       written; at most 31

    Cost: 2 M c additions, M c products.
    """
    rows = x.shape[0]
    for c in range(mean.shape[0]):
        mean[c] = 0
        var[c] = 0
    for m in range(rows):
        for c in range(mean.shape[0]):
            mean[c] += x[m, first + c]
    for c in range(mean.shape[0]):
        mean[c] = _mean(mean[c], rows)
    for m in range(rows):
        for c in range(mean.shape[0]):
            distance = np.int64(x[m, first + c]) - mean[c]
            var[c] += distance * distance
    for c in range(mean.shape[0]):
        var[c] //= rows
        exponent[c] = _bit_length(var[c]) >> 1


@kernel
def norm_running_fixed(batch_mean, batch_var, running_mean, running_var):
    """Move the running statistics by an eighth of the way, 8 fraction bits more: ``r += RND(((batch << 8) - r) / 8)``.

    Parameters
    ----------
    batch_mean, batch_var : int64[c]        from `norm_statistics_fixed`
    running_mean, running_var : int64[c]    updated
    """
    for c in range(batch_mean.shape[0]):
        running_mean[c] += ((batch_mean[c] << STATISTIC_BITS) - running_mean[c] + 4) >> 3
        running_var[c] += ((batch_var[c] << STATISTIC_BITS) - running_var[c] + 4) >> 3


@kernel
def norm_recall_fixed(running_mean, running_var, mean, exponent):
    """Take mean and exponent from the running statistics, for evaluation.

    ``mean = RND(running_mean / 2^8)``, ``exponent = bit_length(running_var >> 8) div 2``

    Parameters
    ----------
    running_mean, running_var : int64[c]
    mean, exponent : int64[c]               written
    """
    for c in range(mean.shape[0]):
        mean[c] = shift_round(running_mean[c], STATISTIC_BITS, RND, 0)
        exponent[c] = _bit_length(running_var[c] >> STATISTIC_BITS) >> 1


@kernel
def norm_normal_fixed(x, mean, exponent, frac, lo, hi, rounding, overflow_mode, out, counters):
    """Normalise rows and cast: ``out = cast(x - mean[c])`` with ``exponent[c] - frac`` bits dropped.

    Parameters
    ----------
    x : integer[m, C]           any rows of the batch, `frac` fraction bits
    mean : int64[C]
    exponent : integer[C]
    frac : int64                fraction bits of x and of out
    lo, hi : int64              range of out's format
    rounding, overflow_mode : int64
        codes of `fasim.scalar.rounding`; a deterministic rounding
    out : integer[m, C]         written; may be `x`
    counters : int64[2]         grow by the elements that were saturated, wrapped
    """
    outside = 0
    for m in range(out.shape[0]):
        for c in range(out.shape[1]):
            value = np.int64(x[m, c]) - mean[c]
            result, event = _cast(value, exponent[c] - frac, lo, hi, rounding, overflow_mode)
            out[m, c] = result
            outside += event
    counters[_slot(overflow_mode)] += outside


@kernel
def norm_scale_fixed(normal, gain, shift, gain_shift, shift_shift, out):
    """Scale and shift rows, before the cast: ``out = (gain[c] * normal << gain_shift) + (shift[c] << shift_shift)``.

    Parameters
    ----------
    normal : integer[m, C]              any rows of the batch
    gain, shift : integer[C]
    gain_shift, shift_shift : int64     >= 0, align product and shift to one binary point
    out : int32 or int64[m, C]          written
    """
    for m in range(out.shape[0]):
        for c in range(out.shape[1]):
            product = np.int64(gain[c]) * np.int64(normal[m, c])
            out[m, c] = (product << gain_shift) + (np.int64(shift[c]) << shift_shift)


@kernel
def norm_backward_fixed(
    delta, normal, gain, exponent, first, frac, shift, lo, hi, rounding, overflow_mode, means, out, counters
):
    """Bring a delta back through the normalisation of channels first, first+1, ..., and cast it.

    ``md = (2 sum_m delta + M) div (2 M)``, ``mt = (2 sum_m delta normal + M) div (2 M)``,
    ``v = delta - md - RND(normal * mt / 2^(2 frac))``, ``out = cast(gain * v)`` with ``exponent + shift`` bits dropped

    Parameters
    ----------
    delta : integer[M, C]       all rows of the batch, F_d fraction bits
    normal : integer[M, C]      `frac` fraction bits
    gain : integer[C]           F_g fraction bits
    exponent : int64[C]         from `norm_statistics_fixed`
    first : int64               first channel of this slice
    frac : int64
    shift : int64               F_g + F_d - frac - (fraction bits of out)
    lo, hi : int64              range of out's format
    rounding, overflow_mode : int64
        codes of `fasim.scalar.rounding`; a deterministic rounding
    means : int64[2, c]         scratch: md and mt
    out : integer[M, C]         channels first, ..., first + c - 1 are written; may be `delta`
    counters : int64[2]         grow by the elements that were saturated, wrapped

    Cost: 3 M c products, 4 M c additions.
    """
    rows = delta.shape[0]
    channels = means.shape[1]
    for c in range(channels):
        means[0, c] = 0
        means[1, c] = 0
    for m in range(rows):
        for c in range(channels):
            means[0, c] += delta[m, first + c]
            means[1, c] += np.int64(delta[m, first + c]) * np.int64(normal[m, first + c])
    for c in range(channels):
        means[0, c] = _mean(means[0, c], rows)
        means[1, c] = _mean(means[1, c], rows)
    outside = 0
    for m in range(rows):
        for c in range(channels):
            drift = shift_round(np.int64(normal[m, first + c]) * means[1, c], 2 * frac, RND, 0)
            value = np.int64(gain[first + c]) * (np.int64(delta[m, first + c]) - means[0, c] - drift)
            result, event = _cast(value, exponent[first + c] + shift, lo, hi, rounding, overflow_mode)
            out[m, first + c] = result
            outside += event
    counters[_slot(overflow_mode)] += outside


@kernel
def gain_gradient_fixed(delta, normal, first, out):
    """Exact gradient of the gains of channels first, first+1, ...: ``out[c] = sum_m delta[m, first+c] normal[m, first+c]``.

    The gradient of the shifts is ``bias_gradient_fixed`` of delta.

    Parameters
    ----------
    delta, normal : integer[M, C]
    first : int64               first channel of this slice
    out : int32 or int64[c]     written
    """
    cast = out.dtype.type
    for c in range(out.shape[0]):
        out[c] = 0
    for m in range(delta.shape[0]):
        for c in range(out.shape[0]):
            out[c] = cast(out[c] + cast(cast(delta[m, first + c]) * cast(normal[m, first + c])))
