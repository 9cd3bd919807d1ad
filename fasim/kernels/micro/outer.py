"""Matrix products of columns, or rows, with columns: weight gradients ``A^T B`` and transports of signals ``A B``.

Any shape, zeros included; any alignment; A of any layout, B and out with the elements of a row side by side. What
is written must not overlap an input. All sums are formed alike: k ascending from 0, by fused multiply-adds (one rounding a
term), so results do not depend on which path runs (`fasim.kernels.micro.TARGET`), on layouts, or on what other rows and
columns there are. With u = 2^-24 the error is at most ``K u / (1 - K u) sum_k |a_k b_k|``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro import one_row, panels, portable
from fasim.kernels.micro.arrays import address, lies_in_rows
from fasim.kernels.optimize import factors, sgd
from fasim.scalar.target import TARGET

_PORTABLE = TARGET == "portable"
_panels, _descent = panels.panels_float32, panels.panels_descent
_one_row, _portable = one_row.one_row_float32, portable.add_outer_float32


@njit(inline="always", cache=True)
def check_product(rows, terms, b, out):
    """Refuse what would be read or written beside the arrays; those of A where its layout allows any step."""
    if rows != out.shape[0] or b.shape[1] != out.shape[1] or terms != b.shape[0]:
        raise ValueError("product: needs shapes (K, R) or (R, K), (K, C) and (R, C)")
    if not (lies_in_rows(b) and lies_in_rows(out)):
        raise ValueError("product: needs rows whose elements lie side by side; copy by numpy.ascontiguousarray")


@kernel
def gemm_tn_float32(a, b, out):
    """Multiply matrices of float32 along their columns: a weight gradient, of `a` = delta and `b` = act.

    ``out[r, c] = sum_k a[k, r] * b[k, c]``

    Parameters
    ----------
    a : float32[K, R]
    b : float32[K, C]
    out : float32[R, C]     written

    Order of additions: k ascending, one rounding a term. Raises ValueError where shapes do not fit or a row is not
    contiguous. Cost: K R C multiply-accumulates.
    """
    like = np.float32(0)
    to, left, right = address(out, like), address(a, like), address(b, like)
    check_product(a.shape[1], a.shape[0], b, out)
    if _PORTABLE:
        _portable(a, True, b, out)
    else:
        _panels(left, a.strides[1], a.strides[0], right, b.strides[0], to, out.strides[0], *out.shape, b.shape[0])


@kernel
def gemm_nn_float32(a, b, out):
    """Multiply matrices of float32: a transport, of `a` = signal and `b` = weights or feedback.

    ``out[r, c] = sum_k a[r, k] * b[k, c]``

    Parameters
    ----------
    a : float32[R, K]
    b : float32[K, C]
    out : float32[R, C]     written

    Order of additions: k ascending, one rounding a term. Raises ValueError where shapes do not fit or a row is not
    contiguous. Cost: K R C multiply-accumulates.
    """
    like = np.float32(0)
    to, left, right = address(out, like), address(a, like), address(b, like)
    check_product(a.shape[0], a.shape[1], b, out)
    if _PORTABLE:
        _portable(a, False, b, out)
    elif out.shape[0] == 1:
        _one_row(left, a.strides[1], right, b.strides[0], to, out.shape[1], b.shape[0])
    else:
        _panels(left, a.strides[0], a.strides[1], right, b.strides[0], to, out.strides[0], *out.shape, b.shape[0])


@kernel
def sgd_tn_float32(a, b, weight, rate, decay, decay_kind):
    """Change weights by such a gradient, which never leaves the registers.

    ``weight[r, c] -= rate * sum_k a[k, r] * b[k, c]``: :func:`gemm_tn_float32`, then
    :func:`fasim.kernels.optimize.sgd`, to the bit.

    Parameters
    ----------
    a : float32[K, R]
    b : float32[K, C]
    weight : float32[R, C]  updated
    rate : float64[1]       learning rate of this step
    decay : float32
    decay_kind : int64

    Raises ValueError where shapes do not fit or a row is not contiguous. Cost: K R C multiply-accumulates; each weight is
    read and written once.
    """
    like = np.float32(0)
    to, left, right = address(weight, like), address(a, like), address(b, like)
    check_product(a.shape[1], a.shape[0], b, weight)
    if _PORTABLE:
        gradient = np.empty((1, weight.shape[1]), np.float32)
        for r in range(weight.shape[0]):
            _portable(a[:, r : r + 1], True, b, gradient)
            sgd(weight[r], gradient[0], rate, decay, decay_kind)
    else:
        couple, shrink = factors(rate, decay, decay_kind)
        _descent(
            left, a.strides[1], a.strides[0], right, b.strides[0], to, weight.strides[0], *weight.shape, b.shape[0],
            np.float32(rate[0]), couple, shrink,
        )  # fmt: skip
