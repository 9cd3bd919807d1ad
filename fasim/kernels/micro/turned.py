"""Products of rows with rows for a batch, formed as outer products of columns: ``out[n, j] = sum_k a[n, k] * b[j, k]``.

For one sample, dot products read weights as fast as memory gives them. For many, broadcast tiles are faster: they take
numbers of B as they lie and vectors of samples, A being turned first, and bring the registers to their peak. With 64
samples of 1000 float32 and 1000 units they reach 0.85 of it, dot products 0.5 (rows of 4000 bytes lie on two lines each).
Integers go the same way as words of 32 bits, pairs of int16 or quads of bytes that lie side by side along K.

Each product takes addresses and steps between rows in bytes, all int64. Sums are formed k ascending, whatever else there is
in `a` and `b`: float32 by fused multiply-adds from 0, integers modulo 2^32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.arrays import address, keep
from fasim.kernels.micro.blocks import block_length
from fasim.kernels.micro.broadcast import STORED, broadcast_tile
from fasim.kernels.micro.dot import Kind, dot_tile
from fasim.kernels.micro.kinds import FLOAT32, INT8, INT16, VNNI, WIDE
from fasim.kernels.micro.turn import turn, turn_sums, turn_words

_LANES = FLOAT32.sums.count
_VECTORS = 4 if WIDE else 2
SAMPLES = _VECTORS * _LANES
_WORD = 4
_STEP = _WORD * SAMPLES
_ALIGNMENT = 64
# Units whose sums lie in the first-level cache until they are turned: a multiple of the units of every tile
BAND = 48
# So many terms of 64 samples stay in the second-level cache (768 KB). Longer rows come in blocks, for more units at once
_TERMS, _LONG_BAND = 3072, 240
# Words of integers that stay in the first-level cache beside the sums of a band: 3 to 5 % faster for 64 x 784 x 500, while
# float32 gains nothing
INTEGER_TERMS = 128
_OFFSETS = 8
_FLIP = 0x80808080

# Units of the tiles of 1, 2, 3 and 4 vectors: as many sums as the registers hold beside what is multiplied
_UNITS = (24, 12, 8, 6) if WIDE else (12, 6, 6, 6)
INTEGER_UNITS = _UNITS if WIDE else (8, 4, 4, 4)
MOST = _UNITS[0]
_ONE = (1, 1, 1, 1)


def _tiles(kind: Kind, units: tuple[int, ...]) -> tuple[Any, ...]:
    """Return a tile for each number of vectors."""
    return tuple(broadcast_tile(kind, u, min(i + 1, _VECTORS), STORED, whole=True, ahead=True) for i, u in enumerate(units))


_float1, _float2, _float3, _float4 = _tiles(FLOAT32, _UNITS)
_float_one1, _float_one2, _float_one3, _float_one4 = _tiles(FLOAT32, _ONE)
pairs1, pairs2, pairs3, pairs4 = _tiles(INT16, INTEGER_UNITS)
pairs_one1, pairs_one2, pairs_one3, pairs_one4 = _tiles(INT16, _ONE)
# B's bytes are broadcast, so that A's, in vectors, are the unsigned ones. Without VNNI these are never called
_BYTES = INT8 if VNNI else INT16
_quads1, _quads2, _quads3, _quads4 = _tiles(_BYTES, INTEGER_UNITS)
_quads_one1, _quads_one2, _quads_one3, _quads_one4 = _tiles(_BYTES, _ONE)
_offsets = dot_tile(INT8 if VNNI else INT16, 1, _OFFSETS, "only" if VNNI else "none")


@intrinsic
def copy_last(_context, source, count, target, flip):
    """Copy the last 1 .. 3 bytes of a row, as a word that ends with zeros, changed by `flip`."""

    def codegen(context, b, _signature, arguments):
        source, count, target, flip = arguments
        loaded = v.load_masked(b, source, v.vector(v.I8, _WORD), v.first_lanes(b, count, _WORD))
        v.store(b, b.xor(b.bitcast(loaded, v.I32), b.trunc(flip, v.I32)), target)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic
def _ask(_context, address):
    """Ask for the cache line of an address, to be written."""

    def codegen(context, b, _signature, arguments):
        v.prefetch(b, arguments[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@njit(inline="always", cache=True)
def form_sums(tile, one, each, most, turned, line, b, b_step, ends, sums, fresh, first, here, words, rest, out):
    """Form the sums of a band of units, or add to them where not `fresh`, block by block of K, of up to `most` words.

    The last tile takes the last units that there are, some of them again, to lines of its own. Meanwhile the lines of `out`
    (address, step, how many, 0 for none, bytes of a number) are asked for, and what the next band takes of B: 0.65 -> 0.83
    of the peak of float32 for 64 x 1000 x 1000 where they are not in the second-level cache, 0.44 -> 0.7 for int8.
    """
    to, to_step, samples, size = out
    columns, few = line // _WORD, first + here < each
    length = block_length(words, most, 1)
    blocks = max((words + length - 1) // length, 1)
    for block in range(blocks + min(rest, 1)):
        start, begun = block * length, np.int64(fresh and block == 0)
        left, step, right, count = b + start * _WORD, b_step, turned + start * line, min(length, words - start)
        if block == blocks:
            left, step, right, count = ends, _WORD, turned + words * line, 1
        for j in range(here if few else 0):
            at, given = left + (first + j) * step, (sums + j * line, line, begun, left, 0)
            one(at, step, _WORD, right, line, count, 1, columns, given)
        soon, soon_step = BAND * step, each * step // max(count, 1)
        for j in range(0, 0 if few else here, each):
            if begun:
                for n in range(j * samples // here, min(j + each, here) * samples // here):
                    for c in range(0, here * size, _ALIGNMENT):
                        _ask(to + n * to_step + c)
            at = left + (first + min(j, here - each)) * step
            tile(at, step, _WORD, right, line, count, each, columns, (sums + j * line, line, begun, at + soon, soon_step))


@njit(inline="always", cache=True)
def spread(turn_out, sums, line, to, to_step, first, here, each, samples, given):
    """Turn the sums of a band of units, whose last ones may lie behind lines of units that were formed again."""
    again = 0 if first + here < each else -here % each
    whole = here - here % each if again else here
    turn_out(sums, line, to, to_step, whole, samples, given)
    if again:
        given += whole * _WORD if given != 0 else 0
        turn_out(sums + (whole + again) * line, line, to + whole * _WORD, to_step, here - whole, samples, given)


@njit(inline="always", cache=True)
def _cover(
    tiles, ones, units, turn_a, turn_out, signed, size, flip,
    a, a_step, b, b_step, bias, out, out_step, rows, columns, terms,
):  # fmt: skip
    """Turn so many samples, form their sums for a band of units after the other, and turn these."""
    tile1, tile2, tile3, tile4 = tiles
    one1, one2, one3, one4 = ones
    words, rest = terms * size // _WORD, terms * size % _WORD
    most = INTEGER_TERMS if size < _WORD else _TERMS
    band = BAND if words <= most or size < _WORD else _LONG_BAND
    like = np.float32(0)
    length = (words + 1 + band + MOST) * SAMPLES
    memory = np.empty((1, length + columns + band + (_ALIGNMENT + _OFFSETS * _WORD) // _WORD), np.float32)
    turned = (address(memory, like) + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
    sums, ends = turned + (words + 1) * _STEP, turned + length * _WORD
    offsets = ends + columns * _WORD
    for j in range(columns if rest else 0):
        copy_last(b + j * b_step + words * _WORD, rest, ends + j * _WORD, 0)
    for n in range(0, rows, SAMPLES):
        count = min(SAMPLES, rows - n)
        vectors = (count + _LANES - 1) // _LANES
        each = units[vectors - 1]
        line, source = vectors * _LANES * _WORD, a + n * a_step
        if size == _WORD and count % _LANES:
            # lanes without a sample: what lies there might be subnormal, and slow
            memory[:, : (words + 1) * SAMPLES] = 0
        turn_a(source, a_step, turned, line, count, words, flip)
        for i in range(count if rest else 0):
            copy_last(source + i * a_step + words * _WORD, rest, turned + words * line + i * _WORD, flip)
        for first in range(0, columns, band):
            here, to = min(band, columns - first), out + n * out_step + first * _WORD
            end = to, out_step, count, _WORD
            if vectors == 1:
                form_sums(tile1, one1, each, most, turned, line, b, b_step, ends, sums, True, first, here, words, rest, end)
            elif vectors == 2:
                form_sums(tile2, one2, each, most, turned, line, b, b_step, ends, sums, True, first, here, words, rest, end)
            elif vectors == 3:
                form_sums(tile3, one3, each, most, turned, line, b, b_step, ends, sums, True, first, here, words, rest, end)
            else:
                form_sums(tile4, one4, each, most, turned, line, b, b_step, ends, sums, True, first, here, words, rest, end)
            given = bias + first * _WORD if bias != 0 else 0
            if signed:
                given = offsets
                for i in range(0, here, _OFFSETS):
                    _offsets(b, 0, b + (first + i) * b_step, b_step, terms, offsets + i * _WORD, 0, 1, here - i, 1, 0)
            spread(turn_out, sums, line, to, out_step, first, here, each, count, given)
    keep(memory)


@kernel
def turned_float32(a, a_step, b, b_step, bias, out, out_step, rows, columns, terms):
    """``out = a b^T + bias`` of float32, the bias in memory side by side; none where its address is 0."""
    _cover(
        (_float1, _float2, _float3, _float4), (_float_one1, _float_one2, _float_one3, _float_one4),
        _UNITS, turn, turn, False, 4, 0,
        a, a_step, b, b_step, bias, out, out_step, rows, columns, terms,
    )  # fmt: skip


@kernel
def turned_int16(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of int16."""
    _cover(
        (pairs1, pairs2, pairs3, pairs4), (pairs_one1, pairs_one2, pairs_one3, pairs_one4),
        INTEGER_UNITS, turn_words, turn_sums, False, 2, 0,
        a, a_step, b, b_step, 0, out, out_step, rows, columns, terms,
    )  # fmt: skip


@kernel
def turned_int8(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of int8: A's are multiplied with 128 added, which is taken off again. Needs VNNI."""
    _cover(
        (_quads1, _quads2, _quads3, _quads4), (_quads_one1, _quads_one2, _quads_one3, _quads_one4),
        INTEGER_UNITS, turn_words, turn_sums, True, 1, _FLIP,
        a, a_step, b, b_step, 0, out, out_step, rows, columns, terms,
    )  # fmt: skip


@kernel
def turned_uint8(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of uint8 and int8. Needs VNNI."""
    _cover(
        (_quads1, _quads2, _quads3, _quads4), (_quads_one1, _quads_one2, _quads_one3, _quads_one4),
        INTEGER_UNITS, turn_words, turn_sums, False, 1, 0,
        a, a_step, b, b_step, 0, out, out_step, rows, columns, terms,
    )  # fmt: skip
