"""Parameter updates in float32, in place, on flat arrays of P parameters; see `fasim.kernels.optimize` for the decays."""

from __future__ import annotations

from numba import float32, int64

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
    decay_kind : int64      0 coupled, 1 decoupled, 2 adamw
    """
    lr = rate[0]
    couple = decay if decay_kind == int64(0) else float32(0)
    shrink = float32(0)
    if decay_kind == int64(1):
        shrink = decay
    elif decay_kind == int64(2):
        shrink = float32(lr * decay)
    for p in range(cuda.grid(1), parameter.size, cuda.gridsize(1)):
        w = parameter[p]
        g = gradient[p]
        # without decay both stay as they are: 0 * w is NaN where w has diverged
        if couple != float32(0):
            g = float32(g + float32(couple * w))
        step = float32(lr * g)
        if shrink != float32(0):
            step = float32(step + float32(shrink * w))
        parameter[p] = float32(w - step)
