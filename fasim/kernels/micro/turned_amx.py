"""Products of rows of bytes with rows for a batch in AMX's tiles: ``out[n, j] = sum_k a[n, k] * b[j, k]``.

Rows of B, of units, are tiles as they lie in memory. A is turned, as for `fasim.kernels.micro.turned`, whose signatures
these kernels have: 32 samples of 1000 bytes then stay in the first-level cache while all units go by, and a tile of each,
loaded once, is multiplied twice. Fewer columns than 32 would be read beside B: `fasim.kernels.micro.gemm` sends none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro import amx
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.arrays import address, keep
from fasim.kernels.micro.turn import turn_sums, turn_words
from fasim.kernels.micro.turned import copy_last
from fasim.kernels.micro.windows import Loop

UNITS = 2 * amx.SIDE
"""Units at once, and at most as many samples."""
_WORD = 4
_SUMS, _OF_B, _OF_A = 0, 4, 6


def _sums_tile(vectors: int, signs: str) -> Any:  # noqa: ANN401 - Numba has no public type
    """Return ``tile(b, b_step, whole, ends, a, out)``: the sums of 32 units with 16 samples or 32, to lines of `out`.

    `whole` is how many tiles each row of B has, `ends`, if not 0, where their ends lie, 64 bytes each with zeros behind
    them. Lines of the turned A, of words, and of `out` are of 64 bytes a vector.
    """
    line = v.constant(amx.BYTES * vectors)

    def at_vector(b: v.Builder, start: v.Value, i: int) -> v.Value:
        return b.add(start, v.constant(amx.BYTES * i))

    def add(b: v.Builder, units: v.Value, units_step: v.Value, samples: v.Value) -> None:
        amx.load(b, _OF_B, units, units_step)
        amx.load(b, _OF_B + 1, b.add(units, b.mul(units_step, v.constant(amx.SIDE))), units_step)
        for i in range(vectors):
            amx.load(b, _OF_A + i, at_vector(b, samples, i), line)
        for half in range(2):
            for i in range(vectors):
                amx.multiply(b, _SUMS + 2 * half + i, _OF_B + half, _OF_A + i, signs)

    @intrinsic
    def tile(_context, b, b_step, whole, ends, a, out):
        def codegen(context, builder, _signature, arguments):
            units, step, whole, ends, samples, out = arguments
            sums = [(2 * half + i, half, i) for half in range(2) for i in range(vectors)]
            for register, _, _ in sums:
                amx.clear(builder, _SUMS + register)
            loop = Loop(builder, "turned_amx", whole, [units, samples])
            _, left, right = loop.values
            add(builder, left, step, right)
            right = builder.add(right, v.constant(amx.SIDE * amx.BYTES * vectors))
            _, right = loop.close(v.constant(1), [builder.add(left, v.constant(amx.BYTES)), right])
            with builder.if_then(builder.icmp_signed("!=", ends, v.constant(0))):
                add(builder, ends, v.constant(amx.BYTES), right)
            for register, half, i in sums:
                at = at_vector(builder, builder.add(out, builder.mul(line, v.constant(amx.SIDE * half))), i)
                amx.store(builder, _SUMS + register, at, line)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return tile


_signed1, _signed2 = (_sums_tile(vectors, "ss") for vectors in (1, 2))
_unsigned1, _unsigned2 = (_sums_tile(vectors, "su") for vectors in (1, 2))


@intrinsic
def _copy_ends(_context, source, step, count, target):
    """Copy the first `count` bytes of the ends of 32 rows, 64 bytes each with zeros behind them."""

    def codegen(context, b, _signature, arguments):
        source, step, count, target = arguments
        mask = v.first_lanes(b, count, amx.BYTES)
        loop = Loop(b, "copy_ends", v.constant(UNITS), [source, target])
        _, here, there = loop.values
        v.store(b, v.load_masked(b, here, v.vector(v.I8, amx.BYTES), mask), there)
        loop.close(v.constant(1), [b.add(here, step), b.add(there, v.constant(amx.BYTES))])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@njit(inline="always", cache=True)
def _cover(tile1, tile2, a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """Turn 32 samples, then form and turn their sums with 32 units after the other; the last 32 may come again."""
    words, rest = terms // _WORD, terms % _WORD
    whole, last = terms // amx.BYTES, terms % amx.BYTES
    lines = (whole + 1) * amx.SIDE
    like = np.int32(0)
    memory = np.empty((1, (lines + UNITS) * UNITS + (UNITS + 1) * amx.SIDE), np.int32)
    turned = (address(memory, like) + amx.BYTES - 1) // amx.BYTES * amx.BYTES
    sums = turned + lines * UNITS * _WORD
    copied = sums + UNITS * UNITS * _WORD
    ends = copied if last else 0
    amx.configure()
    for n in range(0, rows, UNITS):
        count, source, place = min(UNITS, rows - n), a + n * a_step, out + n * out_step
        line = amx.BYTES * ((count + amx.SIDE - 1) // amx.SIDE)
        turn_words(source, a_step, turned, line, count, words, 0)
        for i in range(count if rest else 0):
            copy_last(source + i * a_step + words * _WORD, rest, turned + words * line + i * _WORD, 0)
        for j in range(0, columns, UNITS):
            first = min(j, columns - UNITS)
            units = b + first * b_step
            if last:
                _copy_ends(units + whole * amx.BYTES, b_step, last, copied)
            if count <= amx.SIDE:
                tile1(units, b_step, whole, ends, turned, sums)
            else:
                tile2(units, b_step, whole, ends, turned, sums)
            turn_sums(sums, line, place + first * _WORD, out_step, UNITS, count, 0)
    amx.release()
    keep(memory)


@kernel
def amx_int8(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of int8, for 32 columns and more."""
    _cover(_signed1, _signed2, a, a_step, b, b_step, out, out_step, rows, columns, terms)


@kernel
def amx_uint8(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of uint8 and int8, for 32 columns and more."""
    _cover(_unsigned1, _unsigned2, a, a_step, b, b_step, out, out_step, rows, columns, terms)
