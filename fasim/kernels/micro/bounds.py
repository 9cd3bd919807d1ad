"""What sums of products can be at most, read off the numbers themselves: the proof that int32 holds a sum.

Formats allow far more than a network holds: weights of 16 bits are a few percent of their range. For any numbers
``|sum_k a[k] b[k]| <= sum_k |a[k]| max_k |b[k]|``, and so is every part of the sum. The largest of 500 x 784 numbers is
found in a twentieth of the time that their products with 64 samples take.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.kinds import INT16
from fasim.kernels.micro.windows import Loop

WINDOW = 1 << 31
"""Sums of smaller magnitude fit into int32."""
_LANES = 2 * INT16.sums.count
_NUMBERS = v.vector(v.I16, _LANES)
_SIZE = 2
_ROWS = 4


def _larger(b: v.Builder, found: v.Value, x: v.Value) -> v.Value:
    """Return the larger magnitudes as uint16, where that of -2^15 is 2^15."""
    x = v.call(b, f"llvm.abs.v{_LANES}i16", _NUMBERS, [x, ir.Constant(ir.IntType(1), 0)])
    return v.call(b, f"llvm.umax.v{_LANES}i16", _NUMBERS, [found, x])


@intrinsic
def _largest(_context, source, step, rows, terms):
    """Return the largest magnitude in 1 to 4 rows of int16 at an address, the step between them in bytes."""

    def codegen(_context, b, _signature, arguments):
        source, step, rows, terms = arguments
        last = b.sub(rows, v.constant(1))
        numbers = [v.constant(j) for j in range(_ROWS)]
        places = [b.select(b.icmp_signed("<", number, last), number, last) for number in numbers]
        starts = [b.add(source, b.mul(step, place)) for place in places]
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


@njit(inline="always", cache=True)
def largest_of(b, b_step, rows, terms):
    """Return the largest magnitude in rows of int16 at an address, the step between them in bytes."""
    found = np.int64(0)
    for j in range(0, rows, _ROWS):
        found = max(found, _largest(b + j * b_step, b_step, min(_ROWS, rows - j), terms))
    return found


@njit(inline="always", cache=True)
def sums_of(words, lanes, lines, piece, scratch):
    """Return bounds of ``sum |a|`` over any of `lanes` samples: of a piece of so many lines, and of all.

    Each line of `words` holds a pair of int16 for each sample; `scratch` is int32[lanes].
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
