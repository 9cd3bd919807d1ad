"""Parameter updates in float32, in place, on flat arrays of P parameters. Formulas and defaults are PyTorch's."""

from __future__ import annotations

import math

import numpy as np

from fasim.kernels.compile import kernel


@kernel
def sgd(parameter, gradient, rate):
    """Gradient descent: ``w -= rate * g``.

    Parameters
    ----------
    parameter : float32[P]  updated
    gradient : float32[P]
    rate : float64[1]       learning rate of this step
    """
    lr = np.float32(rate[0])
    for p in range(parameter.shape[0]):
        parameter[p] -= lr * gradient[p]


@kernel
def momentum(parameter, gradient, velocity, rate, mu):
    """Heavy ball: ``v = mu * v + g; w -= rate * v``.

    Parameters
    ----------
    parameter, velocity : float32[P]  updated
    gradient : float32[P]
    rate : float64[1]
    mu : float32
    """
    lr = np.float32(rate[0])
    for p in range(parameter.shape[0]):
        velocity[p] = mu * velocity[p] + gradient[p]
        parameter[p] -= lr * velocity[p]


@kernel
def adam(parameter, gradient, moment1, moment2, rate, step, beta1, beta2, eps):
    """Adam (Kingma and Ba 2015), bias-corrected, `step` counting from 0.

    ``m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= rate * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)``, t = step + 1

    Parameters
    ----------
    parameter, moment1, moment2 : float32[P]  updated
    gradient : float32[P]
    rate : float64[1]
    step : int64[1]
    beta1, beta2, eps : float64
    """
    t = step[0] + 1
    size = np.float32(rate[0] / (1.0 - beta1**t))
    root = np.float32(1.0 / math.sqrt(1.0 - beta2**t))
    b1, b2, e = np.float32(beta1), np.float32(beta2), np.float32(eps)
    c1, c2 = np.float32(1.0 - beta1), np.float32(1.0 - beta2)
    for p in range(parameter.shape[0]):
        g = gradient[p]
        moment1[p] = b1 * moment1[p] + c1 * g
        moment2[p] = b2 * moment2[p] + c2 * g * g
        parameter[p] -= size * moment1[p] / (np.float32(math.sqrt(moment2[p])) * root + e)
