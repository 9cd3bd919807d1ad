"""The matrix products of `fasim.kernels.micro` for every other CPU: plain loops that LLVM can vectorise, the same bits."""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro.blocks import BLOCK_BYTES, LANES, block_length
from fasim.scalar.fused import fused


@njit(inline="always", cache=True)
def _total(lanes):
    """Add 16 lanes in the order of the register tiles."""
    g0 = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
    g1 = (lanes[4] + lanes[6]) + (lanes[5] + lanes[7])
    g2 = (lanes[8] + lanes[10]) + (lanes[9] + lanes[11])
    g3 = (lanes[12] + lanes[14]) + (lanes[13] + lanes[15])
    return (g0 + g2) + (g1 + g3)


@kernel
def gemm_float32(a, b, out):
    """``out = a b^T`` in float32, in the order of additions of the register tiles."""
    rows, columns = out.shape
    terms = a.shape[1]
    length = block_length(terms, BLOCK_BYTES // 4, LANES)
    lanes = np.empty(LANES, np.float32)
    for n in range(rows):
        for j in range(columns):
            total = np.float32(0)
            for start in range(0, terms, length):
                stop = min(start + length, terms)
                whole = stop - (stop - start) % LANES
                lanes[:] = 0
                for k in range(start, whole, LANES):
                    for lane in range(LANES):
                        lanes[lane] = fused(lanes[lane], a[n, k + lane], b[j, k + lane])
                for k in range(whole, stop):
                    lanes[k - whole] = fused(lanes[k - whole], a[n, k], b[j, k])
                total = np.float32(_total(lanes) + total)
            out[n, j] = total


@kernel
def add_outer_float32(a, k_first, b, out):
    """``out[r, c] = sum_k a[k, r] b[k, c]`` in float32, or with ``a[r, k]`` if not `k_first`, k ascending."""
    for r in range(out.shape[0]):
        out[r] = 0
        for k in range(b.shape[0]):
            number = a[k, r] if k_first else a[r, k]
            for c in range(out.shape[1]):
                out[r, c] = fused(out[r, c], number, b[k, c])


@kernel
def gemm_integer(a, b, out):
    """``out = a b^T`` in int32, modulo 2^32."""
    rows, columns = out.shape
    for n in range(rows):
        for j in range(columns):
            total = np.int32(0)
            for k in range(a.shape[1]):
                total = np.int32(total + np.int32(np.int32(a[n, k]) * np.int32(b[j, k])))
            out[n, j] = total


@kernel
def gemm_wide(a, b, out):
    """``out = a b^T`` of int16 in int64."""
    rows, columns = out.shape
    for n in range(rows):
        for j in range(columns):
            total = np.int64(0)
            for k in range(a.shape[1]):
                total += np.int64(np.int32(np.int32(a[n, k]) * np.int32(b[j, k])))
            out[n, j] = total
