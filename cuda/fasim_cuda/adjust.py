"""Clipping by the length of all gradients: a sum of squares over tensors, then a factor for each of them."""

from __future__ import annotations

from numba import float32, float64

from fasim_cuda.scalars_norm import shrinking
from fasim_cuda.target import cuda, jit


@jit
def squared_norm(gradient, further, parts):
    """Add the squares of one tensor: ``parts[q] = (parts[q] if further else 0) + sum of gradient[p]^2``, p mod Q = q.

    Parameters
    ----------
    gradient : float32[P]
    further : int64         0 for the first tensor
    parts : float64[Q]      grows; `add_parts` of ``row_sums`` adds them up

    Order of additions: p ascending within a part, in float64.
    """
    for q in range(cuda.grid(1), parts.size, cuda.gridsize(1)):
        total = parts[q] if further else float64(0)
        for p in range(q, gradient.size, parts.size):
            g = float64(gradient[p])
            total = float64(total + float64(g * g))
        parts[q] = total


@jit
def rescale(gradient, norm2, limit, out):
    """Shorten a gradient that is longer than a limit: ``out = gradient * min(1, limit / (sqrt(norm2) + 1e-6))``.

    Parameters
    ----------
    gradient : float32[P]
    norm2 : float64[1]      squared length over all tensors
    limit : float32
    out : float32[P]        written; may be `gradient`
    """
    shrink = shrinking(norm2[0], limit)
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[p] = float32(gradient[p] * shrink)
