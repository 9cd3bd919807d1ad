"""Casts and updates of integers, a vector at a time: shift, round, subtract, bring into range, count.

Vectors of 64 bytes (which LLVM divides for narrower CPUs) of the narrowest lanes that are exact: int16, int32 or int64.
LLVM's own vectors of such a loop have 32 bytes here and take twice as long; int16 takes half the time of int32. Loops
exist for the modes that datapaths name most; `quick` says whether they serve a cast. What is left of whole multiples of
`TAKEN` elements goes through the same loop, by copies that are filled up with zeros: nothing is outside of its range there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.scalar.rounding import RND, RND_CONV, SAT, SAT_SYM, TRN, WRAP

_VECTOR_BITS = 512
TAKEN = 32


def _cast_bits(raw: Any) -> int:  # noqa: ANN401 - Numba has no public type
    """Return the bits of lanes that hold every number of an array's type."""
    for lane, bits in ((types.int16, 16), (types.int32, 32)):
        if raw.dtype == lane or raw.dtype.bitwidth < bits:
            return bits
    return 64


def _update_bits(parameter: Any, gradient: Any) -> int:  # noqa: ANN401
    """Return the bits of lanes that hold a parameter less a step, which has lost a bit of the gradient."""
    return max(_cast_bits(gradient), 32) if parameter.dtype.bitwidth < 32 else 64


@intrinsic
def cast_bits(_context, raw):
    """Return the bits of the lanes in which an array is cast."""
    bits = _cast_bits(raw)
    return types.int64(raw), lambda context, b, signature, arguments: v.constant(bits)  # noqa: ARG005


@intrinsic
def update_bits(_context, parameter, gradient):
    """Return the bits of the lanes in which an array is updated."""
    bits = _update_bits(parameter, gradient)
    return types.int64(parameter, gradient), lambda context, b, signature, arguments: v.constant(bits)  # noqa: ARG005


@njit(inline="always", cache=True)
def quick(bits, raw, out, shift, lo, hi, rounding, mode):
    """Tell whether vectors serve a cast from `raw` to `out` in lanes of so many bits, with ``shift`` >= 1 an update too.

    Rounding adds nothing before it shifts, but for RND, where a number shifted by one less grows by 1: the shift of a
    number that fills its lane must then be 2 at least.
    """
    fits = -(1 << (bits - 1)) <= lo <= 0 <= hi <= (1 << (bits - 1)) - 1
    least = 2 if rounding == RND and 8 * raw.itemsize == bits and shift > 0 else 0
    known = rounding in (TRN, RND, RND_CONV) and mode in (SAT, SAT_SYM, WRAP)
    lie = raw.strides[0] == raw.itemsize and out.strides[0] == out.itemsize
    return fits and known and lie and least <= shift <= bits - 2


