"""What sums of products can be at most, read off the numbers themselves: the proof that int32 holds a sum.

Formats allow far more than a network holds: weights of 16 bits are a few percent of their range. For any numbers
``|sum_k a[k] b[k]| <= sum_k |a[k]| max_k |b[k]|``, and so is every part of the sum: of terms that follow one another, or of
those that a lane of a dot product adds. The largest of 500 x 784 numbers is found in a twentieth of the time that their
products with 64 samples take, sums of magnitudes in a tenth.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.dot import totals
from fasim.kernels.micro.kinds import INT16
from fasim.kernels.micro.windows import Loop

WINDOW = 1 << 31
"""Sums of smaller magnitude fit into int32."""
PIECE = 32
"""Pairs of terms in a piece of a row."""
LINES = 1 << 14
"""Pairs whose magnitudes int32 surely adds, each of 2^16 at most."""
_LANES = 2 * INT16.sums.count
_VECTORS = 2 * PIECE // _LANES
_NUMBERS = v.vector(v.I16, _LANES)
_SIZE = 2
_ROWS = 4


def _starts(b: v.Builder, source: v.Value, step: v.Value, rows: v.Value) -> list[v.Value]:
    """Return where rows begin; those behind the last repeat it."""
    last = b.sub(rows, v.constant(1))
    numbers = [v.constant(j) for j in range(_ROWS)]
    return [b.add(source, b.mul(step, b.select(b.icmp_signed("<", j, last), j, last))) for j in numbers]


def _larger(b: v.Builder, found: v.Value, x: v.Value) -> v.Value:
    """Return the larger magnitudes as uint16, where that of -2^15 is 2^15."""
    x = v.call(b, f"llvm.abs.v{_LANES}i16", _NUMBERS, [x, ir.Constant(ir.IntType(1), 0)])
    return v.call(b, f"llvm.umax.v{_LANES}i16", _NUMBERS, [found, x])


@intrinsic
def _largest(_context, source, step, rows, terms):
    """Return the largest magnitude in 1 to 4 rows of int16 at an address, the step between them in bytes."""

    def codegen(_context, b, _signature, arguments):
        source, step, rows, terms = arguments
        starts = _starts(b, source, step, rows)
        rest = b.and_(terms, v.constant(_LANES - 1))
        whole = b.mul(b.sub(terms, rest), v.constant(_SIZE))
        loop = Loop(b, "bounds", whole, [v.zero(_NUMBERS)] * _ROWS)
        at, *found = loop.values
        loaded = [v.load(b, b.add(start, at), _NUMBERS) for start in starts]
        found = loop.close(v.constant(_SIZE * _LANES), list(map(_larger, [b] * _ROWS, found, loaded)))
        mask = v.first_lanes(b, rest, _LANES)
        for start in starts:
            found[0] = _larger(b, found[0], v.load_masked(b, b.add(start, whole), _NUMBERS, mask))
        for other in found[1:]:
            found[0] = _larger(b, found[0], other)
        return b.zext(v.call(b, f"llvm.vector.reduce.umax.v{_LANES}i16", v.I16, [found[0]]), v.I64)

    return types.int64(*[types.int64] * 4), codegen


def _added(b: v.Builder, total: v.Value, x: v.Value) -> v.Value:
    """Return ``total[l] + |x[2l]| + |x[2l+1]|``: products with 1 and -1, for no int16 holds the magnitude of -2^15."""
    last, one = (ir.Constant(_NUMBERS, [number] * _LANES) for number in (15, 1))
    return v.dot_words(b, total, x, b.or_(b.ashr(x, last), one), vnni=INT16.vnni)


def _most(b: v.Builder, sums: list[v.Value]) -> v.Value:
    """Return the largest number in vectors of int32, none of them negative."""
    found, *others = sums
    kind = found.type
    for other in others:
        found = v.call(b, f"llvm.umax.v{kind.count}i32", kind, [found, other])
    return b.zext(v.call(b, f"llvm.vector.reduce.umax.v{kind.count}i32", v.I32, [found]), v.I64)


@intrinsic
def _largest_lane(_context, source, step, rows, terms):
    """Return the largest sum of magnitudes in a lane of a dot product, see `lanes_of`, in 1 to 4 rows."""

    def codegen(_context, b, _signature, arguments):
        source, step, rows, terms = arguments
        starts = _starts(b, source, step, rows)
        whole = b.mul(b.and_(terms, v.constant(-_LANES)), v.constant(_SIZE))
        loop = Loop(b, "lanes", whole, [v.zero(INT16.sums)] * _ROWS)
        at, *found = loop.values
        loaded = [v.load(b, b.add(start, at), _NUMBERS) for start in starts]
        return _most(b, loop.close(v.constant(_SIZE * _LANES), list(map(_added, [b] * _ROWS, found, loaded))))

    return types.int64(*[types.int64] * 4), codegen


@intrinsic
def _largest_piece(_context, source, step, rows, terms):
    """Return the largest sum of magnitudes in a piece, see `pieces_of`, of 1 to 4 rows."""

    def codegen(_context, b, _signature, arguments):
        source, step, rows, terms = arguments
        starts = _starts(b, source, step, rows)
        whole = b.mul(b.and_(terms, v.constant(-2 * PIECE)), v.constant(_SIZE))
        places = [v.constant(_SIZE * _LANES * i) for i in range(_VECTORS)]
        quad = v.vector(v.I32, _ROWS)

        def larger(found: v.Value, pieces: list[list[v.Value]]) -> v.Value:
            sums = []
            for vectors in pieces:
                total = v.zero(INT16.sums)
                for x in vectors:
                    total = _added(b, total, x)
                sums.append([total])
            return v.call(b, f"llvm.umax.v{_ROWS}i32", quad, [found, totals(b, sums)])

        loop = Loop(b, "pieces", whole, [v.zero(quad)])
        at, found = loop.values
        pieces = [[v.load(b, b.add(b.add(start, at), place), _NUMBERS) for place in places] for start in starts]
        (found,) = loop.close(v.constant(2 * PIECE * _SIZE), [larger(found, pieces)])
        rest = b.and_(terms, v.constant(2 * PIECE - 1))
        masks = [v.first_lanes(b, b.sub(rest, v.constant(_LANES * i)), _LANES) for i in range(_VECTORS)]
        pieces = [
            [
                v.load_masked(b, b.add(b.add(start, whole), place), _NUMBERS, mask)
                for place, mask in zip(places, masks, strict=True)
            ]
            for start in starts
        ]
        return _most(b, [larger(found, pieces)])

    return types.int64(*[types.int64] * 4), codegen


@njit(inline="always", cache=True)
def _in_rows(largest, b, b_step, rows, terms):
    """Return the largest that is found in any rows, four at a time."""
    found = np.int64(0)
    for j in range(0, rows, _ROWS):
        found = max(found, largest(b + j * b_step, b_step, min(_ROWS, rows - j), terms))
    return found


@njit(inline="always", cache=True)
def largest_of(b, b_step, rows, terms):
    """Return the largest magnitude in rows of int16 at an address, the step between them in bytes."""
    return _in_rows(_largest, b, b_step, rows, terms)


@njit(inline="always", cache=True)
def lanes_of(b, b_step, rows, terms):
    """Return a bound of ``sum |b|`` over what any lane of a dot product adds, in rows of int16 at an address.

    A lane adds a pair of terms out of each vector; which of them that is in the last one, the bound leaves open.
    """
    found = _in_rows(_largest_lane, b, b_step, rows, terms)
    return found if terms % _LANES == 0 else found + 2 * largest_of(b, b_step, rows, terms)


@njit(inline="always", cache=True)
def pieces_of(b, b_step, rows, terms):
    """Return the largest ``sum |b|`` over a piece, 64 terms that follow one another, in rows of int16 at an address."""
    return _in_rows(_largest_piece, b, b_step, rows, terms)


@njit(inline="always", cache=True)
def sums_of(words, lanes, lines, piece, scratch):
    """Return bounds of ``sum |a|`` over any of `lanes` samples: of a piece of so many lines, and of all.

    Each line of `words` holds a pair of int16 for each sample; a piece has at most `LINES`; `scratch` is int32[lanes].
    """
    of_piece, of_all = np.int64(0), np.int64(0)
    for begin in range(0, lines, piece):
        scratch[:] = 0
        for line in range(begin, min(begin + piece, lines)):
            row = words[line * lanes : (line + 1) * lanes]
            for lane in range(lanes):
                low, high = np.int32(np.int16(row[lane])), np.int32(row[lane] >> 16)
                scratch[lane] = np.int32(scratch[lane] + np.int32(abs(low) + abs(high)))
        most = np.int32(0)
        for lane in range(lanes):
            most = max(most, scratch[lane])
        of_piece, of_all = max(of_piece, np.int64(most)), of_all + most
    return of_piece, of_all
