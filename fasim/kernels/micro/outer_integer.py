"""Sums of outer products of integers: ``out[j, i] = sum_n left[n, j] * right[n, i]``, a dense layer's weight gradient.

Register tiles multiply groups of terms at once: 4 bytes where the CPU has dot products of bytes (`GROUP` is 4), else 2
int16. Both factors come interleaved by such groups, ``[m, j, g]`` for term ``GROUP m + g``, with zeros behind the last.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.arrays import start
from fasim.kernels.micro.broadcast import Epilogue, Given, Row, broadcast_tile, store
from fasim.kernels.micro.kinds import INT8, INT16, VNNI, WIDE
from fasim.scalar.target import TARGET

PORTABLE = TARGET == "portable"
GROUP = 4 if VNNI else 2
"""Terms of bytes that are multiplied at once; of int16 it is 2 on every CPU."""
# As many sums as the registers hold beside a row of B and one number: 24 of 32, or 8 of 16
ROWS, _VECTORS = (6, 4) if WIDE else (4, 2)
_LANES = INT16.sums.count
_WIDTH = _VECTORS * _LANES


def _begin(b: v.Builder, row: Row, given: Given) -> list[v.Value]:
    """Begin sums of a row with its offset, ``given = (out, step, offsets)``; a row that does not exist with the first."""
    at = b.add(given[2], v.constant(4 * row.number))
    at = at if row.exists is None else b.select(row.exists, at, given[2])
    return [v.splat(b, v.load(b, at, v.I32), row.lanes)] * len(row.masks)


_OFFSET = Epilogue(store, _begin)
_PLAIN = Epilogue(store)

_whole_words = broadcast_tile(INT16, ROWS, _VECTORS, _PLAIN, whole=True)
_words1, _words2, _words3, _words4 = (broadcast_tile(INT16, ROWS, min(n, _VECTORS), _PLAIN) for n in (1, 2, 3, 4))
# without dot products of bytes these are never called
_BYTES = INT8 if VNNI else INT16
_whole_bytes = broadcast_tile(_BYTES, ROWS, _VECTORS, _OFFSET, whole=True)
_bytes1, _bytes2, _bytes3, _bytes4 = (broadcast_tile(_BYTES, ROWS, min(n, _VECTORS), _OFFSET) for n in (1, 2, 3, 4))


@njit(inline="always", cache=True)
def _cover(whole, parts, a, a_row, a_k, b, b_k, out, out_step, offsets, rows, columns, terms):
    """Cover `out` with tiles: panels of columns, and in each the rows."""
    part1, part2, part3, part4 = parts
    for c in range(0, columns, _WIDTH):
        width = min(_WIDTH, columns - c)
        right = b + 4 * c
        for r in range(0, rows, ROWS):
            left, here = a + r * a_row, rows - r
            given = (out + r * out_step + 4 * c, out_step, offsets + 4 * r)
            if here >= ROWS and width == _WIDTH:
                whole(left, a_row, a_k, right, b_k, terms, ROWS, _WIDTH, given)
            elif width <= _LANES:
                part1(left, a_row, a_k, right, b_k, terms, here, width, given)
            elif width <= 2 * _LANES:
                part2(left, a_row, a_k, right, b_k, terms, here, width, given)
            elif width <= 3 * _LANES:
                part3(left, a_row, a_k, right, b_k, terms, here, width, given)
            else:
                part4(left, a_row, a_k, right, b_k, terms, here, width, given)


@kernel
def cover_outer_words(a, a_row, a_k, b, b_k, out, out_step, offsets, rows, columns, terms):
    """``out[r, c] = sum_k a(k, r) b[k, c]``, modulo 2^32, of pairs of int16 at addresses, steps in bytes; all int64."""
    _cover(
        _whole_words, (_words1, _words2, _words3, _words4),
        a, a_row, a_k, b, b_k, out, out_step, offsets, rows, columns, terms,
    )  # fmt: skip


@kernel
def cover_outer_bytes(a, a_row, a_k, b, b_k, out, out_step, offsets, rows, columns, terms):
    """``out[r, c] = offsets[r] + sum_k a(k, r) b[k, c]`` likewise, of four int8 with four uint8."""
    _cover(
        _whole_bytes, (_bytes1, _bytes2, _bytes3, _bytes4),
        a, a_row, a_k, b, b_k, out, out_step, offsets, rows, columns, terms,
    )  # fmt: skip


@kernel
def _plain_sums(left, right, offsets, out):
    """Do what `outer_sums` does in a loop."""
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            total = np.int32(offsets[j] if left.itemsize == 1 else 0)
            for m in range(left.shape[0]):
                for g in range(left.shape[2]):
                    total = np.int32(total + np.int32(np.int32(left[m, j, g]) * np.int32(right[m, i, g])))
            out[j, i] = total


@kernel
def outer_sums(left, right, offsets, out):
    """Sum outer products of interleaved integers, modulo 2^32.

    ``out[j, i] = offsets[j] + sum_m,g left[m, j, g] * right[m, i, g]``

    Parameters
    ----------
    left : int8[M, J, GROUP] or int16[M, J, 2]      any steps between m and j
    right : uint8[M, I, GROUP] or int16[M, I, 2]    a group and its neighbours side by side, any step between m
    offsets : int32[J]                              contiguous; read for bytes only
    out : int32[J, I]                               written; rows of any step

    Raises ValueError where shapes or layouts do not fit. Cost: J I M groups of multiply-accumulates.
    """
    terms, rows, group = left.shape
    columns = right.shape[1]
    if right.shape[0] != terms or right.shape[2] != group or out.shape[0] != rows or out.shape[1] != columns:
        raise ValueError("outer_sums: needs shapes (M, J, G), (M, I, G) and (J, I)")
    size = left.itemsize
    if group * size != 4 or right.itemsize != size or offsets.size < rows:
        raise ValueError("outer_sums: needs groups of four bytes, of one type, and an offset for each row")
    if columns == 0 or rows == 0:
        return
    if PORTABLE:
        _plain_sums(left, right, offsets, out)
        return
    apart = columns > 1 and (right.strides[1] != 4 or out.strides[1] != 4)
    if left.strides[2] != size or right.strides[2] != size or apart:
        raise ValueError("outer_sums: needs groups and rows whose elements lie side by side")
    a, b, to, begin = start(left), start(right), start(out), start(offsets)
    a_row, a_k, b_k, step = left.strides[1], left.strides[0], right.strides[0], out.strides[0]
    if size == 1:
        cover_outer_bytes(a, a_row, a_k, b, b_k, to, step, begin, rows, columns, terms)
    else:
        cover_outer_words(a, a_row, a_k, b, b_k, to, step, begin, rows, columns, terms)