class _Cast:
    """Writes the IR of one mode for vectors of one width."""

    def __init__(self, b: v.Builder, lane: ir.Type, modes: tuple[int, int], numbers: tuple[v.Value, ...]) -> None:
        self.b, self.lanes, (self.rounding, self.mode) = b, _VECTOR_BITS // lane.width, modes
        self.kind = v.vector(lane, self.lanes)
        shift, lo, hi = (self.every(value) for value in numbers)
        self.shift, self.lo, self.hi, one = shift, lo, hi, self.constant(1)
        self.less, self.span = b.sub(shift, one), b.sub(hi, lo)
        self.half = b.shl(one, self.less)
        self.dropped = b.sub(b.shl(one, shift), one)

    def every(self, value: v.Value) -> v.Value:
        """Return an int64 in all lanes."""
        lane = self.kind.element
        return v.splat(self.b, value if lane == v.I64 else self.b.trunc(value, lane), self.lanes)

    def constant(self, value: int) -> v.Value:
        """Return a number in all lanes."""
        return ir.Constant(self.kind, [value] * self.lanes)

    def load(self, address: v.Value, element: Any) -> v.Value:  # noqa: ANN401
        """Load a vector of elements and widen it."""
        loaded = v.load(self.b, address, v.vector(ir.IntType(element.bitwidth), self.lanes))
        if element.bitwidth == self.kind.element.width:
            return loaded
        return (self.b.sext if element.signed else self.b.zext)(loaded, self.kind)

    def store(self, value: v.Value, address: v.Value, element: Any) -> None:  # noqa: ANN401
        """Narrow (or widen) a vector and store it."""
        b, kind = self.b, v.vector(ir.IntType(element.bitwidth), self.lanes)
        if element.bitwidth != self.kind.element.width:
            value = (b.trunc if element.bitwidth < self.kind.element.width else b.sext)(value, kind)
        v.store(b, value, address)

    def rounded(self, x: v.Value) -> v.Value:
        """Return ``x / 2^shift``, rounded; the shift of RND and RND_CONV is at least 1."""
        b, one = self.b, self.constant(1)
        if self.rounding == RND:
            return b.ashr(b.add(b.ashr(x, self.less), one), one)
        whole = b.ashr(x, self.shift)
        if self.rounding == TRN:
            return whole
        rest = b.add(b.and_(x, self.dropped), b.and_(whole, one))
        return b.sub(whole, b.sext(b.icmp_signed(">", rest, self.half), self.kind))

    def brought(self, value: v.Value) -> v.Value:
        """Return the number in range."""
        b = self.b
        if self.mode == WRAP:
            return b.add(self.lo, b.and_(b.sub(value, self.lo), self.span))
        value = b.select(b.icmp_signed(">", value, self.lo), value, self.lo)
        return b.select(b.icmp_signed("<", value, self.hi), value, self.hi)


class _Array(NamedTuple):
    """Contiguous elements: the address of the first, and what they are."""

    start: v.Value
    element: Any

    @property
    def size(self) -> int:
        """Return the bytes of an element."""
        bits: int = self.element.bitwidth
        return bits // 8

    def at(self, b: v.Builder, place: v.Value) -> v.Value:
        """Return where an element lies."""
        return b.add(self.start, b.mul(place, v.constant(self.size)))


def _for_every_mode(b: v.Builder, lane: ir.Type, numbers: list[v.Value], arrays: list[_Array], write: Any) -> v.Value:  # noqa: ANN401
    """Write a loop for each pair of modes, of which one runs, and return how many numbers were outside of the range.

    `numbers` are shift, lo, hi, rounding, mode and the count of elements; the last of the arrays is written.
    ``write(cast, addresses)`` returns a vector of numbers before and one after they were brought into range.
    """
    *modes, count = numbers
    outside = cgutils.alloca_once_value(b, v.constant(0))
    b.store(v.constant(0), outside)
    whole = b.and_(count, v.constant(-TAKEN))
    rest = b.sub(count, whole)
    is_rest = b.icmp_signed(">", rest, v.constant(0))
    copies = [cgutils.alloca_once(b, ir.ArrayType(v.I8, TAKEN * array.size)) for array in arrays]
    ends = [b.inttoptr(array.at(b, whole), v.I8.as_pointer()) for array in arrays]
    for array, copy, end in zip(arrays, copies, ends, strict=True):
        with b.if_then(is_rest):
            b.store(v.zero(copy.type.pointee), copy)
            cgutils.raw_memcpy(b, b.bitcast(copy, end.type), end, rest, array.size)
    rounds = b.select(is_rest, v.constant(2), v.constant(1))
    with cgutils.for_range_slice(b, v.constant(0), rounds, v.constant(1), v.I64) as (number, _):
        first = b.icmp_signed("==", number, v.constant(0))
        starts = [b.select(first, array.start, b.ptrtoint(copy, v.I64)) for array, copy in zip(arrays, copies, strict=True)]
        here = [array._replace(start=start) for array, start in zip(arrays, starts, strict=True)]
        _loops(b, lane, [*modes, b.select(first, whole, v.constant(TAKEN))], here, outside, write)
    with b.if_then(is_rest):
        cgutils.raw_memcpy(b, ends[-1], b.bitcast(copies[-1], ends[-1].type), rest, arrays[-1].size)
    return b.load(outside)


