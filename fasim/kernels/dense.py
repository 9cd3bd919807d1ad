"""Dense layers in float32: forward, transport of signals, gradients, by the products of `fasim.kernels.micro`."""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.kernels.micro import gemm_nn_float32, gemm_nt_ascending_float32, gemm_nt_float32, gemm_tn_float32, sgd_nt_float32


@kernel
def load_rows(codes, order, scale, out):
    """Gather the samples of one batch and turn their codes into values.

    ``out[n, i] = codes[order[n], i] * scale``

    Parameters
    ----------
    codes : uint8[samples, I]
    order : int64[N]        rows to take
    scale : float32         exact for a power of two
    out : float32[N, I]     written
    """
    for n in range(out.shape[0]):
        row = order[n]
        for i in range(out.shape[1]):
            out[n, i] = np.float32(codes[row, i]) * scale


@kernel
def load_standard_rows(codes, order, gain, offset, out):
    """Gather the samples of one batch and standardise them.

    ``out[n, i] = codes[order[n], i] * gain[i] + offset[i]``

    Parameters
    ----------
    codes : uint8 or float32[samples, I]
    order : int64[N]            rows to take
    gain, offset : float32[I]
    out : float32[N, I]         written
    """
    for n in range(out.shape[0]):
        row = order[n]
        for i in range(out.shape[1]):
            out[n, i] = np.float32(codes[row, i]) * gain[i] + offset[i]


@kernel
def load_labels(labels, order, out):
    """Gather the labels of one batch: ``out[n] = labels[order[n]]``, int64[N]."""
    for n in range(out.shape[0]):
        out[n] = labels[order[n]]


@kernel
def dense_forward(act, weight, bias, out):
    """Pre-activations of a dense layer.

    ``out[n, j] = sum_i act[n, i] * weight[j, i] + bias[j]``

    Parameters
    ----------
    act : float32[N, I]
    weight : float32[J, I]
    bias : float32[J]
    out : float32[N, J]     written; may not overlap an input

    Cost: N J I multiply-accumulates. Order of additions: that of :func:`fasim.kernels.micro.gemm_nt_float32`, then the
    bias; the same for any slice of rows or units.
    """
    gemm_nt_float32(act, weight, out)
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] += bias[j]


@kernel
def dense_forward_updated(delta, before, weight, rate, act, bias, out):
    """Update a dense layer's weights by the gradient of one sample, and form the pre-activations of the next.

    ``weight[j, i] -= rate * (delta[0, j] * before[0, i])``, then ``out[0, j] = sum_i act[0, i] * weight[j, i] + bias[j]``

    Parameters
    ----------
    delta : float32[1, J]
    before : float32[1, I]  what the layer read when `delta` arose
    weight : float32[J, I]  updated
    rate : float64[1]
    act : float32[1, I]     what it reads now
    bias : float32[J]
    out : float32[1, J]     written; may not overlap an input

    Cost: 2 J I multiply-accumulates, each weight read and written once. The bits of gradient, update and `dense_forward`.
    """
    sgd_nt_float32(delta, before, weight, rate, act, out)
    for j in range(out.shape[1]):
        out[0, j] += bias[j]


@kernel
def dense_forward_batch(act, weight, bias, out):
    """Pre-activations of a dense layer for a batch: `dense_forward`, in another order of additions.

    ``out[n, j] = sum_i act[n, i] * weight[j, i] + bias[j]``

    Parameters
    ----------
    act : float32[N, I]
    weight : float32[J, I]
    bias : float32[J]
    out : float32[N, J]     written; may not overlap an input

    Cost: N J I multiply-accumulates, and memory for 64 (I + 73) numbers. Order of additions: i ascending, one rounding a
    term, then the bias; the same for any slice of rows or units.
    """
    gemm_nt_ascending_float32(act, weight, bias, out)


@kernel
def project_error(signal, matrix, scale, out):
    """Bring a signal through weights or feedback: the transport of BP, FA, DFA and sDFA alike.

    ``out[n, j] = scale * sum_k signal[n, k] * matrix[k, j]``

    Parameters
    ----------
    signal : float32[N, K]  a delta, an error or its sign
    matrix : float32[K, J]  weights of the layer above, or feedback
    scale : float32
    out : float32[N, J]     written; may not overlap an input

    Cost: N J K multiply-accumulates. Order of additions: k ascending, one rounding a term; the same for any slice.
    """
    gemm_nn_float32(signal, matrix, out)
    if scale != np.float32(1.0):
        for n in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[n, j] *= scale


@kernel
def project_up(signal, matrix, scale, out):
    """Send a signal forward through weights (IFA), or read a hidden layer out through its feedback (LAFS).

    ``out[n, j] = scale * sum_i signal[n, i] * matrix[j, i]``

    Parameters
    ----------
    signal : float32[N, I]  a delta of the layer below, or an activation
    matrix : float32[J, I]  weights of the layer, or feedback (K, I)
    scale : float32
    out : float32[N, J]     written; may not overlap an input

    Cost: N J I multiply-accumulates. Order of additions: that of :func:`fasim.kernels.micro.gemm_nt_float32`.
    """
    gemm_nt_float32(signal, matrix, out)
    if scale != np.float32(1.0):
        for n in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[n, j] *= scale


@kernel
def project_target(label, matrix, scale, out):
    """Fetch the feedback row of each sample's label: the transport of DRTP, without a product.

    ``out[n, j] = scale * matrix[label[n], j]``

    Parameters
    ----------
    label : int64[N]
    matrix : float32[K, J]
    scale : float32
    out : float32[N, J]     written
    """
    for n in range(out.shape[0]):
        row = label[n]
        for j in range(out.shape[1]):
            out[n, j] = scale * matrix[row, j]


@kernel
def weight_gradient(delta, act, out):
    """Gradient of a dense layer's weights, summed over the batch.

    ``out[j, i] = sum_n delta[n, j] * act[n, i]``

    Parameters
    ----------
    delta : float32[N, J]
    act : float32[N, I]
    out : float32[J, I]     written; may not overlap an input

    Cost: N J I multiply-accumulates. Order of additions: n ascending, one rounding a term; the same for any slice of units.
    """
    gemm_tn_float32(delta, act, out)


@kernel
def bias_gradient(delta, out):
    """Gradient of the biases: ``out[j] = sum_n delta[n, j]``, n ascending; float32[N, J] -> float32[J]."""
    for j in range(out.shape[0]):
        out[j] = np.float32(0.0)
    for n in range(delta.shape[0]):
        for j in range(out.shape[0]):
            out[j] += delta[n, j]
