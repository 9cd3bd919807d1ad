"""Parameter updates in float32, in place, on flat arrays of P parameters; `fasim.kernels.optimize` has the formulas.

Every kernel ends in ``decay`` (float32) and ``decay_kind`` (int64: 0 coupled, 1 decoupled, 2 adamw). Constants of running
means come in pairs, a and 1 - a, each rounded from float64: ``1 - float32(0.999)`` is 1.3e-5 off.
"""

from __future__ import annotations

from numba import float32

from fasim_cuda.scalars import corrections, decayed, decays, mixed, moved, over_root
from fasim_cuda.target import cuda, jit


@jit
def sgd(parameter, gradient, rate, decay, decay_kind):
    """Gradient descent: ``w -= rate * g``.

    Parameters
    ----------
    parameter : float32[P]  updated
    gradient : float32[P]
    rate : float32[1]       learning rate of this step
    decay : float32
    decay_kind : int64
    """
    lr = rate[0]
    couple, shrink = decays(lr, decay, decay_kind)
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        w = parameter[p]
        parameter[p] = moved(w, float32(lr * decayed(gradient[p], w, couple)), shrink)


@jit
def momentum(parameter, gradient, velocity, rate, mu, decay, decay_kind):
    """Heavy ball: ``v = mu * v + g; w -= rate * v``; float32[P], `mu` float32."""
    lr = rate[0]
    couple, shrink = decays(lr, decay, decay_kind)
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        w = parameter[p]
        v = mixed(mu, velocity[p], float32(1), decayed(gradient[p], w, couple))
        velocity[p] = v
        parameter[p] = moved(w, float32(lr * v), shrink)


@jit
def nesterov(parameter, gradient, velocity, rate, mu, decay, decay_kind):
    """Nesterov's momentum: ``v = mu * v + g; w -= rate * (g + mu * v)``; float32[P], `mu` float32."""
    lr = rate[0]
    couple, shrink = decays(lr, decay, decay_kind)
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        w = parameter[p]
        g = decayed(gradient[p], w, couple)
        v = mixed(mu, velocity[p], float32(1), g)
        velocity[p] = v
        parameter[p] = moved(w, float32(lr * mixed(mu, v, float32(1), g)), shrink)


@jit
def rmsprop(parameter, gradient, square, rate, alpha, rest, eps, decay, decay_kind):
    """RMSprop, not centred: ``s = a s + (1-a) g^2; w -= rate * g / (sqrt(s) + eps)``; float32[P].

    Parameters
    ----------
    parameter, square : float32[P]  updated
    gradient : float32[P]
    rate : float32[1]
    alpha, rest, eps : float32      a, 1 - a
    decay : float32
    decay_kind : int64
    """
    lr = rate[0]
    couple, shrink = decays(lr, decay, decay_kind)
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        w = parameter[p]
        g = decayed(gradient[p], w, couple)
        s = mixed(alpha, square[p], float32(rest * g), g)
        square[p] = s
        parameter[p] = moved(w, over_root(lr, g, s, float32(1), eps), shrink)


@jit
def adam_rates(rate, step, beta1, beta2, out):
    """Reckon Adam's numbers of a step: ``rate / (1 - b1^t)`` and ``1 / sqrt(1 - b2^t)``, t = step + 1; one thread.

    Parameters
    ----------
    rate : float32[1]
    step : int64[1]
    beta1, beta2 : float64
    out : float32[2]        written
    """
    if cuda.grid(1) == 0:
        size, root = corrections(rate[0], step[0], beta1, beta2)
        out[0] = size
        out[1] = root


@jit
def adam(parameter, gradient, moment1, moment2, rate, rates, beta1, rest1, beta2, rest2, eps, decay, decay_kind):
    """Adam, bias-corrected: ``m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= rates[0] m / (sqrt(v) rates[1] + eps)``.

    Parameters
    ----------
    parameter, moment1, moment2 : float32[P]    updated
    gradient : float32[P]
    rate : float32[1]                           for the decay
    rates : float32[2]                          of `adam_rates`
    beta1, rest1, beta2, rest2, eps : float32   b1, 1 - b1, b2, 1 - b2
    decay : float32
    decay_kind : int64
    """
    size, root = rates[0], rates[1]
    couple, shrink = decays(rate[0], decay, decay_kind)
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        w = parameter[p]
        g = decayed(gradient[p], w, couple)
        m = mixed(beta1, moment1[p], rest1, g)
        v = mixed(beta2, moment2[p], float32(rest2 * g), g)
        moment1[p] = m
        moment2[p] = v
        parameter[p] = moved(w, over_root(size, m, v, root, eps), shrink)
