"""A dense layer's forward pass for a batch: products of rows with rows, formed as outer products of columns.

For one sample, dot products read weights as fast as memory gives them. For many, broadcast tiles are faster: they take
numbers of B as they lie and vectors of samples, A being turned first. Beside `gemm_nt_float32`: 161 against 144 GFLOP/s for
64 x 784 x 500, 131 against 104 for 64 x 1000 x 1000 (whose rows are no multiple of a cache line), 161 against 131 for
64 x 240 x 240, the same for 32 samples.
"""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.kernels.micro import panels
from fasim.kernels.micro.arrays import address, keep, lies_in_rows
from fasim.kernels.micro.fused import fused
from fasim.kernels.micro.panels import ROWS
from fasim.kernels.micro.target import TARGET
from fasim.kernels.micro.turn import turn

WORTHWHILE = 32
"""Samples from which on it is the faster one."""
_PORTABLE = TARGET == "portable"
_panels = panels.panels_float32
# Samples at once: the width of a panel of 16 lanes. Units at once: their sums stay in the second-level cache
_SAMPLES = 64
_UNITS = 40 * ROWS
_STEP = 4 * _SAMPLES
_ALIGNMENT = 64


@kernel
def gemm_nt_ascending_float32(a, b, bias, out):
    """Multiply matrices of float32 along their rows and add a bias.

    ``out[n, j] = sum_k a[n, k] * b[j, k] + bias[j]``

    Parameters
    ----------
    a : float32[N, K]
    b : float32[J, K]
    bias : float32[J]       contiguous; of no elements: none is added
    out : float32[N, J]     written; may not overlap an input

    Order of additions: k ascending from 0 by fused multiply-adds (one rounding a term), then the bias; the same for any
    slice of rows or units, on every CPU with a fused multiply-add.

    Raises ValueError where shapes do not fit or a row is not contiguous. Cost: N J K multiply-accumulates; memory for K and
    240 times 64 numbers.
    """
    like = np.float32(0)
    to, left, right = address(out, like), address(a, like), address(b, like)
    if a.shape[0] != out.shape[0] or b.shape[0] != out.shape[1] or a.shape[1] != b.shape[1]:
        raise ValueError("product: needs shapes (N, K), (J, K) and (N, J)")
    if bias.size != 0 and bias.size != out.shape[1]:
        raise ValueError("product: needs a bias for each unit, or none")
    if not (lies_in_rows(a) and lies_in_rows(b) and lies_in_rows(out) and (bias.size < 2 or bias.strides[0] == 4)):
        raise ValueError("product: needs rows whose elements lie side by side; copy by numpy.ascontiguousarray")
    samples, units = out.shape
    terms = a.shape[1]
    if _PORTABLE:
        for n in range(samples):
            for j in range(units):
                total = like
                for k in range(terms):
                    total = fused(total, a[n, k], b[j, k])
                out[n, j] = total + bias[j] if bias.size != 0 else total
        return
    memory = np.empty((1, (terms + _UNITS) * _SAMPLES + _ALIGNMENT // 4), np.float32)
    turned = (address(memory, like) + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
    sums = turned + terms * _STEP
    offsets = address(bias.reshape(1, bias.size), like) if bias.size != 0 else 0
    for n in range(0, samples, _SAMPLES):
        count = min(_SAMPLES, samples - n)
        turn(left + n * a.strides[0], a.strides[0], turned, _STEP, count, terms, 0)
        for j in range(0, units, _UNITS):
            here = min(_UNITS, units - j)
            _panels(right + j * b.strides[0], b.strides[0], 4, turned, _STEP, sums, _STEP, here, count, terms)
            place, offset = to + n * out.strides[0] + 4 * j, offsets + 4 * j if bias.size != 0 else 0
            turn(sums, _STEP, place, out.strides[0], here, count, offset)
    keep(memory)
