"""Gradients kept in bounds, inputs moved along them, signals averaged: small float32 steps between the big ones."""

from __future__ import annotations

import math

import numpy as np

from fasim.kernels.compile import kernel

HALF = np.float32(0.5)
THREE = np.float32(3.0)


@kernel
def clip(gradient, limit, out):
    """Bound each element: ``out = min(max(gradient, -limit), limit)``, float32[P]; a NaN stays. `out` may be `gradient`."""
    for p in range(out.shape[0]):
        g = gradient[p]
        out[p] = limit if g > limit else (-limit if g < -limit else g)


@kernel
def squared_norm(gradient, out):
    """Add the sum of squares of one tensor: ``out[0] += sum_p gradient[p]^2``.

    Parameters
    ----------
    gradient : float32[P]
    out : float64[1]        grows; set to 0 before the first tensor

    Order of summation: four float64 sums over p = 0, 4, 8, ..; 1, 5, ..; 2, 6, ..; 3, 7, ..; then (0 + 1) + (2 + 3).
    """
    # one sum alone would wait for each of its additions
    sum0, sum1, sum2, sum3 = 0.0, 0.0, 0.0, 0.0
    whole = gradient.shape[0] // 4 * 4
    for p in range(0, whole, 4):
        g0, g1 = np.float64(gradient[p]), np.float64(gradient[p + 1])
        g2, g3 = np.float64(gradient[p + 2]), np.float64(gradient[p + 3])
        sum0 += g0 * g0
        sum1 += g1 * g1
        sum2 += g2 * g2
        sum3 += g3 * g3
    for p in range(whole, gradient.shape[0]):
        square = np.float64(gradient[p]) * np.float64(gradient[p])
        if p == whole:
            sum0 += square
        elif p == whole + 1:
            sum1 += square
        else:
            sum2 += square
    out[0] += (sum0 + sum1) + (sum2 + sum3)


@kernel
def rescale(gradient, norm2, limit, out):
    """Shorten a gradient that is longer than a limit (PyTorch's ``clip_grad_norm_``).

    ``out = gradient * min(1, limit / (sqrt(norm2) + 1e-6))``

    Parameters
    ----------
    gradient : float32[P]
    norm2 : float64[1]      squared length over all tensors, from `squared_norm`
    limit : float64
    out : float32[P]        written; may be `gradient`
    """
    factor = limit / (math.sqrt(norm2[0]) + 1e-6)
    # a NaN is not below 1 and must not pass for it
    shrink = np.float32(1.0 if factor >= 1.0 else factor)
    for p in range(out.shape[0]):
        out[p] = gradient[p] * shrink


@kernel
def perturb(act, gradient, eps, out):
    """Move inputs along the sign of their gradient (FGSM, Goodfellow et al. 2015).

    ``out = act + eps * sign(gradient)``, float32[N, I]; sign(0) = 0
    """
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[n, i] = act[n, i] + eps * np.float32(np.sign(gradient[n, i]))


@kernel
def mean_of_two(a, b, out):
    """``out = (a + b) / 2``, float32[N, J]."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = (a[n, j] + b[n, j]) * HALF


@kernel
def mean_of_three(a, b, c, out):
    """``out = ((a + b) + c) / 3``, float32[N, J]."""
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] = (a[n, j] + b[n, j] + c[n, j]) / THREE
