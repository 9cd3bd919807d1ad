"""Products of rows of int16 for a batch in AMX's tiles, exact in int64: ``out[n, j] = sum_k a[n, k] * b[j, k]``.

A number is ``256 high + low`` with low = 0 .. 255 and high = -128 .. 127, a product of two numbers four of bytes, of which
the two in the middle share their sums. Three sums of int32 hold `MOST` terms of any numbers, and nothing need be known of
them; samples of uint8 have no high halves, and two products do. The order of terms is no matter: what is multiplied lies in
pairs of words, of which one gives the first and third byte of a word of halves, the other, 32 terms on, the second and
fourth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro import amx
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.arrays import keep, start
from fasim.kernels.micro.turn import turn_sums, turn_words
from fasim.kernels.micro.turned import copy_last
from fasim.kernels.micro.windows import Loop

MOST = 1 << 15
"""Terms that int32 holds: the sums in the middle grow by up to 2 * 128 * 255 each."""
_TERMS = 64
"""Terms of a tile, two words of 16 pairs."""
_WORD, _LONG, _TILE = 4, 8, 1024
_LOW, _MIDDLE, _HIGH = 0, 1, 2
_B_LOW, _B_HIGH, _A_LOW, _A_HIGH = 4, 5, 6, 7
_LANES = 8
_ABOVE = np.int32(-0x00FF0100)  # bits of the high halves of a pair
_PAIRS, _TOTALS = v.vector(v.I32, amx.SIDE), v.vector(v.I64, _LANES)


def _halves(b: v.Builder, x: v.Value, y: v.Value) -> tuple[v.Value, v.Value]:
    """Return the low and the high halves of two vectors of pairs, byte by byte by turns."""
    low, above, eight = (v.splat(b, v.I32(number), amx.SIDE) for number in (0x00FF00FF, int(_ABOVE), 8))
    lows = b.or_(b.and_(x, low), b.shl(b.and_(y, low), eight))
    highs = b.or_(b.and_(b.lshr(x, eight), low), b.and_(y, above))
    return lows, highs


@intrinsic
def _split_rows(_context, source, step, rows, terms, low, high):
    """Lay the halves of rows of numbers in tiles, 64 terms a row and tile, with zeros behind the last."""

    def codegen(context, b, _signature, arguments):
        source, step, rows, terms, low, high = arguments
        row = Loop(b, "split_rows", rows, [source, low, high])
        _, at, to_low, to_high = row.values
        column = Loop(b, "split_row", terms, [to_low, to_high])
        first, here_low, here_high = column.values
        pairs = []
        for half in range(2):
            begin = b.add(first, v.constant(half * _TERMS // 2))
            mask = v.first_lanes(b, b.sub(terms, begin), _TERMS // 2)
            found = v.load_masked(b, b.add(at, b.mul(begin, v.constant(2))), v.vector(v.I16, _TERMS // 2), mask)
            pairs.append(b.bitcast(found, _PAIRS))
        for value, place in zip(_halves(b, *pairs), (here_low, here_high), strict=True):
            v.store(b, value, place)
        column.close(v.constant(_TERMS), [b.add(place, v.constant(_TILE)) for place in (here_low, here_high)])
        later = [b.add(place, v.constant(amx.BYTES)) for place in (to_low, to_high)]
        row.close(v.constant(1), [b.add(at, step), *later])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), codegen


@intrinsic
def _split_lines(_context, source, tiles, low, high):
    """Lay the halves of lines of pairs in tiles likewise."""

    def codegen(context, b, _signature, arguments):
        source, tiles, low, high = arguments
        tile = Loop(b, "split_lines", tiles, [source, low, high])
        _, at, to_low, to_high = tile.values
        line = Loop(b, "split_line", v.constant(amx.SIDE), [at, to_low, to_high])
        _, here, here_low, here_high = line.values
        x, y = (v.load(b, b.add(here, v.constant(half * _TILE)), _PAIRS) for half in range(2))
        for value, place in zip(_halves(b, x, y), (here_low, here_high), strict=True):
            v.store(b, value, place)
        line.close(v.constant(1), [b.add(place, v.constant(amx.BYTES)) for place in (here, here_low, here_high)])
        later = [b.add(place, v.constant(_TILE)) for place in (to_low, to_high)]
        tile.close(v.constant(1), [b.add(at, v.constant(2 * _TILE)), *later])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


def _forming(*, high: bool) -> Any:  # noqa: ANN401 - Numba has no public type
    """Return ``form(b_low, b_high, a_low, a_high, tiles, out)``: three tiles of sums of 16 units with 16 samples.

    One lies behind the other. Where samples have no high halves, half of the products are left out.
    """

    @intrinsic
    def form(_context, b_low, b_high, a_low, a_high, tiles, out):
        def codegen(context, b, _signature, arguments):
            *places, tiles, out = arguments
            line = v.constant(amx.BYTES)
            for register in (_LOW, _MIDDLE, _HIGH):
                amx.clear(b, register)
            loop = Loop(b, "wide_amx", tiles, places)
            here = loop.values[1:]
            for register, at in zip((_B_LOW, _B_HIGH, _A_LOW, _A_HIGH)[: 4 if high else 3], here, strict=False):
                amx.load(b, register, at, line)
            amx.multiply(b, _LOW, _B_LOW, _A_LOW, "uu")
            if high:
                amx.multiply(b, _MIDDLE, _B_LOW, _A_HIGH, "us")
                amx.multiply(b, _HIGH, _B_HIGH, _A_HIGH, "ss")
            amx.multiply(b, _MIDDLE, _B_HIGH, _A_LOW, "su")
            loop.close(v.constant(1), [b.add(at, v.constant(_TILE)) for at in here])
            for register in (_LOW, _MIDDLE, _HIGH):
                amx.store(b, register, b.add(out, v.constant(_TILE * register)), line)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return form


_form_all, _form_low = (_forming(high=high) for high in (True, False))


@njit(inline="always", cache=True)
def _have_high(pairs):
    """Tell whether any of these numbers is below 0 or above 255."""
    found = np.int32(0)
    for i in range(pairs.size):
        found |= pairs[i] & _ABOVE
    return found != 0


@intrinsic
def _join(_context, sums, out, columns):
    """Write a row of int64 from its three sums, 16 of int32 each, a tile apart; so many columns exist."""

    def codegen(context, b, _signature, arguments):
        sums, out, columns = arguments
        parts = [v.load(b, b.add(sums, v.constant(_TILE * part)), _PAIRS) for part in range(3)]
        for half in range(0, amx.SIDE, _LANES):
            lanes = list(range(half, half + _LANES))
            low, middle, high = (b.sext(v.shuffle(b, part, part, lanes), _TOTALS) for part in parts)
            eight, sixteen = (v.splat(b, v.I64(bits), _LANES) for bits in (8, 16))
            total = b.add(low, b.add(b.shl(middle, eight), b.shl(high, sixteen)))
            mask = v.first_lanes(b, b.sub(columns, v.constant(half)), _LANES)
            v.store_masked(b, total, b.add(out, v.constant(_LONG * half)), mask)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), codegen


@kernel
def amx_wide(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of int16 in int64 at addresses, steps in bytes; `MOST` terms at most."""
    tiles, pairs, rest = (terms + _TERMS - 1) // _TERMS, terms // 2, 2 * (terms % 2)
    bands = (rows + amx.SIDE - 1) // amx.SIDE
    size, line = tiles * _TILE // _WORD, amx.BYTES
    # halves of all samples and of 16 units, pairs of 16 samples, sums and sums turned
    memory = np.empty(2 * bands * size + 2 * size + 2 * size + 6 * _TILE // _WORD + amx.SIDE, np.int32)
    begin = (-start(memory) % amx.BYTES) // _WORD
    halves = start(memory[begin:])
    apart = size * _WORD
    b_low = halves + 2 * bands * apart
    turned = memory[begin + 2 * (bands + 1) * size : begin + 2 * (bands + 2) * size]
    begin += 2 * (bands + 2) * size
    sums = start(memory[begin:])
    found = sums + 3 * _TILE
    turned[:] = 0
    high = np.empty(bands, np.bool_)
    for band in range(bands):
        first = band * amx.SIDE
        count, source, to = min(amx.SIDE, rows - first), a + first * a_step, start(turned)
        turn_words(source, a_step, to, line, count, pairs, 0)
        for i in range(count if rest else 0):
            copy_last(source + i * a_step + pairs * _WORD, rest, to + pairs * line + i * _WORD, 0)
        high[band] = _have_high(turned)
        _split_lines(to, tiles, halves + 2 * band * apart, halves + (2 * band + 1) * apart)
    amx.configure()
    for j in range(0, columns, amx.SIDE):
        here = min(amx.SIDE, columns - j)
        _split_rows(b + j * b_step, b_step, here, terms, b_low, b_low + apart)
        for band in range(bands):
            first = band * amx.SIDE
            low = halves + 2 * band * apart
            if high[band]:
                _form_all(b_low, b_low + apart, low, low + apart, tiles, sums)
            else:
                _form_low(b_low, b_low + apart, low, low + apart, tiles, sums)
            for part in range(3):
                turn_sums(sums + part * _TILE, line, found + part * _TILE, line, amx.SIDE, amx.SIDE, 0)
            for i in range(min(amx.SIDE, rows - first)):
                _join(found + i * line, out + (first + i) * out_step + j * _LONG, here)
    amx.release()
    keep(memory)
