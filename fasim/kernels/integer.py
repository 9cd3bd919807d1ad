"""The same layers in fixed point: exact sums of integer products, of any integer storage types.

Each function works on a slice of the batch rows (or, for gradients, of the units); results do not depend on the division.
Sums are held in the type of `out`, which the lowering has proven wide enough.
"""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.kernels.micro.gather import BYTES, look_up_vectors


@kernel
def gather_rows(codes, order, out):
    """Gather the samples of one batch: ``out[n, i] = codes[order[n], i]``, uint8[samples, I] -> integer[N, I]."""
    for n in range(out.shape[0]):
        row = order[n]
        for i in range(out.shape[1]):
            out[n, i] = codes[row, i]


@kernel
def dense_forward_fixed(act, weight, bias, product_shift, bias_shift, out):
    """Exact accumulators of a dense layer, product sum and bias aligned to one binary point.

    ``out[n, j] = (sum_i act[n, i] * weight[j, i] << product_shift) + (bias[j] << bias_shift)``

    Parameters
    ----------
    act : integer[N, I]
    weight : integer[J, I]
    bias : integer[J]
    product_shift, bias_shift : int64, >= 0
    out : int32 or int64[N, J]  written

    Cost: N J I multiply-accumulates.
    """
    cast = out.dtype.type
    for n in range(out.shape[0]):
        row = act[n]
        for j in range(out.shape[1]):
            column = weight[j]
            total = cast(0)
            for i in range(row.shape[0]):
                # both casts at every step: Numba widens int32 + int32 to int64, which halves the vectors
                total = cast(total + cast(cast(row[i]) * cast(column[i])))
            out[n, j] = (np.int64(total) << product_shift) + (np.int64(bias[j]) << bias_shift)


@kernel
def add_bias_fixed(bias, product_shift, bias_shift, out):
    """Bring sums of products and biases to one binary point: ``out[n, j] = (out[n, j] << p) + (bias[j] << b)``.

    Parameters
    ----------
    bias : integer[J]
    product_shift, bias_shift : int64, >= 0     p and b
    out : int32 or int64[N, J]                  updated; wide enough for the result
    """
    cast = out.dtype.type
    last = 8 * out.itemsize - 1
    left, right = cast(min(product_shift, last)), cast(min(bias_shift, last))
    for n in range(out.shape[0]):
        row = out[n]
        for j in range(row.shape[0]):
            row[j] = cast(cast(row[j] << left) + cast(cast(bias[j]) << right))


@kernel
def project_error_fixed(signal, matrix, out):
    """Bring an integer signal through an integer matrix: ``out[n, j] = sum_k signal[n, k] * matrix[k, j]``, exact.

    Parameters
    ----------
    signal : integer[N, K]
    matrix : integer[K, J]
    out : int32 or int64[N, J]  written
    """
    cast = out.dtype.type
    for n in range(out.shape[0]):
        row = out[n]
        for j in range(row.shape[0]):
            row[j] = 0
        for k in range(signal.shape[1]):
            factor = cast(signal[n, k])
            if factor != 0:
                source = matrix[k]
                for j in range(row.shape[0]):
                    row[j] = cast(row[j] + cast(factor * cast(source[j])))


@kernel
def project_target_fixed(label, matrix, out):
    """Fetch the feedback row of each sample's label: ``out[n, j] = matrix[label[n], j]``."""
    for n in range(out.shape[0]):
        row = label[n]
        for j in range(out.shape[1]):
            out[n, j] = matrix[row, j]


@kernel
def look_up(codes, table, lowest, out):
    """Read a table by code: ``out[n, j] = table[codes[n, j] - lowest]``."""
    columns = out.shape[1]
    lie = columns > 1 and codes.strides[1] == codes.itemsize and out.strides[1] == out.itemsize
    vectors = lie and table.strides[0] == table.itemsize and table.size * table.itemsize >= BYTES
    for n in range(out.shape[0]):
        done = look_up_vectors(codes[n], table, lowest, out[n]) if vectors else 0
        for j in range(done, columns):
            out[n, j] = table[np.int64(codes[n, j]) - lowest]


@kernel
def output_error_fixed(output, label, one, out):
    """Difference to the one-hot target at the output's binary point; `one` is the raw value of 1.0."""
    for n in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[n, k] = output[n, k]
        out[n, label[n]] = np.int64(output[n, label[n]]) - one


@kernel
def sign_fixed(error, out):
    """``out = -1 where error < 0, else 1``: the sign bit, so that an error that rounds to 0 still counts as +1.

    In float an output hardly ever reaches its target; in 8 bits it does, and a sign of 0 there would silence that column
    (sdfa on digits with s8, seeds 0 to 2: 72 instead of 94 %).
    """
    for n in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[n, k] = -1 if error[n, k] < 0 else 1


@kernel
def multiply_fixed(signal, slope, out):
    """``out[n, j] = signal[n, j] * slope[n, j]``, exact."""
    cast = out.dtype.type
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = cast(cast(signal[n, j]) * cast(slope[n, j]))


