"""Register tiles that add products to registers of limited width, each addition brought into range.

Registers, sources and factors lie as `fasim.kernels.proven` packs them: sources as pairs of int16 for terms 2p and 2p + 1
of each column, factors likewise for each row, int64 registers with factors in two parts, ``256 high + low``.

Two functions for compiled code, of addresses and sizes, all int64:

- ``advance(...)`` adds some pairs at once, exactly, where no addition can leave the range: a prefix of the additions is as
  far from the mean of a register's ends, before and after, as half of ``sum_k |factor_k| * most`` at most. It returns a bit
  for each row and vector of which this is not known, and leaves their registers as they were
- ``one_by_one(...)`` brings registers of a row into range after each addition, and returns how many left it
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.kinds import INT16, WIDE
from fasim.kernels.micro.windows import Loop
from fasim.scalar.rounding import NUMERIC_STD, SAT, SAT_SYM, SAT_ZERO, WRAP
from fasim.scalar.target import TARGET

LANES = INT16.sums.count
_SUMS = INT16.sums
_PAIR, _BYTE = 4, 8
SHAPES = {32: (4, 4), 64: (2, 4)} if WIDE else {32: (4, 2), 64: (2, 2)}
"""Rows and vectors of a tile by the bits of its registers: 16 sums of 32 registers, or 8 of 16."""
NARROW_ROWS = {32: 8, 64: 4} if WIDE else {32: 4, 64: 2}
"""Rows of a tile that is one vector wide."""


def _splat(b: v.Builder, value: v.Value, kind: ir.VectorType) -> v.Value:
    """Return an int64 in all lanes."""
    element = kind.element
    return v.splat(b, value if element == v.I64 else b.trunc(value, element), kind.count)


def _dot(b: v.Builder, total: v.Value, source: v.Value, factor: v.Value) -> v.Value:
    """Add two products to each lane."""
    if TARGET != "portable":
        words = v.vector(v.I16, 2 * LANES)
        return v.dot_words(b, total, b.bitcast(source, words), b.bitcast(factor, words), vnni=INT16.vnni)
    half = ir.Constant(_SUMS, [16] * LANES)
    low = b.mul(*(b.ashr(b.shl(pair, half), half) for pair in (source, factor)))
    high = b.mul(*(b.ashr(pair, half) for pair in (source, factor)))
    return b.add(total, b.add(low, high))


def _joined(b: v.Builder, parts: list[v.Value], kind: ir.VectorType) -> v.Value:
    """Return ``256 high + low`` (or what is there alone) in the type of registers."""
    total, *high = [part if part.type == kind else b.sext(part, kind) for part in parts]
    return b.add(total, b.shl(high[0], ir.Constant(kind, [_BYTE] * LANES))) if high else total


def tile(bits: int, rows: int, vectors: int) -> Any:  # noqa: ANN401 - Numba has no public type
    """Return ``advance`` for registers of so many bits, a tile of rows and vectors.

    Called as ``advance(registers, register_step, factors, factor_step, part_step, sources, source_step, pairs, sums,
    sum_step, most, lo, hi, limit)``: `sums` leads to the int64 ``sum_k |factor_k|`` of the first row, `sum_step` to the
    next; a bound above `limit` is none. Bit ``row * vectors + vector`` of what is returned.
    """
    kind = v.vector(ir.IntType(bits), LANES)
    parts = 1 if bits == _SUMS.element.width else 2
    size = bits // 8 * LANES

    @intrinsic
    def advance(
        _context, registers, register_step, factors, factor_step, part_step, sources, source_step, pairs, sums, sum_step,
        most, lo, hi, limit,
    ):  # fmt: skip
        def codegen(_context, b, _signature, arguments):
            registers, register_step, factors, factor_step, part_step, sources, source_step, pairs = arguments[:8]
            sums, sum_step, most, lo, hi, limit = arguments[8:]
            places = [
                b.add(b.add(registers, b.mul(register_step, v.constant(r))), v.constant(size * c))
                for r in range(rows)
                for c in range(vectors)
            ]
            starts = [
                b.add(b.add(factors, b.mul(factor_step, v.constant(r))), b.mul(part_step, v.constant(part)))
                for r in range(rows)
                for part in range(parts)
            ]
            begun = [v.load(b, at, kind) if parts == 1 else v.zero(_SUMS) for at in places for _ in range(parts)]
            loop = Loop(b, "advance", pairs, [sources, *begun])
            pair, line, *totals = loop.values
            near = [v.load(b, b.add(line, v.constant(_PAIR * LANES * c)), _SUMS) for c in range(vectors)]
            new = []
            for r in range(rows):
                mine = starts[r * parts : (r + 1) * parts]
                given = [
                    v.splat(b, v.load(b, b.add(start, b.mul(pair, v.constant(_PAIR))), v.I32), LANES) for start in mine
                ]
                for c, source in enumerate(near):
                    first = (r * vectors + c) * parts
                    new += [_dot(b, totals[first + part], source, factor) for part, factor in enumerate(given)]
            _, *totals = loop.close(v.constant(1), [b.add(line, source_step), *new])

            ends, beyond, tests = [], [], []
            for r in range(rows):
                bound = b.mul(v.load(b, b.add(sums, b.mul(sum_step, v.constant(r))), v.I64), most)
                # of the sum of both ends, which lies in 2 lo + bound .. 2 hi - bound
                least = b.add(b.shl(lo, v.constant(1)), bound)
                count = b.add(b.sub(b.sub(b.shl(hi, v.constant(1)), bound), least), v.constant(1))
                known = b.and_(b.icmp_signed("<=", bound, limit), b.icmp_signed(">", count, v.constant(0)))
                least, count = (_splat(b, value, kind) for value in (least, b.select(known, count, v.constant(0))))
                farthest = None
                for c in range(vectors):
                    place = r * vectors + c
                    old = v.load(b, places[place], kind)
                    end = _joined(b, totals[place * parts : (place + 1) * parts], kind)
                    end = end if parts == 1 else b.add(old, end)
                    far = b.sub(b.add(old, end), least)
                    ends.append(end)
                    beyond.append((far, count))
                    farthest = far if farthest is None else b.select(b.icmp_unsigned(">", far, farthest), far, farthest)
                tests.append(b.icmp_unsigned("<", farthest, count))
            all_inside = tests[0]
            for test in tests[1:]:
                all_inside = b.and_(all_inside, test)
            mask = ir.IntType(LANES)
            full = ir.Constant(mask, -1)
            missing = cgutils.alloca_once_value(b, v.constant(0))
            b.store(v.constant(0), missing)
            with b.if_else(b.icmp_signed("==", b.bitcast(all_inside, mask), full), likely=True) as (proven, other):
                with proven:
                    for at, end in zip(places, ends, strict=True):
                        v.store(b, end, at)
                with other:
                    for place, (at, end, (far, count)) in enumerate(zip(places, ends, beyond, strict=True)):
                        inside = b.icmp_signed("==", b.bitcast(b.icmp_unsigned("<", far, count), mask), full)
                        old = v.load(b, at, kind)
                        v.store(b, b.select(inside, end, old), at)
                        bit = b.select(inside, v.constant(0), v.constant(1 << place))
                        b.store(b.or_(b.load(missing), bit), missing)
            return b.load(missing)

        return types.int64(*[types.int64] * 14), codegen

    return advance


def _brought(b: v.Builder, mode: int, value: v.Value, lo: v.Value, hi: v.Value) -> v.Value:
    """Return registers in range, `fasim.scalar.rounding.overflow` of vectors."""
    if mode == WRAP:
        return b.add(lo, b.and_(b.sub(value, lo), b.sub(hi, lo)))
    if mode == NUMERIC_STD:
        sign = b.icmp_signed("<", value, v.zero(value.type))
        return b.add(b.and_(value, hi), b.select(sign, lo, v.zero(value.type)))
    inside = b.select(b.icmp_signed(">", value, lo), value, lo)
    inside = b.select(b.icmp_signed("<", inside, hi), inside, hi)
    if mode == SAT_ZERO:
        return b.select(b.icmp_signed("==", inside, value), value, v.zero(value.type))
    return inside


def single(bits: int, vectors: int) -> Any:  # noqa: ANN401
    """Return ``one_by_one`` for so many vectors of registers of so many bits.

    Called as ``one_by_one(registers, factors, part_step, sources, source_step, pairs, lo, hi, mode)`` for one row.
    """
    kind = v.vector(ir.IntType(bits), LANES)
    parts = 1 if bits == _SUMS.element.width else 2
    size = bits // 8 * LANES

    @intrinsic
    def one_by_one(_context, registers, factors, part_step, sources, source_step, pairs, lo, hi, mode):
        def pair_at(b, at, part_step):
            pair = v.load(b, at, v.I32)
            if parts == 1:
                return pair
            high = b.shl(v.load(b, b.add(at, part_step), v.I32), ir.Constant(v.I32, _BYTE))
            return b.or_(pair, b.and_(high, ir.Constant(v.I32, 0xFF00FF00)))

        def codegen(_context, b, _signature, arguments):
            registers, factors, part_step, sources, source_step, pairs, lo, hi, mode = arguments
            low, high = _splat(b, lo, kind), _splat(b, hi, kind)
            places = [b.add(registers, v.constant(size * c)) for c in range(vectors)]
            found = cgutils.alloca_once_value(b, v.zero(kind))
            b.store(v.zero(kind), found)
            # SAT and SAT_SYM differ by their range alone
            saturates = b.or_(*(b.icmp_signed("==", mode, v.constant(one)) for one in (SAT, SAT_SYM)))
            for one in (SAT, WRAP, SAT_ZERO, NUMERIC_STD):
                with b.if_then(saturates if one == SAT else b.icmp_signed("==", mode, v.constant(one))):
                    begun = [v.load(b, at, kind) for at in places]
                    loop = Loop(b, f"single.{one}", pairs, [sources, v.zero(kind), *begun])
                    place, line, events, *values = loop.values
                    near = [v.load(b, b.add(line, v.constant(_PAIR * LANES * c)), _SUMS) for c in range(vectors)]
                    pair = pair_at(b, b.add(factors, b.mul(place, v.constant(_PAIR))), part_step)
                    for mask in (0xFFFF, 0xFFFF0000):
                        factor = v.splat(b, b.and_(pair, ir.Constant(v.I32, mask)), LANES)
                        for c, source in enumerate(near):
                            product = _dot(b, v.zero(_SUMS), source, factor)
                            value = b.add(values[c], product if parts == 1 else b.sext(product, kind))
                            values[c] = _brought(b, one, value, low, high)
                            events = b.add(events, b.zext(b.icmp_signed("!=", value, values[c]), kind))
                    events, *values = loop.close(v.constant(1), [b.add(line, source_step), events, *values])[1:]
                    for value, at in zip(values, places, strict=True):
                        v.store(b, value, at)
                    b.store(events, found)
            events = v.call(b, f"llvm.vector.reduce.add.v{LANES}i{bits}", kind.element, [b.load(found)])
            return events if bits == v.I64.width else b.sext(events, v.I64)

        return types.int64(*[types.int64] * 9), codegen

    return one_by_one
