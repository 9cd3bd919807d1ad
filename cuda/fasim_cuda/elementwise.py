"""Activations, slopes, errors and deltas in float32, element by element: flat arrays of P numbers, unless said otherwise.

The functions of single numbers are those of `fasim.scalar.smooth`; products and sums may be contracted to one rounding by
the compiler, so results differ from the CPU's in the last bits.
"""

from __future__ import annotations

from numba import float32

from fasim.scalar.smooth import exp_below_0, sigmoid_of, tanh_of
from fasim_cuda.target import cuda, jit


@jit
def tanh(preact, out):
    """``out = tanh(preact)``, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = tanh_of(preact[p])


@jit
def sigmoid(preact, out):
    """``out = 1 / (1 + exp(-preact))``, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = sigmoid_of(preact[p])


@jit
def relu(preact, out):
    """``out = max(preact, 0)``, float32[P]; NaN stays NaN, which `max` of a GPU makes 0."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = float32(0) if preact[p] < float32(0) else preact[p]


@jit
def linear(preact, out):
    """``out = preact``, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = preact[p]


@jit
def softmax(preact, out):
    """``out[n, k] = exp(preact[n, k] - max_n) / sum``, float32[N, K], sums in ascending k; one thread a row."""
    for n in range(cuda.grid(1), out.shape[0], cuda.gridsize(1)):
        largest = preact[n, 0]
        for k in range(1, out.shape[1]):
            largest = max(largest, preact[n, k])
        total = float32(0)
        for k in range(out.shape[1]):
            power = exp_below_0(float32(preact[n, k] - largest))
            out[n, k] = power
            total = float32(total + power)
        for k in range(out.shape[1]):
            out[n, k] = float32(out[n, k] / total)


@jit
def tanh_slope(act, out):
    """``out = 1 - act^2``, the derivative of tanh from its value, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = float32(float32(1) - float32(act[p] * act[p]))


@jit
def sigmoid_slope(act, out):
    """``out = act * (1 - act)``, the derivative of the sigmoid from its value, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = float32(act[p] * float32(float32(1) - act[p]))


@jit
def relu_slope(act, out):
    """``out = 1 where act > 0, else 0``, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = float32(1) if act[p] > float32(0) else float32(0)


@jit
def output_error(output, label, out):
    """Error at the output: ``out[n, k] = output[n, k] - (1 if k == label[n] else 0)``, float32[N, K], int64[N]."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        k = p - n * columns
        out[n, k] = float32(output[n, k] - float32(1)) if k == label[n] else output[n, k]


@jit
def residual(output, target, out):
    """Error at the output against given targets: ``out = output - target``, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = float32(output[p] - target[p])


@jit
def sign(error, out):
    """``out = -1, 0 or 1`` by the sign of the error, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        e = error[p]
        # a NaN is neither, and stays
        out[p] = float32(1) if e > float32(0) else (float32(-1) if e < float32(0) else e)


@jit
def hidden_delta(signal, slope, scale, out):
    """``out = scale * signal * slope``, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = float32(scale * float32(signal[p] * slope[p]))


@jit
def linear_delta(signal, scale, out):
    """``out = scale * signal``, the delta of a linear layer, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = float32(scale * signal[p])


@jit
def mean_of_two(a, b, out):
    """``out = (a + b) / 2``, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = float32(float32(a[p] + b[p]) * float32(0.5))


@jit
def mean_of_three(a, b, c, out):
    """``out = ((a + b) + c) / 3``, float32[P]."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = float32(float32(float32(a[p] + b[p]) + c[p]) / float32(3))


@jit
def clip(gradient, limit, out):
    """``out = min(max(gradient, -limit), limit)``, float32[P]; a NaN stays. `out` may be `gradient`."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        g = gradient[p]
        out[p] = limit if g > limit else (float32(-limit) if g < float32(-limit) else g)


@jit
def perturb(act, gradient, eps, out):
    """Move inputs along the sign of their gradient: ``out = act + eps * sign(gradient)``, float32[P]; sign(0) = 0."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        g = gradient[p]
        step = eps if g > float32(0) else (float32(-eps) if g < float32(0) else float32(0))
        out[p] = float32(act[p] + step)
