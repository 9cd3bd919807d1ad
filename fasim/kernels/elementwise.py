"""Activations, slopes, errors and deltas in float32, element by element."""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.scalar.smooth import exp_below_0, sigmoid_of, tanh_of

ONE = np.float32(1.0)
ZERO = np.float32(0.0)


@kernel
def tanh(preact, out):
    """``out = tanh(preact)``, float32[N, J]; odd, 1 or -1 far out, error below 6 units in the last place (3.2e-7)."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = tanh_of(preact[n, j])


@kernel
def sigmoid(preact, out):
    """``out = 1 / (1 + exp(-preact))``, float32[N, J]; 0 or 1 far out, error below 4 units in the last place."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = sigmoid_of(preact[n, j])


@kernel
def relu(preact, out):
    """``out = max(preact, 0)``, float32[N, J]."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = max(preact[n, j], ZERO)


@kernel
def linear(preact, out):
    """``out = preact``, float32[N, J]."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = preact[n, j]


@kernel
def softmax(preact, out):
    """``out[n, k] = exp(preact[n, k] - max_n) / sum``, float32[N, K], sums in ascending k."""
    for n in range(out.shape[0]):
        largest = preact[n, 0]
        for k in range(1, out.shape[1]):
            largest = max(largest, preact[n, k])
        for k in range(out.shape[1]):
            out[n, k] = exp_below_0(preact[n, k] - largest)
        total = ZERO
        for k in range(out.shape[1]):
            total += out[n, k]
        for k in range(out.shape[1]):
            out[n, k] /= total


@kernel
def tanh_slope(act, out):
    """``out = 1 - act^2``, the derivative of tanh from its value, float32[N, J]."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = ONE - act[n, j] * act[n, j]


@kernel
def sigmoid_slope(act, out):
    """``out = act * (1 - act)``, the derivative of the sigmoid from its value, float32[N, J]."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = act[n, j] * (ONE - act[n, j])


@kernel
def relu_slope(act, out):
    """``out = 1 where act > 0, else 0``, float32[N, J]."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = ONE if act[n, j] > ZERO else ZERO


@kernel
def output_error(output, label, out):
    """Error at the output against one-hot targets.

    ``out[n, k] = output[n, k] - (1 if k == label[n] else 0)``

    Parameters
    ----------
    output : float32[N, K]
    label : int64[N]
    out : float32[N, K]     written
    """
    for n in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[n, k] = output[n, k]
        out[n, label[n]] -= ONE


@kernel
def residual(output, target, out):
    """Error at the output against given targets: ``out = output - target``, float32[N, K]."""
    for n in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[n, k] = output[n, k] - target[n, k]


@kernel
def sign(error, out):
    """``out = -1, 0 or 1`` by the sign of the error, float32[N, K]."""
    for n in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[n, k] = np.float32(np.sign(error[n, k]))


@kernel
def hidden_delta(signal, slope, scale, out):
    """``out = scale * signal * slope``, float32[N, J]."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = scale * (signal[n, j] * slope[n, j])


@kernel
def linear_delta(signal, scale, out):
    """``out = scale * signal``, the delta of a linear layer, float32[N, J]."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = scale * signal[n, j]
