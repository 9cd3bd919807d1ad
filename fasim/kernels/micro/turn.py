"""Transposition of float32 matrices, a square of vectors at a time."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.kinds import FLOAT32

_VECTOR = FLOAT32.sums
_SIDE = _VECTOR.count


def _turned(b: v.Builder, rows: list[v.Value]) -> list[v.Value]:
    """Exchange ever larger blocks across the diagonal: 64 shuffles for 16 x 16."""
    lanes = range(_SIDE)
    for width in (w for w in (1, 2, 4, 8) if w < _SIDE):
        low = [lane if not lane & width else _SIDE + lane - width for lane in lanes]
        high = [lane + width if not lane & width else _SIDE + lane for lane in lanes]
        for i in (i for i in lanes if not i & width):
            x, y = rows[i], rows[i + width]
            rows[i], rows[i + width] = v.shuffle(b, x, y, low), v.shuffle(b, x, y, high)
    return rows


def _square(*, whole: bool) -> Any:  # noqa: ANN401 - Numba has no public type
    """Return ``square(source, step, target, target_step, rows, columns, bias)`` of addresses, of one square.

    Beyond `rows` and `columns` nothing is read or written, unless the square is `whole`. Where `bias` is not 0, the vector
    at that address is added to each row that is written.
    """

    @intrinsic
    def square(_context, source, step, target, target_step, rows, columns, bias):
        def codegen(context, b, _signature, arguments):
            source, step, target, target_step, rows, columns, bias = arguments
            never = v.zero(v.vector(ir.IntType(1), _SIDE))

            def mask(i: int, limit: v.Value, width: v.Value) -> v.Value:
                exists = b.icmp_signed("<", v.constant(i), limit)
                return b.select(exists, v.first_lanes(b, width, _SIDE), never)

            def at(start: v.Value, each: v.Value, i: int) -> v.Value:
                return b.add(start, b.mul(each, v.constant(i)))

            loaded = []
            for i in range(_SIDE):
                place = at(source, step, i)
                one = v.load(b, place, _VECTOR) if whole else v.load_masked(b, place, _VECTOR, mask(i, rows, columns))
                loaded.append(one)
            adds = b.icmp_signed("!=", bias, v.constant(0))
            valid = b.and_(v.first_lanes(b, rows, _SIDE), v.splat(b, adds, _SIDE))
            added = v.load_masked(b, bias, _VECTOR, valid)
            for i, one in enumerate(_turned(b, loaded)):
                total = b.select(adds, b.fadd(one, added), one)
                if whole:
                    v.store(b, total, at(target, target_step, i))
                else:
                    v.store_masked(b, total, at(target, target_step, i), mask(i, columns, rows))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), codegen

    return square


_whole, _part = _square(whole=True), _square(whole=False)


@kernel
def turn(source, step, target, target_step, rows, columns, bias):
    """``target[c, r] = source[r, c] + bias[r]``, float32 at addresses, steps in bytes; all int64. No bias where it is 0."""
    for r in range(0, rows, _SIDE):
        for c in range(0, columns, _SIDE):
            at, to = source + r * step + 4 * c, target + c * target_step + 4 * r
            add = bias + 4 * r if bias != 0 else 0
            if r + _SIDE <= rows and c + _SIDE <= columns:
                _whole(at, step, to, target_step, _SIDE, _SIDE, add)
            else:
                _part(at, step, to, target_step, rows - r, columns - c, add)