@kernel
def copy_fixed(source, out):
    """``out = source``: a delta without a slope, before its cast."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = source[n, j]


@kernel
def weight_gradient_fixed(delta, act, first, out):
    """Exact gradient of units first, first+1, ..., summed over the batch.

    ``out[j, i] = sum_n delta[n, first + j] * act[n, i]``

    Parameters
    ----------
    delta : integer[N, J]
    act : integer[N, I]
    first : int64               first unit of this slice
    out : int32 or int64[j, I]  written
    """
    cast = out.dtype.type
    for j in range(out.shape[0]):
        row = out[j]
        for i in range(row.shape[0]):
            row[i] = 0
        for n in range(delta.shape[0]):
            factor = cast(delta[n, first + j])
            if factor != 0:
                source = act[n]
                for i in range(row.shape[0]):
                    row[i] = cast(row[i] + cast(factor * cast(source[i])))


@kernel
def bias_gradient_fixed(delta, first, out):
    """Exact bias gradient of units first, first+1, ...: ``out[j] = sum_n delta[n, first + j]``."""
    cast = out.dtype.type
    for j in range(out.shape[0]):
        out[j] = 0
    # row by row: columns took 11 us instead of 2 for 64 x 500
    for n in range(delta.shape[0]):
        row = delta[n, first : first + out.shape[0]]
        for j in range(out.shape[0]):
            out[j] = cast(out[j] + cast(row[j]))


@kernel
def project_up_fixed(signal, matrix, out):
    """Send an integer signal forward through an integer matrix: ``out[n, j] = sum_i signal[n, i] * matrix[j, i]``, exact.

    Parameters
    ----------
    signal : integer[N, I]
    matrix : integer[J, I]      any view; fastest with contiguous rows
    out : int32 or int64[N, J]  written
    """
    cast = out.dtype.type
    for n in range(out.shape[0]):
        row = signal[n]
        for j in range(out.shape[1]):
            column = matrix[j]
            total = cast(0)
            for i in range(row.shape[0]):
                total = cast(total + cast(cast(row[i]) * cast(column[i])))
            out[n, j] = total


@kernel
def relu_fixed(preact, out):
    """``out = max(preact, 0)``, before its cast; integer[N, J]."""
    cast = out.dtype.type
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = max(cast(preact[n, j]), cast(0))


@kernel
def relu_mask(act, highest, out):
    """Slope of a ReLU as a mask: ``out = 1 where 0 < act < highest, else 0``; integer[N, J] -> integer[N, J].

    With `highest` the largest number of the format, a saturated act has slope 0 (a clipped ReLU); with any number above it
    no act does.
    """
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            code = np.int64(act[n, j])
            out[n, j] = np.int64(code > 0) & np.int64(code < highest)


@kernel
def mask_fixed(signal, mask, out):
    """``out = signal where mask is not 0, else 0``: a delta behind a ReLU, before its cast; integer[N, J]."""
    cast = out.dtype.type
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = cast(signal[n, j]) if mask[n, j] != 0 else cast(0)


@kernel
def divide_by_fixed(signal, divisor, out):
    """``out = signal / divisor`` toward zero, element by element: slopes held as whole-number reciprocals (PocketNN).

    Parameters
    ----------
    signal : integer[N, J]
    divisor : integer[N, J]     > 0
    out : integer[N, J]         written; may be `signal`
    """
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            value = np.int64(signal[n, j])
            whole = abs(value) // np.int64(divisor[n, j])
            out[n, j] = -whole if value < 0 else whole


@kernel
def mean_of_two_fixed(a, b, out):
    """``out = a + b``: the mean at one fraction bit more; integer[N, J]."""
    cast = out.dtype.type
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = cast(cast(a[n, j]) + cast(b[n, j]))


@kernel
def mean_of_three_fixed(a, b, c, out):
    """``out = (a + b + c) * 341``: the mean at 10 fraction bits more, 1/3 taken as 341 / 2^10; integer[N, J]."""
    cast = out.dtype.type
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = cast(cast(cast(a[n, j]) + cast(b[n, j])) + cast(c[n, j]))
            out[n, j] = cast(total * cast(341))


@kernel
def residual_fixed(output, target, output_shift, target_shift, out):
    """Error against given targets at the finer of both binary points.

    ``out[n, k] = (output[n, k] << output_shift) - (target[n, k] << target_shift)``

    Parameters
    ----------
    output, target : integer[N, K]
    output_shift, target_shift : int64, >= 0
    out : int32 or int64[N, K]  written
    """
    for n in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[n, k] = (np.int64(output[n, k]) << output_shift) - (np.int64(target[n, k]) << target_shift)


@kernel
def perturb_fixed(act, signal, eps, out):
    """Move inputs along the sign of their gradient (FGSM), before the cast: ``out = act + sign(signal) * eps``.

    Parameters
    ----------
    act, signal : integer[N, I]     sign(0) = 0
    eps : int64                     the raw value of a step
    out : int32 or int64[N, I]      written
    """
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            direction = np.int64(signal[n, i] > 0) - np.int64(signal[n, i] < 0)
            out[n, i] = np.int64(act[n, i]) + direction * eps


@kernel
def clip_fixed(gradient, limit, out):
    """``out = min(max(gradient, -limit), limit)``, integer[P]; meant, so counted nowhere. `out` may be `gradient`."""
    for p in range(out.shape[0]):
        out[p] = min(max(np.int64(gradient[p]), -np.int64(limit)), np.int64(limit))
