"""Register tiles of int16 dot products whose sums are int64: as those of `dot`, exact where int32 does not hold a sum.

Lanes of a tile are int32 and are widened before they are added. A lane adds few of the K products: K terms are two in each
of K / 32 steps (16 in AVX2), so that it holds products up to 2^23 for less than 4096 terms (2048). Any int16 is brought to
such products by splitting A: ``a = 256 high + low`` with low = 0 .. 255 and high = -128 .. 127, each multiplied by itself.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.dot import Kind, Tile, totals

_QUAD = 4
_BYTE = 8


class _WideTile(Tile):
    """Writes a tile; its sums lie as [row][column], or split as [row][column][low, high]."""

    def __init__(self, b: v.Builder, kind: Kind, shape: tuple[int, int], *, split: bool) -> None:
        super().__init__(b, kind, shape, "none")
        self.halves = 2 if split else 1

    @property
    def count(self) -> int:
        """Return how many vectors of sums the tile holds."""
        return self.rows * self.columns * self.halves

    def split(self, x: v.Value) -> list[v.Value]:
        """Return what is multiplied of a vector of A."""
        if self.halves == 1:
            return [x]
        low = self.b.and_(x, ir.Constant(x.type, [2**_BYTE - 1] * x.type.count))
        return [low, self.b.ashr(x, ir.Constant(x.type, [_BYTE] * x.type.count))]

    def step(
        self, sums: list[v.Value], left: list[v.Value], right: list[v.Value], rest: v.Value | None = None
    ) -> list[v.Value]:
        """Add one step of all rows."""
        ys = [self.load(start, 0, rest) for start in right]
        new = []
        for i, start in enumerate(left):
            xs = self.split(self.load(start, 0, rest))
            for j, y in enumerate(ys):
                place = (i * self.columns + j) * self.halves
                new += [self.multiply(sums[place + half], x, y) for half, x in enumerate(xs)]
        return new

    def widened(self, total: v.Value) -> v.Value:
        """Return the sums of an even lane and the next in int64."""
        b, wide = self.b, v.vector(v.I64, total.type.count // 2)
        both = b.bitcast(total, wide)
        half = ir.Constant(wide, [32] * wide.count)
        return b.add(b.ashr(b.shl(both, half), half), b.ashr(both, half))

    def store(
        self, sums: list[v.Value], out: v.Value, step: v.Value, limits: tuple[v.Value, v.Value], *end: v.Value
    ) -> None:
        """Reduce the sums to int64 and store those of the first rows and columns, or add them to what lies there."""
        b, (fresh,) = self.b, end
        keep = v.splat(b, b.icmp_signed("==", fresh, v.constant(0)), _QUAD)
        for i in range(self.rows):
            row = b.add(out, b.mul(step, v.constant(i)))
            width = b.select(b.icmp_signed("<", v.constant(i), limits[0]), limits[1], v.constant(0))
            for first in range(0, self.columns, _QUAD):
                chosen = range(first, min(first + _QUAD, self.columns))
                group = []
                for j in chosen:
                    place = (i * self.columns + j) * self.halves
                    total, *high = [self.widened(one) for one in sums[place : place + self.halves]]
                    if high:
                        total = b.add(total, b.shl(high[0], ir.Constant(total.type, [_BYTE] * total.type.count)))
                    group.append([total])
                total = totals(b, group)
                most, left = v.constant(len(chosen)), b.sub(width, v.constant(first))
                mask = v.first_lanes(b, b.select(b.icmp_signed("<", left, most), left, most), _QUAD)
                place = b.add(row, v.constant(_BYTE * first))
                old = v.load_masked(b, place, total.type, b.and_(mask, keep))
                v.store_masked(b, b.add(total, old), place, mask)


def wide_tile(kind: Kind, rows: int, columns: int, *, split: bool) -> Any:  # noqa: ANN401 - Numba has no public type
    """Return a function for compiled code that forms the int64 sums of a tile of int16 products.

    Called as ``tile(a, a_step, b, b_step, terms, out, out_step, rows, columns, fresh)``; see `dot.dot_tile`. The caller
    keeps every lane within int32 (the module says how).

    Parameters
    ----------
    kind : Kind
        Of int16.
    rows, columns : int
        Shape of the tile.
    split : bool
        Whether A is split, for products of up to 2^30.
    """

    @intrinsic
    def tile(_context, a, a_step, b, b_step, terms, out, out_step, rows_here, columns_here, fresh):
        def codegen(context, builder, _signature, arguments):
            a, a_step, b, b_step, terms, out, out_step, rows_here, columns_here, fresh = arguments
            writer = _WideTile(builder, kind, (rows, columns), split=split)
            left = writer.starts(a, a_step, rows, rows_here)
            right = writer.starts(b, b_step, columns, columns_here)
            sums = writer.all_sums(left, right, terms)
            writer.store(sums, out, out_step, (rows_here, columns_here), fresh)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), codegen

    return tile
