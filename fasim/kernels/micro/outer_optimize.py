"""Weights changed by a gradient ``A^T B`` that never leaves the registers, as the optimizers with states change them.

Each is :func:`fasim.kernels.micro.gemm_tn_float32`, then the kernel of :mod:`fasim.kernels.optimize`, to the bit, and moves
each weight and state once. All take ``a, b, weight`` and the states first:

a : float32[K, R]                           delta
b : float32[K, C]                           act
weight : float32[R, C]                      updated
velocity, square, moment1, moment2 : float32[R, C], updated; rows as far apart as those of `weight`

then what the kernel of that name takes. They raise ValueError where shapes do not fit or rows are not contiguous. Cost:
K R C multiply-accumulates; each weight and state is read and written once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro import panels_optimize, portable
from fasim.kernels.micro.arrays import address, lies_in_rows
from fasim.kernels.micro.outer import check_product
from fasim.kernels.optimize import adam, corrections, factors, momentum, nesterov, rmsprop
from fasim.scalar.target import TARGET

_PORTABLE = TARGET == "portable"
_momentum, _nesterov = panels_optimize.panels_momentum, panels_optimize.panels_nesterov
_rmsprop, _adam = panels_optimize.panels_rmsprop, panels_optimize.panels_adam
_gradient = portable.add_outer_float32


@njit(inline="always", cache=True)
def _beside(weight, state):
    """Return how far a state lies behind the weights."""
    if weight.shape != state.shape or not lies_in_rows(state) or weight.strides[0] != state.strides[0]:
        raise ValueError("product: needs states of the weights' shape, in rows as far apart as theirs")
    return address(state, np.float32(0)) - address(weight, np.float32(0))


@njit(inline="always", cache=True)
def _places(a, b, weight):
    """Return addresses and steps of the factors and of the weights, and the sizes."""
    like = np.float32(0)
    to, left, right = address(weight, like), address(a, like), address(b, like)
    check_product(a.shape[1], a.shape[0], b, weight)
    return left, a.strides[1], a.strides[0], right, b.strides[0], to, weight.strides[0], *weight.shape, b.shape[0]


@kernel
def momentum_tn_float32(a, b, weight, velocity, rate, mu, decay, decay_kind):
    """Heavy ball, ``v = mu * v + g; w -= rate * v``, with ``g[r, c] = sum_k a[k, r] * b[k, c]``; see the module."""
    places, far = _places(a, b, weight), _beside(weight, velocity)
    if _PORTABLE:
        gradient = np.empty((1, weight.shape[1]), np.float32)
        for r in range(weight.shape[0]):
            _gradient(a[:, r : r + 1], True, b, gradient)
            momentum(weight[r], gradient[0], velocity[r], rate, mu, decay, decay_kind)
    else:
        _momentum(*places, (far, *factors(rate, decay, decay_kind), np.float32(rate[0]), mu))


@kernel
def nesterov_tn_float32(a, b, weight, velocity, rate, mu, decay, decay_kind):
    """Nesterov's momentum, as :func:`fasim.kernels.optimize.nesterov`, with that gradient; see the module."""
    places, far = _places(a, b, weight), _beside(weight, velocity)
    if _PORTABLE:
        gradient = np.empty((1, weight.shape[1]), np.float32)
        for r in range(weight.shape[0]):
            _gradient(a[:, r : r + 1], True, b, gradient)
            nesterov(weight[r], gradient[0], velocity[r], rate, mu, decay, decay_kind)
    else:
        _nesterov(*places, (far, *factors(rate, decay, decay_kind), np.float32(rate[0]), mu))


@kernel
def rmsprop_tn_float32(a, b, weight, square, rate, alpha, eps, decay, decay_kind):
    """RMSprop, as :func:`fasim.kernels.optimize.rmsprop`, with that gradient; see the module."""
    places, far = _places(a, b, weight), _beside(weight, square)
    if _PORTABLE:
        gradient = np.empty((1, weight.shape[1]), np.float32)
        for r in range(weight.shape[0]):
            _gradient(a[:, r : r + 1], True, b, gradient)
            rmsprop(weight[r], gradient[0], square[r], rate, alpha, eps, decay, decay_kind)
    else:
        numbers = np.float32(rate[0]), np.float32(alpha), np.float32(1.0 - alpha), np.float32(eps)
        _rmsprop(*places, (far, *factors(rate, decay, decay_kind), *numbers))


@kernel
def adam_tn_float32(a, b, weight, moment1, moment2, rate, step, beta1, beta2, eps, decay, decay_kind):
    """Adam, as :func:`fasim.kernels.optimize.adam`, with that gradient; see the module."""
    places, far1, far2 = _places(a, b, weight), _beside(weight, moment1), _beside(weight, moment2)
    if _PORTABLE:
        gradient = np.empty((1, weight.shape[1]), np.float32)
        for r in range(weight.shape[0]):
            _gradient(a[:, r : r + 1], True, b, gradient)
            adam(weight[r], gradient[0], moment1[r], moment2[r], rate, step, beta1, beta2, eps, decay, decay_kind)
    else:
        means = np.float32(beta1), np.float32(1.0 - beta1), np.float32(beta2), np.float32(1.0 - beta2), np.float32(eps)
        numbers = (*factors(rate, decay, decay_kind), *corrections(rate, step, beta1, beta2), *means)
        _adam(*places, (far1, far2, *numbers))
