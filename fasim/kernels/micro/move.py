"""What register tiles make of a gradient that never leaves them: steps of masters of int16, and the weights' casts.

``master = SAT(master - floor(sum / 2^shift))``, ``weight = SAT(round(master / 2^s))``, in lanes of 16 bits, vectors of 64
bytes: sums begin with the half that rounds them, a step is what is left of them, differences saturate. That is exact where
steps fit 16 bits and ranges are those of the types: a difference is then outside of its range where it is another modulo
2^16. A cast, by RND, is one multiplication, ``(x 2^(15 - s) + 2^14) >> 15``. Numbers that left a range are counted only
where a weight comes near an end, as those of all such numbers are: 10 instead of 21 instructions for 64 masters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.broadcast import Epilogue, Given, Row

_LANES = 32
_WORDS = v.vector(v.I16, _LANES)
_BYTES = v.vector(v.I8, 2 * _LANES)
# vpacksswb takes eight bytes of each source by turns
IN_ORDER = [8 * part + byte for part in (0, 2, 4, 6, 1, 3, 5, 7) for byte in range(8)]
_MASTER_BYTES = 2


class Places(NamedTuple):
    """Addresses of a tile, int64."""

    master: v.Value
    master_step: v.Value
    weight: v.Value
    weight_step: v.Value
    begin: v.Value
    """int32 by row of the tile: what its sums begin with."""
    columns: v.Value
    """Columns from the first of the tile on."""


class Numbers(NamedTuple):
    """What every tile of a pass shares, int64."""

    shift: v.Value
    factor: v.Value
    """2^(15 - s) of the cast that drops s bits; not read where the weight has 16."""
    near: v.Value
    """No weight of a smaller magnitude than this left its range, nor did its master: see `near_end`."""
    moved: v.Value
    """Address of the count of masters that left their range."""
    casts: v.Value
    """Address of the count of weights."""


def every(b: v.Builder, value: v.Value, lane: ir.Type = v.I16, lanes: int = _LANES) -> v.Value:
    """Return an int64 in all lanes."""
    return v.splat(b, b.trunc(value, lane), lanes)


class Mover:
    """Writes the IR for some vectors of one row."""

    def __init__(self, b: v.Builder, numbers: Numbers, weight: ir.Type) -> None:
        self.b, self.numbers, self.weight = b, numbers, weight

    def row(self, steps: list[v.Value], master: v.Value, weight: v.Value, masks: list[v.Value | None]) -> None:
        """Move the masters at an address by vectors of steps; write the weights."""
        b = self.b
        places = [b.add(master, v.constant(_MASTER_BYTES * _LANES * i)) for i in range(len(steps))]
        before = [
            v.load(b, at, _WORDS) if mask is None else v.load_masked(b, at, _WORDS, mask)
            for at, mask in zip(places, masks, strict=True)
        ]
        pairs = list(zip(before, steps, strict=True))
        after = [v.call(b, "llvm.ssub.sat.v32i16", _WORDS, [x, step]) for x, step in pairs]
        for value, at, mask in zip(after, places, masks, strict=True):
            store(b, value, at, mask)
        casts = []
        if self.weight == v.I16:
            for i, (value, mask) in enumerate(zip(after, masks, strict=True)):
                store(b, value, b.add(weight, v.constant(_MASTER_BYTES * _LANES * i)), mask)
            near = any_near(b, after, every(b, self.numbers.near))
        else:
            casts = [self._cast(value) for value in after]
            packed = v.call(b, "llvm.x86.avx512.packsswb.512", _BYTES, [casts[0], casts[-1]])
            self._write(packed, weight, masks)
            near = any_near(b, [packed], every(b, self.numbers.near, v.I8, 2 * _LANES))
        with b.if_then(near, likely=False):
            moved = [b.xor(value, b.sub(x, step)) for value, (x, step) in zip(after, pairs, strict=True)]
            self._count(moved, masks, self.numbers.moved)
            # -128 .. 127 become 0 .. 255
            half, above = (ir.Constant(_WORDS, [number] * _LANES) for number in (128, -256))
            self._count([b.and_(b.add(x, half), above) for x in casts], masks[: len(casts)], self.numbers.casts)

    def _cast(self, x: v.Value) -> v.Value:
        """Return the number rounded to the weight's step."""
        factor = every(self.b, self.numbers.factor)
        return v.call(self.b, "llvm.x86.avx512.pmul.hr.sw.512", _WORDS, [x, factor])

    def _write(self, packed: v.Value, weight: v.Value, masks: list[v.Value | None]) -> None:
        """Store casts as bytes."""
        b = self.b
        if len(masks) == 1:
            store(b, v.shuffle(b, packed, packed, IN_ORDER[:_LANES]), weight, masks[0])
            return
        mask = None if masks[0] is None else v.shuffle(b, masks[0], masks[1], list(range(2 * _LANES)))
        store(b, v.shuffle(b, packed, packed, IN_ORDER), weight, mask)

    def _count(self, vectors: list[v.Value], masks: list[v.Value | None], address: v.Value) -> None:
        """Count lanes that are not 0."""
        b, at = self.b, v.pointer(self.b, address, v.I64)
        for vector, mask in zip(vectors, masks, strict=True):
            found = b.icmp_unsigned("!=", vector, v.zero(_WORDS))
            found = b.bitcast(found if mask is None else b.and_(found, mask), v.I32)
            b.store(b.add(b.load(at), b.zext(v.call(b, "llvm.ctpop.i32", v.I32, [found]), v.I64)), at)


