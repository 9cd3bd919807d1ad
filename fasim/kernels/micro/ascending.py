"""A dense layer's forward pass for a batch, in float32: see `fasim.kernels.micro.turned`."""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.kernels.micro import turned
from fasim.kernels.micro.arrays import address, lies_in_rows
from fasim.kernels.micro.blocks import LANES
from fasim.scalar.fused import fused
from fasim.scalar.target import TARGET

# columns, and numbers in B for a single vector of samples: fewer are read faster as they lie
_UNITS, _LARGE_MATRIX = 32, 1 << 16
_PORTABLE = TARGET == "portable"
_turned = turned.turned_float32


def worthwhile(samples: int, units: int, terms: int) -> bool:
    """Tell whether this is the faster product, for `samples` rows of A and `units` of B.

    Its vectors hold a sample in each lane, its loops a vector of units: 64 x 784 x 500 took 202 us for 219 by dot products,
    16 x 1000 x 1000 136 for 169, but 33 x 784 x 500 156 for 132 and 16 x 500 x 10 5.5 for 1.5 (AMD Zen 5).
    """
    lanes = -(-samples // LANES) * LANES
    return units >= _UNITS and 8 * samples >= 7 * lanes and (samples > LANES or units * terms >= _LARGE_MATRIX)


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
    73 (K > 3072: 265) times 64 numbers.
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
    offsets = address(bias.reshape(1, bias.size), like) if bias.size != 0 else 0
    _turned(left, a.strides[0], right, b.strides[0], offsets, to, out.strides[0], samples, units, terms)
