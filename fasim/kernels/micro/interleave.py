"""Groups of short integers side by side: what the products of pairs and quads along K take.

An ``@intrinsic``, called as ``tile(source, step, rows, target, columns, flip)``: number ``c`` of `target` (32 bits each)
gets the elements ``c`` of 2 rows of words or 4 of bytes, each XOR `flip`, row g at ``source + g step`` (int64, bytes) in
the g-th lowest bits, and 0 for rows from number `rows` on, which are not read. Compiled loops over rows that may overlap
take three times as long.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.kinds import INT16
from fasim.kernels.micro.windows import Loop

_LANES = INT16.sums.count
_WORD = 4


def grouped(
    b: v.Builder,
    group: int,
    rows: list[v.Value],
    exist: list[v.Value],
    mask: v.Value | None,
    lanes: int = _LANES,
) -> v.Value:
    """Return the next numbers of the rows as one vector."""
    bits = 32 // group
    wide, total = v.vector(v.I32, lanes), v.zero(v.vector(v.I32, lanes))
    for g, at in enumerate(rows):
        kind = v.vector(ir.IntType(bits), lanes)
        every = v.splat(b, exist[g], lanes)
        loaded = v.load_masked(b, at, kind, every if mask is None else b.and_(every, mask))
        total = b.or_(total, b.shl(b.zext(loaded, wide), ir.Constant(wide, [bits * g] * lanes)))
    return total


def _flipped(b: v.Builder, group: int, exist: list[v.Value], flip: v.Value) -> v.Value:
    """Return a number in the place of each row that exists, in all lanes."""
    total = ir.Constant(v.I32, 0)
    for g, there in enumerate(exist):
        one = b.shl(b.trunc(flip, v.I32), ir.Constant(v.I32, 32 // group * g))
        total = b.or_(total, b.select(there, one, ir.Constant(v.I32, 0)))
    return v.splat(b, total, _LANES)


def interleaver(group: int) -> Any:  # noqa: ANN401 - Numba has no public type
    """Return the function for groups of 4 bytes or 2 words."""
    size = _WORD // group

    @intrinsic
    def tile(_context, source, step, rows, target, columns, flip):
        def codegen(context, b, _signature, arguments):
            source, step, rows, target, columns, flip = arguments
            starts = [b.add(source, b.mul(step, v.constant(g))) for g in range(group)]
            exist = [b.icmp_signed("<", v.constant(g), rows) for g in range(group)]
            turned = _flipped(b, group, exist, flip)
            rest = b.and_(columns, v.constant(_LANES - 1))
            loop = Loop(b, "interleave", b.sub(columns, rest), [])
            at = b.mul(loop.values[0], v.constant(size))
            value = grouped(b, group, [b.add(start, at) for start in starts], exist, None)
            v.store(b, b.xor(value, turned), b.add(target, b.mul(loop.values[0], v.constant(_WORD))))
            loop.close(v.constant(_LANES), [])
            with b.if_then(b.icmp_signed(">", rest, v.constant(0))):
                done = b.sub(columns, rest)
                at, mask = b.mul(done, v.constant(size)), v.first_lanes(b, rest, _LANES)
                value = grouped(b, group, [b.add(start, at) for start in starts], exist, mask)
                v.store_masked(b, b.xor(value, turned), b.add(target, b.mul(done, v.constant(_WORD))), mask)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return tile
