"""The loops around broadcast tiles: C is covered panel by panel, a few vectors wide, each all the way down its rows.

A panel of B is copied to where it lies closely packed: read in place, its rows are pages apart. The copy costs a few
percent of what it gains: 157 -> 173 GFLOP/s for 64 x 500 x 784, 113 -> 152 for 64 x 1000 x 3072.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.blocks import block_length
from fasim.kernels.micro.broadcast import STORED, Epilogue, broadcast_tile
from fasim.kernels.micro.kinds import FLOAT32, WIDE
from fasim.kernels.micro.update import DESCENT

# As many sums as the registers hold beside a row of B and one number: 32 of them, or 16
ROWS, _VECTORS = (6, 4) if WIDE else (6, 2)
_ONE_ROW = 4 * _VECTORS
_LANES = FLOAT32.sums.count
_WIDTH = _VECTORS * _LANES
_ALIGNMENT = 64
# Terms of a packed panel: 32 KB of the first-level cache. Fewer rows than `_WORTHWHILE` would not pay for the copy
_PACKED_TERMS = 128
_WORTHWHILE = 4 * ROWS
# Up to so many terms, memory is what counts: C is then taken row by row, as it lies there
_FEW_TERMS = 4


def tiles_of(epilogue: Epilogue) -> tuple[Any, ...]:
    """Return the tiles that cover a matrix: the whole one, that of a single row, and those of 1 to 4 vectors."""
    whole = broadcast_tile(FLOAT32, ROWS, _VECTORS, epilogue, whole=True)
    row = broadcast_tile(FLOAT32, 1, _ONE_ROW, epilogue, whole=True)
    return whole, row, *(broadcast_tile(FLOAT32, ROWS, min(n, _VECTORS), epilogue) for n in (1, 2, 3, 4))


_whole, _row, _part1, _part2, _part3, _part4 = tiles_of(STORED)
_whole_descent, _row_descent, _part1_descent, _part2_descent, _part3_descent, _part4_descent = tiles_of(DESCENT)


@intrinsic
def _packed(_context):
    """Return the address of an aligned panel on the stack of the calling function."""

    def codegen(_context, builder, _signature, _arguments):
        # not cgutils.alloca_once: that fills it with zeros, which LLVM takes minutes to divide into bytes
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(v.I8, 4 * _WIDTH * _PACKED_TERMS))
        memory.align = _ALIGNMENT
        return builder.ptrtoint(memory, v.I64)

    return types.int64(), codegen


@intrinsic
def _copy_line(_context, source, target):
    """Copy a row of a panel, to an aligned address."""

    def codegen(context, builder, _signature, arguments):
        for j in range(_VECTORS):
            place = v.constant(4 * _LANES * j)
            v.store(
                builder, v.load(builder, builder.add(arguments[0], place), FLOAT32.sums), builder.add(arguments[1], place)
            )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@njit(inline="always", cache=True)
def cover(whole, parts, row, few, a, a_row, a_k, b, b_k, out, out_step, rows, columns, terms, given):
    """Cover `out` with tiles: panels of columns, and in each the rows of the tiles; of `few` terms at most, row by row."""
    part1, part2, part3, part4 = parts
    panel = _packed()
    packs = rows >= _WORTHWHILE and terms <= _PACKED_TERMS
    band = ROWS if terms <= few else max(rows, 1)
    first = 0
    if rows == 1:
        first = columns - columns % (_ONE_ROW * _LANES)
        for c in range(0, first, _ONE_ROW * _LANES):
            row(a, a_row, a_k, b + 4 * c, b_k, terms, 1, 0, (out + 4 * c, out_step, *given))
    for top in range(0, rows, band):
        for c in range(first, columns, _WIDTH):
            width = min(_WIDTH, columns - c)
            right, right_k = b + 4 * c, b_k
            if packs and band == rows and width == _WIDTH:
                for k in range(terms):
                    _copy_line(right + k * b_k, panel + k * (4 * _WIDTH))
                right, right_k = panel, 4 * _WIDTH
            for r in range(top, min(top + band, rows), ROWS):
                left, here = a + r * a_row, rows - r
                place = (out + r * out_step + 4 * c, out_step, *given)
                if here >= ROWS and width == _WIDTH:
                    whole(left, a_row, a_k, right, right_k, terms, ROWS, _WIDTH, place)
                elif width <= _LANES:
                    part1(left, a_row, a_k, right, right_k, terms, here, width, place)
                elif width <= 2 * _LANES:
                    part2(left, a_row, a_k, right, right_k, terms, here, width, place)
                elif width <= 3 * _LANES:
                    part3(left, a_row, a_k, right, right_k, terms, here, width, place)
                else:
                    part4(left, a_row, a_k, right, right_k, terms, here, width, place)


@kernel
def panels_float32(a, a_row, a_k, b, b_k, out, out_step, rows, columns, terms):
    """``out[r, c] = sum_k a(k, r) b[k, c]`` of float32 at addresses, steps in bytes; all int64."""
    length = block_length(terms, _PACKED_TERMS, 1)
    for start in range(0, max(terms, 1), length):
        cover(
            _whole, (_part1, _part2, _part3, _part4), _row, _FEW_TERMS,
            a + start * a_k, a_row, a_k, b + start * b_k, b_k, out, out_step, rows, columns, min(length, terms - start),
            (np.int64(start == 0),),
        )  # fmt: skip


@kernel
def panels_descent(a, a_row, a_k, b, b_k, weight, step, rows, columns, terms, rate, couple, shrink):
    """Change float32 weights by such a product as `DESCENT` says; the last three float32."""
    cover(
        _whole_descent, (_part1_descent, _part2_descent, _part3_descent, _part4_descent), _row_descent, _FEW_TERMS,
        a, a_row, a_k, b, b_k, weight, step, rows, columns, terms, (couple, shrink, rate),
    )  # fmt: skip
