"""Batch normalisation by shifts: the deviation of a channel is taken as a power of two. Maps come as [M, C], integers.

`fasim.kernels.integer_norm` has the formulas. Sums over rows are those of `fasim_cuda.rows` in int64, exact.
"""

from __future__ import annotations

from numba import int64

from fasim_cuda.scalars import cast, column
from fasim_cuda.scalars_norm import (
    STATISTIC_BITS,
    an_eighth_nearer,
    centred,
    half_length,
    nearest_mean,
    without_statistic_bits,
)
from fasim_cuda.target import cuda, jit


@jit
def nearest_means(sums, rows, out):
    """Turn sums into whole means: ``out[c] = (2 sums[c] + M) div (2 M)``, int64[C]; `out` may be `sums`."""
    for c in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[c] = nearest_mean(sums[c], rows)


@jit
def norm_statistics_fixed(squares, rows, var, exponent):
    """Variance and binary exponent of the deviation: ``var = squares div M``, ``exponent = bit_length(var) div 2``.

    Parameters
    ----------
    squares : int64[C]          sums over rows of squared distances to the mean
    rows : int64                M
    var : int64[C]              written; may be `squares`
    exponent : integer[C]       written; at most 31
    """
    for c in range(cuda.grid(1), var.size, cuda.gridsize(1)):
        value = int64(squares[c]) // int64(rows)
        var[c] = value
        exponent[c] = half_length(value)


@jit
def norm_running_fixed(batch_mean, batch_var, running_mean, running_var):
    """Move the running statistics by an eighth of the way, 8 fraction bits more: ``r += RND(((batch << 8) - r) / 8)``.

    Parameters
    ----------
    batch_mean, batch_var : int64[C]
    running_mean, running_var : integer[C]  updated
    """
    for c in range(cuda.grid(1), batch_mean.size, cuda.gridsize(1)):
        running_mean[c] = an_eighth_nearer(running_mean[c], batch_mean[c])
        running_var[c] = an_eighth_nearer(running_var[c], batch_var[c])


@jit
def norm_recall_fixed(running_mean, running_var, mean, exponent):
    """Take mean and exponent from the running statistics, for evaluation.

    ``mean = RND(running_mean / 2^8)``, ``exponent = bit_length(running_var >> 8) div 2``

    Parameters
    ----------
    running_mean, running_var : integer[C]
    mean, exponent : int64[C]               written
    """
    for c in range(cuda.grid(1), mean.size, cuda.gridsize(1)):
        mean[c] = without_statistic_bits(running_mean[c])
        exponent[c] = half_length(int64(running_var[c]) >> int64(STATISTIC_BITS))


@jit
def norm_normal_fixed(source, mean, exponent, frac, lo, hi, rounding, overflow_mode, out, counters):
    """Normalise rows and cast: ``out = cast(source - mean[c])`` with ``exponent[c] - frac`` bits dropped.

    Parameters
    ----------
    source : integer[M, C]      `frac` fraction bits
    mean : int64[C]
    exponent : integer[C]
    frac : int64                fraction bits of source and of out
    lo, hi, rounding, overflow_mode : int64
        As for `requantize`; a deterministic rounding.
    out : integer[M, C]         written; may be `source`
    counters : int64[2]         grows by saturations and wraps
    """
    outside = int64(0)
    channels = out.shape[1]
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        m = x // channels
        c = x - m * channels
        value = int64(int64(source[m, c]) - mean[c])
        shift = int64(int64(exponent[c]) - int64(frac))
        result, beyond = cast(value, shift, lo, hi, rounding, overflow_mode, int64(0), int64(0), False)
        out[m, c] = result
        outside = int64(outside + beyond)
    if outside > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), outside)


@jit
def norm_scale_fixed(normal, gain, shift, gain_shift, shift_shift, out):
    """Scale and shift rows, before the cast: ``out = (gain[c] * normal << gain_shift) + (shift[c] << shift_shift)``.

    Parameters
    ----------
    normal : integer[M, C]
    gain, shift : integer[C]
    gain_shift, shift_shift : int64     >= 0, align product and shift to one binary point
    out : int32 or int64[M, C]          written
    """
    channels = out.shape[1]
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        m = x // channels
        c = x - m * channels
        product = int64(int64(gain[c]) * int64(normal[m, c])) << int64(gain_shift)
        out[m, c] = int64(product + (int64(shift[c]) << int64(shift_shift)))


@jit
def norm_backward_fixed(
    delta, normal, gain, exponent, mean, slope, frac, shift, lo, hi, rounding, overflow_mode, out, counters
):
    """Bring a delta back through the normalisation, and cast it.

    ``v = delta - mean - RND(normal * slope / 2^(2 frac))``, ``out = cast(gain * v)``, ``exponent + shift`` bits dropped

    Parameters
    ----------
    delta : integer[M, C]       F_d fraction bits
    normal : integer[M, C]      `frac` fraction bits
    gain : integer[C]           F_g fraction bits
    exponent : integer[C]       from `norm_statistics_fixed`
    mean, slope : int64[C]      nearest means over rows of delta and of delta * normal
    frac : int64
    shift : int64               F_g + F_d - frac - (fraction bits of out)
    lo, hi, rounding, overflow_mode : int64
        As for `requantize`; a deterministic rounding.
    out : integer[M, C]         written; may be `delta`
    counters : int64[2]         grows by saturations and wraps
    """
    outside = int64(0)
    channels = out.shape[1]
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        m = x // channels
        c = x - m * channels
        value = int64(centred(delta[m, c], normal[m, c], mean[c], slope[c], 2 * frac))
        drop = int64(int64(exponent[c]) + int64(shift))
        product = int64(int64(gain[c]) * value)
        result, beyond = cast(product, drop, lo, hi, rounding, overflow_mode, int64(0), int64(0), False)
        out[m, c] = result
        outside = int64(outside + beyond)
    if outside > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), outside)
