"""Panels of weights that broadcast tiles move as optimizers with states do, each state in rows like those of the weights.

``a, a_row, a_k, b, b_k`` are factors of the gradient as in `fasim.kernels.micro.panels`; `given` is what the tiles'
epilogue takes after address and step, see `fasim.kernels.micro.update`.
"""

from __future__ import annotations

from fasim.kernels.compile import kernel
from fasim.kernels.micro.panels import cover, tiles_of
from fasim.kernels.micro.update import ADAM, MOMENTUM, NESTEROV, RMSPROP

# Weights and states are so many streams that memory counts for longer than for weights alone: row by row they come as the
# CPU expects them. Adam of 1000 x 1000 by 16 terms takes 0.75 ms instead of 1.1, by 64 terms 1.55 instead of 1.68
_FEW_TERMS = 128

_m_whole, _m_row, _m_1, _m_2, _m_3, _m_4 = tiles_of(MOMENTUM)
_n_whole, _n_row, _n_1, _n_2, _n_3, _n_4 = tiles_of(NESTEROV)
_r_whole, _r_row, _r_1, _r_2, _r_3, _r_4 = tiles_of(RMSPROP)
_a_whole, _a_row, _a_1, _a_2, _a_3, _a_4 = tiles_of(ADAM)


@kernel
def panels_momentum(a, a_row, a_k, b, b_k, weight, step, rows, columns, terms, given):
    """Change float32 weights and velocities at addresses, steps in bytes, int64."""
    tiles = (_m_1, _m_2, _m_3, _m_4)
    cover(_m_whole, tiles, _m_row, _FEW_TERMS, a, a_row, a_k, b, b_k, weight, step, rows, columns, terms, given)


@kernel
def panels_nesterov(a, a_row, a_k, b, b_k, weight, step, rows, columns, terms, given):
    """Change float32 weights and velocities at addresses, steps in bytes, int64."""
    tiles = (_n_1, _n_2, _n_3, _n_4)
    cover(_n_whole, tiles, _n_row, _FEW_TERMS, a, a_row, a_k, b, b_k, weight, step, rows, columns, terms, given)


@kernel
def panels_rmsprop(a, a_row, a_k, b, b_k, weight, step, rows, columns, terms, given):
    """Change float32 weights and means of squares at addresses, steps in bytes, int64."""
    tiles = (_r_1, _r_2, _r_3, _r_4)
    cover(_r_whole, tiles, _r_row, _FEW_TERMS, a, a_row, a_k, b, b_k, weight, step, rows, columns, terms, given)


@kernel
def panels_adam(a, a_row, a_k, b, b_k, weight, step, rows, columns, terms, given):
    """Change float32 weights and both moments at addresses, steps in bytes, int64."""
    tiles = (_a_1, _a_2, _a_3, _a_4)
    cover(_a_whole, tiles, _a_row, _FEW_TERMS, a, a_row, a_k, b, b_k, weight, step, rows, columns, terms, given)
