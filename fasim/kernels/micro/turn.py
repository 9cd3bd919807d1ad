"""Transposition of matrices of four-byte numbers, a square of vectors at a time, and what is done with them on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.kinds import FLOAT32

_SIDE = FLOAT32.sums.count
_FLOATS, _WORDS = v.vector(v.F32, _SIDE), v.vector(v.I32, _SIDE)
Change = Callable[[v.Value], v.Value]


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


def _vector_at(b: v.Builder, address: v.Value, rows: v.Value, kind: ir.VectorType) -> v.Value:
    """Return the vector of a number for each row at an address, zeros where that is 0."""
    given = v.splat(b, b.icmp_signed("!=", address, v.constant(0)), _SIDE)
    return v.load_masked(b, address, kind, b.and_(v.first_lanes(b, rows, _SIDE), given))


def _plus_bias(b: v.Builder, bias: v.Value, rows: v.Value) -> Change:
    added = _vector_at(b, bias, rows, _FLOATS)
    # -0 + 0 is 0: without a bias nothing is added
    adds = b.icmp_signed("!=", bias, v.constant(0))
    return lambda value: b.select(adds, b.fadd(value, added), value)


def _less_offsets(b: v.Builder, offsets: v.Value, rows: v.Value) -> Change:
    taken = _vector_at(b, offsets, rows, _WORDS)
    return lambda value: b.sub(value, taken)


def _flipped(b: v.Builder, flip: v.Value, rows: v.Value) -> Change:  # noqa: ARG001
    bits = v.splat(b, b.trunc(flip, v.I32), _SIDE)
    return lambda value: b.xor(value, bits)


def _square(kind: ir.VectorType, change: Callable[[v.Builder, v.Value, v.Value], Change], *, whole: bool) -> Any:  # noqa: ANN401
    """Return ``square(source, step, target, target_step, rows, columns, given)`` of addresses, of one square.

    Beyond `rows` and `columns` nothing is read or written, unless the square is `whole`. What is written is changed, as
    `given` says.
    """

    @intrinsic
    def square(_context, source, step, target, target_step, rows, columns, given):
        def codegen(context, b, _signature, arguments):
            source, step, target, target_step, rows, columns, given = arguments
            never = v.zero(v.vector(ir.IntType(1), _SIDE))

            def mask(i: int, limit: v.Value, width: v.Value) -> v.Value:
                exists = b.icmp_signed("<", v.constant(i), limit)
                return b.select(exists, v.first_lanes(b, width, _SIDE), never)

            def at(start: v.Value, each: v.Value, i: int) -> v.Value:
                return b.add(start, b.mul(each, v.constant(i)))

            loaded = []
            for i in range(_SIDE):
                place = at(source, step, i)
                loaded.append(v.load(b, place, kind) if whole else v.load_masked(b, place, kind, mask(i, rows, columns)))
            changed = change(b, given, rows)
            for i, one in enumerate(_turned(b, loaded)):
                if whole:
                    v.store(b, changed(one), at(target, target_step, i))
                else:
                    v.store_masked(b, changed(one), at(target, target_step, i), mask(i, columns, rows))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), codegen

    return square


_whole, _part = (_square(_FLOATS, _plus_bias, whole=whole) for whole in (True, False))
_whole_sums, _part_sums = (_square(_WORDS, _less_offsets, whole=whole) for whole in (True, False))
_whole_words, _part_words = (_square(_WORDS, _flipped, whole=whole) for whole in (True, False))


@njit(inline="always", cache=True)
def _walk(whole, part, source, step, target, target_step, rows, columns, given, given_step):
    """Turn square by square; `given` goes on by so many bytes a row where it is an address, and 0 is none."""
    for r in range(0, rows, _SIDE):
        mine = given + given_step * r if given != 0 else 0
        for c in range(0, columns, _SIDE):
            at, to = source + r * step + 4 * c, target + c * target_step + 4 * r
            if r + _SIDE <= rows and c + _SIDE <= columns:
                whole(at, step, to, target_step, _SIDE, _SIDE, mine)
            else:
                part(at, step, to, target_step, rows - r, columns - c, mine)


@kernel
def turn(source, step, target, target_step, rows, columns, bias):
    """``target[c, r] = source[r, c] + bias[r]``, float32 at addresses, steps in bytes; all int64. No bias where it is 0."""
    _walk(_whole, _part, source, step, target, target_step, rows, columns, bias, 4)


@kernel
def turn_sums(source, step, target, target_step, rows, columns, offsets):
    """``target[c, r] = source[r, c] - offsets[r]``, int32, modulo 2^32, likewise."""
    _walk(_whole_sums, _part_sums, source, step, target, target_step, rows, columns, offsets, 4)


@kernel
def turn_words(source, step, target, target_step, rows, columns, flip):
    """``target[c, r] = source[r, c] ^ flip``, words of 32 bits, likewise; `flip` is the number itself."""
    _walk(_whole_words, _part_words, source, step, target, target_step, rows, columns, flip, 0)
