"""Parameter updates in float32, in place, on flat arrays of P parameters. Formulas and defaults are PyTorch's.

Every kernel ends in ``decay`` (float32) and ``decay_kind`` (int64), weight decay with the old parameter w:

========= ========= ========================= ========================================================================
kind      name      besides the formula       what for
========= ========= ========================= ========================================================================
0         coupled   ``g += decay * w``        L2 penalty, PyTorch's ``weight_decay``: the optimizer scales it as it does g
1         decoupled ``w -= decay * w``        Kolen and Pollack 1994: independent of the learning rate
2         adamw     ``w -= rate * decay * w`` Loshchilov and Hutter 2019: goes with the rate, past the optimizer's states
========= ========= ========================= ========================================================================

With decay = 0 each kernel is its formula, to the bit.
"""

from __future__ import annotations

import math

import numpy as np

from fasim.kernels.compile import kernel

# the order of fasim.optimizers.DECAY_KINDS
COUPLED, DECOUPLED, ADAMW = 0, 1, 2


@kernel
def factors(rate, decay, decay_kind):
    """Return what scales w in the gradient, and what scales it beside the step."""
    if decay_kind == COUPLED:
        return decay, np.float32(0)
    if decay_kind == DECOUPLED:
        return np.float32(0), decay
    return np.float32(0), np.float32(rate[0] * decay)


@kernel
def _decayed(gradient, w, couple):
    """Return the gradient with coupled decay. Without decay it stays as it is: 0 * w is NaN where w has diverged."""
    return gradient + couple * w if couple != 0 else gradient


@kernel
def _moved(w, step, shrink):
    """Return w less step and decay; they are summed first, so that w, which is far larger, is rounded once."""
    return w - (step + shrink * w) if shrink != 0 else w - step


@kernel
def corrections(rate, step, beta1, beta2):
    """Return ``rate / (1 - beta1^t)`` and ``1 / sqrt(1 - beta2^t)`` of Adam, t = step + 1."""
    t = step[0] + 1
    return np.float32(rate[0] / (1.0 - beta1**t)), np.float32(1.0 / math.sqrt(1.0 - beta2**t))


@kernel
def sgd(parameter, gradient, rate, decay, decay_kind):
    """Gradient descent: ``w -= rate * g``.

    Parameters
    ----------
    parameter : float32[P]  updated
    gradient : float32[P]
    rate : float64[1]       learning rate of this step
    decay : float32
    decay_kind : int64
    """
    lr = np.float32(rate[0])
    couple, shrink = factors(rate, decay, decay_kind)
    for p in range(parameter.shape[0]):
        w = parameter[p]
        parameter[p] = _moved(w, lr * _decayed(gradient[p], w, couple), shrink)


@kernel
def momentum(parameter, gradient, velocity, rate, mu, decay, decay_kind):
    """Heavy ball: ``v = mu * v + g; w -= rate * v``.

    Parameters
    ----------
    parameter, velocity : float32[P]  updated
    gradient : float32[P]
    rate : float64[1]
    mu : float32
    decay : float32
    decay_kind : int64
    """
    lr = np.float32(rate[0])
    couple, shrink = factors(rate, decay, decay_kind)
    for p in range(parameter.shape[0]):
        w = parameter[p]
        velocity[p] = mu * velocity[p] + _decayed(gradient[p], w, couple)
        parameter[p] = _moved(w, lr * velocity[p], shrink)


@kernel
def nesterov(parameter, gradient, velocity, rate, mu, decay, decay_kind):
    """Nesterov's momentum (Sutskever et al. 2013, as PyTorch has it): ``v = mu * v + g; w -= rate * (g + mu * v)``.

    Parameters
    ----------
    parameter, velocity : float32[P]  updated
    gradient : float32[P]
    rate : float64[1]
    mu : float32
    decay : float32
    decay_kind : int64
    """
    lr = np.float32(rate[0])
    couple, shrink = factors(rate, decay, decay_kind)
    for p in range(parameter.shape[0]):
        w = parameter[p]
        g = _decayed(gradient[p], w, couple)
        velocity[p] = mu * velocity[p] + g
        parameter[p] = _moved(w, lr * (g + mu * velocity[p]), shrink)


@kernel
def rmsprop(parameter, gradient, square, rate, alpha, eps, decay, decay_kind):
    """RMSprop (Tieleman and Hinton 2012), not centred: ``s = a s + (1-a) g^2; w -= rate * g / (sqrt(s) + eps)``.

    Parameters
    ----------
    parameter, square : float32[P]  updated
    gradient : float32[P]
    rate : float64[1]
    alpha, eps : float64
    decay : float32
    decay_kind : int64
    """
    lr = np.float32(rate[0])
    a, c, e = np.float32(alpha), np.float32(1.0 - alpha), np.float32(eps)
    couple, shrink = factors(rate, decay, decay_kind)
    for p in range(parameter.shape[0]):
        w = parameter[p]
        g = _decayed(gradient[p], w, couple)
        square[p] = a * square[p] + c * g * g
        parameter[p] = _moved(w, lr * g / (np.float32(math.sqrt(square[p])) + e), shrink)


@kernel
def adam(parameter, gradient, moment1, moment2, rate, step, beta1, beta2, eps, decay, decay_kind):
    """Adam (Kingma and Ba 2015), bias-corrected, `step` counting from 0.

    ``m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= rate * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)``, t = step + 1

    Parameters
    ----------
    parameter, moment1, moment2 : float32[P]  updated
    gradient : float32[P]
    rate : float64[1]
    step : int64[1]
    beta1, beta2, eps : float64
    decay : float32
    decay_kind : int64
    """
    size, root = corrections(rate, step, beta1, beta2)
    b1, b2, e = np.float32(beta1), np.float32(beta2), np.float32(eps)
    c1, c2 = np.float32(1.0 - beta1), np.float32(1.0 - beta2)
    couple, shrink = factors(rate, decay, decay_kind)
    for p in range(parameter.shape[0]):
        w = parameter[p]
        g = _decayed(gradient[p], w, couple)
        moment1[p] = b1 * moment1[p] + c1 * g
        moment2[p] = b2 * moment2[p] + c2 * g * g
        parameter[p] = _moved(w, size * moment1[p] / (np.float32(math.sqrt(moment2[p])) * root + e), shrink)