def any_near(b: v.Builder, vectors: list[v.Value], near: v.Value) -> v.Value:
    """Tell whether any number of some vectors has a magnitude of `near` or more."""
    kind = vectors[0].type
    name, defined = f"llvm.abs.v{kind.count}i{kind.element.width}", ir.Constant(ir.IntType(1), 0)
    largest, *others = (v.call(b, name, kind, [x, defined]) for x in vectors)
    for other in others:
        largest = b.select(b.icmp_unsigned(">", largest, other), largest, other)
    found = b.bitcast(b.icmp_unsigned(">=", largest, near), ir.IntType(kind.count))
    return b.icmp_unsigned("!=", found, ir.Constant(found.type, 0))


@njit(inline="always", cache=True)
def near_end(cast_shift):
    """Return the magnitude from which on a weight of 8 bits may have left its range, or its master of 16."""
    return min(127, ((1 << 15) - 1 + (1 << (cast_shift - 1))) >> cast_shift)


def store(b: v.Builder, value: v.Value, at: v.Value, mask: v.Value | None) -> None:
    """Store a vector, or the lanes of a mask."""
    if mask is None:
        v.store(b, value, at)
    else:
        v.store_masked(b, value, at, mask)


def _split(given: Given) -> tuple[Places, Numbers]:
    count = len(Places._fields)
    return Places(*given[:count]), Numbers(*given[count:])


def moving(weight: ir.Type, *, whole: bool) -> Epilogue:
    """Return what moves masters of int16 with weights of a type; `given` are `Places` and `Numbers`.

    Columns lie as `fasim.kernels.micro.split` lays them. Where the tile is not whole, columns behind the last are not
    touched.
    """

    def begin(b: v.Builder, row: Row, given: Given) -> list[v.Value]:
        places, _ = _split(given)
        master = b.add(places.master, b.mul(places.master_step, v.constant(row.number)))
        copy = b.add(places.weight, b.mul(places.weight_step, v.constant(row.number)))
        for i in range(len(row.masks) // 2):
            v.prefetch(b, b.add(master, v.constant(_MASTER_BYTES * _LANES * i)))
        for i in range(weight.width * len(row.masks) // 32):
            v.prefetch(b, b.add(copy, v.constant(64 * i)))
        at = b.add(places.begin, v.constant(4 * row.number))
        at = at if row.exists is None else b.select(row.exists, at, places.begin)
        return [v.splat(b, v.load(b, at, v.I32), row.lanes)] * len(row.masks)

    def end(b: v.Builder, row: Row, sums: list[v.Value], given: Given) -> None:
        places, numbers = _split(given)
        shift = every(b, numbers.shift, v.I32, row.lanes)
        steps = []
        for pair in zip(sums[::2], sums[1::2], strict=True):
            steps.append(v.call(b, "llvm.x86.avx512.packssdw.512", _WORDS, [b.ashr(some, shift) for some in pair]))
        masks: list[Any] = [None] * len(steps)
        if not whole:
            masks = [v.first_lanes(b, b.sub(places.columns, v.constant(_LANES * i)), _LANES) for i in range(len(steps))]
        master = b.add(places.master, b.mul(places.master_step, v.constant(row.number)))
        copy = b.add(places.weight, b.mul(places.weight_step, v.constant(row.number)))
        Mover(b, numbers, weight).row(steps, master, copy, masks)

    return Epilogue(end, begin)
