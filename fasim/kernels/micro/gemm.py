"""Matrix products of rows with rows: ``out[n, j] = sum_k a[n, k] * b[j, k]``, a dense layer's forward pass.

Any shape, zeros included; any alignment; rows of any step in memory, whose elements lie side by side (C order, or slices of
it). An out row must not overlap an input. Results do not depend on which path runs (`fasim.kernels.micro.TARGET`), on
alignment or steps, or on what other rows and columns there are: a slice of A gives the same bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro import amx, portable, tiles, turned, turned_amx
from fasim.kernels.micro.arrays import address, keep, lies_in_rows
from fasim.kernels.micro.kinds import INT16, VNNI
from fasim.scalar.target import TARGET

_PORTABLE = TARGET == "portable"
_SHORTEST = tiles.SHORTEST
_LENGTHENS = _SHORTEST > 0
_cover_float32, _cover_int16 = tiles.cover_float32, tiles.cover_int16
_cover_int8, _cover_uint8 = tiles.cover_int8, tiles.cover_uint8
_turned_int16 = turned.turned_int16
_turned_int8, _turned_uint8 = (
    (turned_amx.amx_int8, turned_amx.amx_uint8) if amx.SERVES else (turned.turned_int8, turned.turned_uint8)
)
_VNNI, _LANES = VNNI, INT16.sums.count
# AMX's tiles need as many; with 48 the broadcast tiles take .6 to 1 of the dot tiles' time, with 16 1 to 3 times as long
_UNITS = 32
_portable_float32, _portable_integer = portable.gemm_float32, portable.gemm_integer


@njit(inline="always", cache=True)
def check(a, b, out):
    """Refuse what would be read or written beside the arrays."""
    if a.shape[0] != out.shape[0] or b.shape[0] != out.shape[1] or a.shape[1] != b.shape[1]:
        raise ValueError("gemm_nt: needs shapes (N, K), (J, K) and (N, J)")
    if not (lies_in_rows(a) and lies_in_rows(b) and lies_in_rows(out)):
        raise ValueError("gemm_nt: needs rows whose elements lie side by side; copy by numpy.ascontiguousarray")


@njit(inline="always", cache=True)
def worthwhile(rows, columns):
    """Tell whether so many rows of integers are faster in broadcast tiles: most lanes then hold one.

    A is turned for them first, which takes longer than all its products with few columns: for 10 of them dot products
    take half the time for 16 and 32 rows, and as much for 64.
    """
    return columns >= _UNITS and rows >= _LANES and 4 * rows >= 3 * ((rows + _LANES - 1) // _LANES * _LANES)


@njit(inline="always", cache=True)
def lengthen(matrix):
    """Return a copy with zeros behind each row, as many as the shortest vector needs."""
    longer = np.zeros((matrix.shape[0], _SHORTEST), matrix.dtype)
    for n in range(matrix.shape[0]):
        for k in range(matrix.shape[1]):
            longer[n, k] = matrix[n, k]
    return longer


@njit(inline="always", cache=True)
def multiply(portable, cover, turned, turns, of_a, of_b, of_out, a, b, out):
    """Multiply matrices of integers along their rows: what all types share.

    A function that is inlined and takes functions, not one that makes functions: Numba's cache would not know a closure
    again in another process. `portable` takes arrays; `cover` and `turned` take addresses, `turned` where `worthwhile`
    says so and it `turns` at all. The others are zeros of the types that the matrices must have.
    """
    to, left, right = address(out, of_out), address(a, of_a), address(b, of_b)
    check(a, b, out)
    if _PORTABLE:
        portable(a, b, out)
    elif turns and worthwhile(out.shape[0], out.shape[1]):
        turned(left, a.strides[0], right, b.strides[0], to, out.strides[0], *out.shape, a.shape[1])
    elif _LENGTHENS and a.shape[1] < _SHORTEST:
        longer_a, longer_b = lengthen(a), lengthen(b)
        left, right = address(longer_a, of_a), address(longer_b, of_b)
        cover(left, longer_a.strides[0], right, longer_b.strides[0], to, out.strides[0], *out.shape, _SHORTEST)
        keep(longer_a)
        keep(longer_b)
    else:
        cover(left, a.strides[0], right, b.strides[0], to, out.strides[0], *out.shape, a.shape[1])


@kernel
def gemm_nt_float32(a, b, out):
    """Multiply matrices of float32 along their rows.

    ``out[n, j] = sum_k a[n, k] * b[j, k]``

    Parameters
    ----------
    a : float32[N, K]
    b : float32[J, K]
    out : float32[N, J]     written

    Order of additions: K is divided into ceil(K / 1024) equal blocks of whole sixteens (the last is shorter). In a block,
    lane l = 0 .. 15 adds the products of k = l, l + 16, ... by fused multiply-adds (one rounding a term), from 0; then
    ``g[i] = (s[4i] + s[4i+2]) + (s[4i+1] + s[4i+3])`` and ``(g[0] + g[2]) + (g[1] + g[3])``; blocks are added in order.
    The same bits on every CPU with a fused multiply-add. With u = 2^-24 the error is at most
    ``m u / (1 - m u) sum_k |a[n, k] b[j, k]|`` for m = ceil(min(K, 1024) / 16) + ceil(K / 1024) + 3.

    Raises ValueError where shapes do not fit or a row is not contiguous. Cost: N J K multiply-accumulates.
    """
    like = np.float32(0)
    to, left, right = address(out, like), address(a, like), address(b, like)
    check(a, b, out)
    if _PORTABLE:
        _portable_float32(a, b, out)
    else:
        _cover_float32(left, a.strides[0], right, b.strides[0], to, out.strides[0], *out.shape, a.shape[1])


@kernel
def gemm_nt_int16(a, b, out):
    """Multiply matrices of int16 along their rows, exactly.

    ``out[n, j] = sum_k a[n, k] * b[j, k]``

    Parameters
    ----------
    a : int16[N, K]
    b : int16[J, K]
    out : int32[N, J]       written

    Sums are formed modulo 2^32: exact where they fit into 32 bits, which the caller proves
    (K max|a| max|b| < 2^31); the same bits on every CPU.

    Raises ValueError where shapes do not fit or a row is not contiguous. Cost: N J K multiply-accumulates; for a batch
    memory for 64 rows of A and 20 KB, see `fasim.kernels.micro.turned`.
    """
    multiply(_portable_integer, _cover_int16, _turned_int16, True, np.int16(0), np.int16(0), np.int32(0), a, b, out)


@kernel
def gemm_nt_int8(a, b, out):
    """Multiply matrices of int8 along their rows, exactly.

    ``out[n, j] = sum_k a[n, k] * b[j, k]``

    Parameters
    ----------
    a : int8[N, K]
    b : int8[J, K]
    out : int32[N, J]       written

    Sums are formed modulo 2^32: exact where they fit into 32 bits, which the caller proves
    (always so for K < 131 072); the same bits on every CPU.

    Raises ValueError where shapes do not fit or a row is not contiguous. Cost: N J K multiply-accumulates; for a batch
    memory for 64 rows of A and 20 KB, see `fasim.kernels.micro.turned`.
    """
    multiply(_portable_integer, _cover_int8, _turned_int8, _VNNI, np.int8(0), np.int8(0), np.int32(0), a, b, out)


@kernel
def gemm_nt_uint8(a, b, out):
    """Multiply matrices of uint8 and int8 along their rows, exactly.

    ``out[n, j] = sum_k a[n, k] * b[j, k]``

    Parameters
    ----------
    a : uint8[N, K]
    b : int8[J, K]
    out : int32[N, J]       written

    Sums are formed modulo 2^32: exact where they fit into 32 bits, which the caller proves
    (always so for K < 65 793); the same bits on every CPU.

    Raises ValueError where shapes do not fit or a row is not contiguous. Cost: N J K multiply-accumulates; for a batch
    memory for 64 rows of A and 20 KB, see `fasim.kernels.micro.turned`.
    """
    multiply(_portable_integer, _cover_uint8, _turned_uint8, _VNNI, np.uint8(0), np.int8(0), np.int32(0), a, b, out)
