"""Exact sums of integer products from a float GEMM.

A float32 holds every whole number up to 2^24, a float64 up to 2^53. Where ``chunk * max |a| * max |b|`` stays within that,
no partial sum of a chunk is rounded, whatever order BLAS adds in and whether it fuses, and the GEMM is exact. The caller
proves it (`fasim.fixedpoint.exact_window`); chunks are added as integers.

Scratch is flat memory of one float type, whose contents do not matter. Each function works on a slice of the batch rows (a
gradient: of the units); results do not depend on the division.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel


@njit(inline="always", cache=True)
def _load(source, start, part):
    """``part = source[:, start : start + columns]``, as floats."""
    cast = part.dtype.type
    for m in range(part.shape[0]):
        for i in range(part.shape[1]):
            part[m, i] = cast(source[m, start + i])


@njit(inline="always", cache=True)
def _load_transposed(source, start, first, part):
    """``part[j, n] = source[start + n, first + j]``, as floats."""
    cast = part.dtype.type
    for j in range(part.shape[0]):
        for n in range(part.shape[1]):
            part[j, n] = cast(source[start + n, first + j])


@njit(inline="always", cache=True)
def _add(part, fresh, out):
    """``out = part`` where `fresh`, else ``out += part``; a float that holds a whole number becomes that number."""
    cast = out.dtype.type
    for m in range(out.shape[0]):
        if fresh:
            for j in range(out.shape[1]):
                out[m, j] = cast(part[m, j])
        else:
            for j in range(out.shape[1]):
                out[m, j] = cast(out[m, j] + cast(part[m, j]))


@kernel
def dense_forward_gemm(act, weight, bias, product_shift, bias_shift, chunk, act_f, weight_f, sum_f, out):
    """Exact accumulators of a dense layer, as `dense_forward_fixed` has them.

    ``out[n, j] = (sum_i act[n, i] * weight[j, i] << product_shift) + (bias[j] << bias_shift)``

    Parameters
    ----------
    act : integer[N, I]
    weight : integer[J, I]
    bias : integer[J]
    product_shift, bias_shift : int64, >= 0
    chunk : int64                               terms of a float sum, at least 1
    act_f : float[>= N min(I, chunk)]           scratch
    weight_f : float[>= J min(I, chunk)]        scratch
    sum_f : float[>= N J]                       scratch
    out : int32 or int64[N, J]                  written

    Cost: N J I multiply-accumulates.
    """
    samples, units = out.shape
    total = sum_f[: samples * units].reshape(samples, units)
    for start in range(0, act.shape[1], chunk):
        terms = min(chunk, act.shape[1] - start)
        left = act_f[: samples * terms].reshape(samples, terms)
        right = weight_f[: units * terms].reshape(units, terms)
        _load(act, start, left)
        _load(weight, start, right)
        np.dot(left, right.T, total)
        _add(total, start == 0, out)
    cast = out.dtype.type
    for n in range(samples):
        for j in range(units):
            out[n, j] = cast(cast(out[n, j] << product_shift) + cast(np.int64(bias[j]) << bias_shift))


@kernel
def project_error_gemm(signal, matrix, chunk, signal_f, matrix_f, sum_f, out):
    """Bring an integer signal through an integer matrix, as `project_error_fixed` does.

    ``out[n, j] = sum_k signal[n, k] * matrix[k, j]``

    Parameters
    ----------
    signal : integer[N, K]
    matrix : integer[K, J]
    chunk : int64                               terms of a float sum, at least 1
    signal_f : float[>= N min(K, chunk)]        scratch
    matrix_f : float[>= J min(K, chunk)]        scratch
    sum_f : float[>= N J]                       scratch
    out : int32 or int64[N, J]                  written

    Cost: N J K multiply-accumulates.
    """
    samples, units = out.shape
    total = sum_f[: samples * units].reshape(samples, units)
    for start in range(0, signal.shape[1], chunk):
        terms = min(chunk, signal.shape[1] - start)
        left = signal_f[: samples * terms].reshape(samples, terms)
        right = matrix_f[: terms * units].reshape(terms, units)
        _load(signal, start, left)
        _load(matrix[start : start + terms], 0, right)
        np.dot(left, right, total)
        _add(total, start == 0, out)


@kernel
def weight_gradient_gemm(delta, act, first, chunk, delta_f, act_f, sum_f, out):
    """Exact gradient of units first, first+1, ..., as `weight_gradient_fixed` has it.

    ``out[j, i] = sum_n delta[n, first + j] * act[n, i]``

    Parameters
    ----------
    delta : integer[N, J]
    act : integer[N, I]
    first : int64                               first unit of this slice
    chunk : int64                               terms of a float sum, at least 1
    delta_f : float[>= j min(N, chunk)]         scratch
    act_f : float[>= I min(N, chunk)]           scratch
    sum_f : float[>= u I]                       scratch; sums of u units are held at once (u >= 1; 64 stay in the cache)
    out : int32 or int64[j, I]                  written

    Cost: N j I multiply-accumulates.
    """
    units, inputs = out.shape
    block = min(units, sum_f.shape[0] // inputs)
    for start in range(0, delta.shape[0], chunk):
        terms = min(chunk, delta.shape[0] - start)
        left = delta_f[: units * terms].reshape(units, terms)
        right = act_f[: terms * inputs].reshape(terms, inputs)
        _load_transposed(delta, start, first, left)
        _load(act[start : start + terms], 0, right)
        for top in range(0, units, block):
            count = min(block, units - top)
            total = sum_f[: count * inputs].reshape(count, inputs)
            np.dot(left[top : top + count], right, total)
            _add(total, start == 0, out[top : top + count])
