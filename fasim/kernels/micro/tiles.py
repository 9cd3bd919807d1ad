"""The loops around register tiles: each matrix product is one compiled function of addresses, for all sizes and layouts."""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro.blocks import BLOCK_BYTES, LANES, block_length
from fasim.kernels.micro.dot import dot_tile, scratch
from fasim.kernels.micro.kinds import FLOAT32, INT8, INT16, UINT8, VNNI, WIDE

SHORTEST = 0 if WIDE else INT16.step
"""Terms that a row of integers must have at least."""
_STEP = 64
"""Terms that any integer tile takes at once, or a multiple of them."""

# As many sums as the registers hold beside what is multiplied: 32 of them, or 16
_ROWS, _COLUMNS, _ONE_ROW = (4, 4, 8) if WIDE else (3, 2, 4)
# Columns for which A is read once from the second-level cache, and how much of A is to stay in it
_NEAR = 2 * _COLUMNS
_BAND_BYTES = 256 * 1024

_many_float32 = dot_tile(FLOAT32, _ROWS, _COLUMNS)
_one_float32 = dot_tile(FLOAT32, 1, _ONE_ROW)
_many_int16 = dot_tile(INT16, _ROWS, _COLUMNS)
_one_int16 = dot_tile(INT16, 1, _ONE_ROW)
_many_int8 = dot_tile(INT8, _ROWS, _COLUMNS, "given" if VNNI else "none")
_one_int8 = dot_tile(INT8, 1, _ONE_ROW, "inline" if VNNI else "none")
_offsets_int8 = dot_tile(INT8, 1, _NEAR, "only" if VNNI else "none")
_many_uint8 = dot_tile(UINT8, _ROWS, _COLUMNS)
_one_uint8 = dot_tile(UINT8, 1, _ONE_ROW)


@njit(inline="always", cache=True)
def _cover(many, one, offsets_of, size, step, offset, a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """Cover `out` with tiles: by blocks of K, bands of rows of A, a few rows of B that stay near."""
    sums = scratch(_NEAR)
    length = block_length(terms, BLOCK_BYTES // size, step)
    band = max(_BAND_BYTES // (length * size) // _ROWS, 1) * _ROWS
    whole = rows - 1 if rows % _ROWS == 1 else rows
    for start in range(0, max(terms, 1), length):
        here = min(length, terms - start)
        fresh = np.int64(start == 0)
        left, right = a + start * size, b + start * size
        if whole < rows:
            row, place = left + whole * a_step, out + whole * out_step
            for j in range(0, columns, _ONE_ROW):
                one(row, a_step, right + j * b_step, b_step, here, place + 4 * j, out_step, 1, columns - j, fresh, 0)
        for top in range(0, whole, band):
            for j in range(0, columns, _NEAR):
                if offset:
                    offsets_of(left, 0, right + j * b_step, b_step, here, sums, 0, 1, columns - j, 1, 0)
                for i in range(top, min(top + band, whole), _ROWS):
                    row, place = left + i * a_step, out + i * out_step
                    for c in range(j, min(j + _NEAR, columns), _COLUMNS):
                        other, to, beside = right + c * b_step, place + 4 * c, sums + 4 * (c - j)
                        if i + _ROWS <= whole and c + _COLUMNS <= columns:
                            # the tile of constant size, without masks: a fifth faster for bytes
                            many(row, a_step, other, b_step, here, to, out_step, _ROWS, _COLUMNS, fresh, beside)
                        else:
                            many(row, a_step, other, b_step, here, to, out_step, whole - i, columns - c, fresh, beside)


@kernel
def cover_float32(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of float32 at addresses, steps between rows in bytes; all int64."""
    _cover(
        _many_float32, _one_float32, _one_float32, 4, LANES, False,
        a, a_step, b, b_step, out, out_step, rows, columns, terms,
    )  # fmt: skip


@kernel
def cover_int16(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T``, modulo 2^32, of int16, likewise."""
    _cover(
        _many_int16, _one_int16, _one_int16, 2, _STEP, False,
        a, a_step, b, b_step, out, out_step, rows, columns, terms,
    )  # fmt: skip


@kernel
def cover_int8(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T``, modulo 2^32, of int8, likewise."""
    _cover(
        _many_int8, _one_int8, _offsets_int8, 1, _STEP, VNNI,
        a, a_step, b, b_step, out, out_step, rows, columns, terms,
    )  # fmt: skip


@kernel
def cover_uint8(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T``, modulo 2^32, of uint8 (A) and int8, likewise."""
    _cover(
        _many_uint8, _one_uint8, _one_uint8, 1, _STEP, False,
        a, a_step, b, b_step, out, out_step, rows, columns, terms,
    )  # fmt: skip