def _loops(
    b: v.Builder,
    lane: ir.Type,
    numbers: list[v.Value],
    arrays: list[_Array],
    outside: v.Value,
    write: Any,  # noqa: ANN401
) -> None:
    """Write the loops, over a multiple of `TAKEN` elements."""
    shift, lo, hi, rounding, mode, count = numbers
    # without dropped bits all roundings are one
    rounding = b.select(b.icmp_signed("==", shift, v.constant(0)), v.constant(TRN), rounding)
    wraps = b.icmp_signed("==", mode, v.constant(WRAP))
    for one in (TRN, RND, RND_CONV):
        for other in (SAT, WRAP):
            chosen = wraps if other == WRAP else b.not_(wraps)
            with b.if_then(b.and_(chosen, b.icmp_signed("==", rounding, v.constant(one)))):
                cast = _Cast(b, lane, (one, other), (shift, lo, hi))
                with cgutils.for_range_slice(b, v.constant(0), count, v.constant(TAKEN), v.I64) as (start, _):
                    for first in range(0, TAKEN, cast.lanes):
                        place = b.add(start, v.constant(first))
                        before, after = write(cast, [array.at(b, place) for array in arrays])
                        mask = b.bitcast(b.icmp_signed("!=", before, after), ir.IntType(cast.lanes))
                        found = v.call(b, f"llvm.ctpop.i{cast.lanes}", mask.type, [mask])
                        b.store(b.add(b.load(outside), b.zext(found, v.I64)), outside)


def _array(context: Any, b: v.Builder, kind: Any, value: v.Value) -> tuple[_Array, v.Value]:  # noqa: ANN401
    """Return an array of a type, and how many elements it has."""
    array = context.make_array(kind)(context, b, value)
    return _Array(b.ptrtoint(array.data, v.I64), kind.dtype), array.nitems


@intrinsic
def cast_vectors(_context, raw, shift, lo, hi, rounding, mode, out):
    """Cast numbers, contiguous arrays of one size; return how many were outside of lo .. hi."""

    def codegen(context, b, signature, arguments):
        first, *numbers, last = arguments
        source, count = _array(context, b, raw, first)
        target, _ = _array(context, b, out, last)

        def write(cast: _Cast, addresses: list[v.Value]) -> tuple[v.Value, v.Value]:
            value = cast.rounded(cast.load(addresses[0], raw.dtype))
            inside = cast.brought(value)
            cast.store(inside, addresses[1], out.dtype)
            return value, inside

        return _for_every_mode(b, ir.IntType(_cast_bits(raw)), [*numbers, count], [source, target], write)

    return types.int64(raw, *[types.int64] * 5, out), codegen


@intrinsic
def update_vectors(_context, parameter, gradient, shift, lo, hi, rounding, mode):
    """Do ``w = overflow(w - round(g / 2^shift))`` likewise."""

    def codegen(context, b, signature, arguments):
        first, second, *numbers = arguments
        target, count = _array(context, b, parameter, first)
        source, _ = _array(context, b, gradient, second)

        def write(cast: _Cast, addresses: list[v.Value]) -> tuple[v.Value, v.Value]:
            step = cast.rounded(cast.load(addresses[0], gradient.dtype))
            value = b.sub(cast.load(addresses[1], parameter.dtype), step)
            inside = cast.brought(value)
            cast.store(inside, addresses[1], parameter.dtype)
            return value, inside

        lane = ir.IntType(_update_bits(parameter, gradient))
        return _for_every_mode(b, lane, [*numbers, count], [source, target], write)

    return types.int64(parameter, gradient, *[types.int64] * 5), codegen
