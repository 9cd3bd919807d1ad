"""Matrix products of int16 whose sums are exact in int64: ``out[n, j] = sum_k a[n, k] * b[j, k]``, for any K.

Layouts and refusals as those of `fasim.kernels.micro.gemm`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro import amx, portable, turned_wide, wide_amx
from fasim.kernels.micro.arrays import address
from fasim.kernels.micro.blocks import block_length
from fasim.kernels.micro.bounds import WINDOW, lanes_of, largest_of
from fasim.kernels.micro.dot_wide import wide_tile
from fasim.kernels.micro.gemm import check, multiply
from fasim.kernels.micro.kinds import INT16, WIDE

_SIZE = 2
_STEP = 64
# Terms of a block, 64 vectors: a lane adds 128 products, which int32 holds up to 2^23 (256 of -2^8 and -2^15 are 2^31)
_BLOCK = 64 * 2 * INT16.sums.count
# Sums in registers: 16 (split: 24) of 32, or 6 (split: 8) of 16
_ROWS, _COLUMNS, _ONE_ROW = (4, 4, 8) if WIDE else (3, 2, 4)
_SPLIT_ROWS, _SPLIT_COLUMNS, _SPLIT_ONE_ROW = (3, 4, 8) if WIDE else (2, 2, 4)
# Columns for which A is read once from the second-level cache, and how much of A is to stay in it
_NEAR = 16
_BAND_BYTES = 256 * 1024
# Columns that are proven at once
_LOOKED_AT = 64

_many = wide_tile(INT16, _ROWS, _COLUMNS, split=False)
_one = wide_tile(INT16, 1, _ONE_ROW, split=False)
_many_split = wide_tile(INT16, _SPLIT_ROWS, _SPLIT_COLUMNS, split=True)
_one_split = wide_tile(INT16, 1, _SPLIT_ONE_ROW, split=True)
_portable_wide, _turned = portable.gemm_wide, turned_wide.turned_wide
# Rows and columns from which on broadcast tiles are faster: 1.2 to 1.4 times for 32 and 64 x 784 x 500, even for 16 rows;
# for 64 columns a tenth slower, for 10 half as fast
_BATCH, _UNITS = 24, 128
# and those from which on AMX is: 1.2 to 1.6 times where int32 holds all, 1.7 to 2.9 where it does not
_AMX, _AMX_BATCH, _AMX_UNITS = amx.SERVES, 12, 32
_amx_wide, _AMX_TERMS = wide_amx.amx_wide, wide_amx.MOST


@njit(inline="always", cache=True)
def _cover(many, one, tile_rows, tile_columns, tile_one, a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """Cover `out` with tiles, as `tiles` does; blocks of terms keep the lanes within int32."""
    length = block_length(terms, _BLOCK, _STEP)
    band = max(_BAND_BYTES // (length * _SIZE) // tile_rows, 1) * tile_rows
    whole = rows - 1 if rows % tile_rows == 1 else rows
    for start in range(0, max(terms, 1), length):
        here = min(length, terms - start)
        fresh = np.int64(start == 0)
        left, right = a + start * _SIZE, b + start * _SIZE
        if whole < rows:
            row, place = left + whole * a_step, out + whole * out_step
            for j in range(0, columns, tile_one):
                one(row, a_step, right + j * b_step, b_step, here, place + 8 * j, out_step, 1, columns - j, fresh)
        for top in range(0, whole, band):
            for j in range(0, columns, _NEAR):
                for i in range(top, min(top + band, whole), tile_rows):
                    row, place = left + i * a_step, out + i * out_step
                    for c in range(j, min(j + _NEAR, columns), tile_columns):
                        many(
                            row, a_step, right + c * b_step, b_step, here,
                            place + 8 * c, out_step, whole - i, columns - c, fresh,
                        )  # fmt: skip


@kernel
def cover_bounded(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of int16 at addresses, steps between rows in bytes, all int64; ``|a b| <= 2^23``."""
    _cover(_many, _one, _ROWS, _COLUMNS, _ONE_ROW, a, a_step, b, b_step, out, out_step, rows, columns, terms)


@kernel
def cover_split(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of any int16, likewise."""
    _cover(
        _many_split, _one_split, _SPLIT_ROWS, _SPLIT_COLUMNS, _SPLIT_ONE_ROW,
        a, a_step, b, b_step, out, out_step, rows, columns, terms,
    )  # fmt: skip


@njit(inline="always", cache=True)
def _lanes_of(b, b_step, rows, terms):
    """Return a bound of ``sum |b|`` over what any lane adds in a block of terms."""
    length, most = block_length(terms, _BLOCK, _STEP), np.int64(0)
    for start in range(0, terms, length):
        most = max(most, lanes_of(b + start * _SIZE, b_step, rows, min(length, terms - start)))
    return most


@kernel
def cover_any(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of any int16, likewise: whole where int32 surely holds what each lane adds, read off the numbers.

    That is looked at for some units at once, which then lie in the cache. To look at B takes as long as a row of A: one
    alone is not worth it.
    """
    if rows == 1:
        cover_split(a, a_step, b, b_step, out, out_step, rows, columns, terms)
        return
    of_a, largest_a = _lanes_of(a, a_step, rows, terms), largest_of(a, a_step, rows, terms)
    for c in range(0, columns, _LOOKED_AT):
        here, right, place = min(_LOOKED_AT, columns - c), b + c * b_step, out + 8 * c
        holds = of_a * largest_of(right, b_step, here, terms) < WINDOW
        if holds or largest_a * _lanes_of(right, b_step, here, terms) < WINDOW:
            cover_bounded(a, a_step, right, b_step, place, out_step, rows, here, terms)
        else:
            cover_split(a, a_step, right, b_step, place, out_step, rows, here, terms)


@kernel
def gemm_nt_int16_wide(a, b, split, out):
    """Multiply matrices of int16 along their rows, exactly for any K.

    ``out[n, j] = sum_k a[n, k] * b[j, k]``

    Parameters
    ----------
    a : int16[N, K]
    b : int16[J, K]
    split : bool
        Whether a product may be larger than 2^23; if not, which the caller proves, few rows take half the time.
    out : int64[N, J]       written

    The same bits on every CPU. Raises ValueError where shapes do not fit or a row is not contiguous. Cost: N J K
    multiply-accumulates, twice as many where split; for a batch memory for 192 rows of A and 100 KB, and twice as many only
    where numbers are too large for int32 to hold some of their products, see `fasim.kernels.micro.turned_wide`. By AMX four
    products of bytes each, memory for A and 64 rows, see `fasim.kernels.micro.wide_amx`.
    """
    many, word, long = len(a) >= _BATCH and len(b) >= _UNITS, np.int16(0), np.int64(0)
    if _AMX and len(a) >= _AMX_BATCH and len(b) >= _AMX_UNITS and a.shape[1] <= _AMX_TERMS:
        to, left, right = address(out, long), address(a, word), address(b, word)
        check(a, b, out)
        _amx_wide(left, a.strides[0], right, b.strides[0], to, out.strides[0], *out.shape, a.shape[1])
    elif split:
        multiply(_portable_wide, cover_any, _turned, many, word, word, long, a, b, out)
    else:
        multiply(_portable_wide, cover_bounded, _turned, many, word, word, long, a, b, out)
