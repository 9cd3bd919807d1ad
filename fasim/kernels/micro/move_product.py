"""Rows of masters of int16, moved by the gradient of one sample, whose weights of int8 are multiplied by the next at once.

A weight is cast from its master in a register and needs not be stored: what lies in memory is read and written once, and a
row that a delta of 0 leaves as it is only read. Steps and casts are those of `fasim.kernels.micro.move_row`. A number that
left its range makes a weight that is near an end: only where one is, anything is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.move import IN_ORDER, any_near, every, store
from fasim.kernels.micro.split import PANEL
from fasim.kernels.micro.windows import Loop

_LANES = 32
_WORDS = v.vector(v.I16, _LANES)
_BYTES = v.vector(v.I8, PANEL)
_SUMS = v.vector(v.I32, 16)
_WORD, _INDEX = 2, 8
# vpacksswb takes eight bytes of each source by turns: the columns of a panel as it leaves them
_PACKED = [8 * part + byte for part in (0, 4, 1, 5, 2, 6, 3, 7) for byte in range(8)]
# -128 in all lanes turns int8 into uint8 that are 128 more
_FLIP = ir.Constant(_BYTES, [-128] * PANEL)

Masks = tuple[v.Value | None, v.Value | None]
Pair = list[v.Value]


class Numbers(NamedTuple):
    """What every row of a pass shares, int64."""

    up: v.Value
    """Bits by which a delta is shifted up, see `fasim.kernels.micro.move_row`."""
    factor: v.Value
    """2^(15 - s) of the cast that drops s bits."""
    near: v.Value
    """No weight of a smaller magnitude than this, up to 127, left its range, nor did its master."""
    moved: v.Value
    """Address of the count of masters that left their range."""
    casts: v.Value
    """Address of the count of weights."""


class Places(NamedTuple):
    """Addresses and steps in bytes, int64."""

    rows: v.Value
    """Numbers of the rows, int64, and of those that come next."""
    deltas: v.Value
    before: v.Value
    """Whole panels of int16."""
    acts: v.Value
    """Whole panels of bytes, see `pack_panels`."""
    master: v.Value
    master_step: v.Value
    weight: v.Value
    weight_step: v.Value
    out: v.Value
    """int32, one of each row."""
    less: v.Value
    """What is subtracted from each sum where acts are int8: weights are multiplied as uint8, 128 more."""
    columns: v.Value


class _Rows:
    """Writes the IR of some rows side by side."""

    def __init__(
        self, b: v.Builder, count: int, kind: str, ahead: int, places: Places, numbers: Numbers, *, signed: bool
    ) -> None:
        self.b, self.count, self.kind, self.ahead, self.signed = b, count, kind, ahead, signed
        self.places, self.numbers = places, numbers
        indices = [self._index(i) for i in range(2 * self.count)]
        here, later = indices[: self.count], indices[self.count :]
        self.masters = [b.add(places.master, b.mul(places.master_step, i)) for i in here]
        self.weights = [b.add(places.weight, b.mul(places.weight_step, i)) for i in here]
        # what is `columns` on from a row is the beginning of the one that comes next in its place
        self.next = [
            b.sub(b.add(places.master, b.mul(places.master_step, i)), b.mul(places.columns, v.constant(_WORD)))
            for i in later
        ]
        self.out = [b.add(places.out, b.mul(i, v.constant(4))) for i in here]
        deltas = [b.sext(v.load(b, b.add(places.deltas, i), v.I8), v.I64) for i in here]
        self.deltas = [every(b, b.shl(delta, numbers.up)) for delta in deltas]
        self.factor = every(b, numbers.factor)
        self.near = every(b, numbers.near, v.I8, PANEL)

    def _index(self, place: int) -> v.Value:
        return v.load(self.b, self.b.add(self.places.rows, v.constant(_INDEX * place)), v.I64)

    def _multiply(self, x: v.Value, y: v.Value) -> v.Value:
        return v.call(self.b, "llvm.x86.avx512.pmul.hr.sw.512", _WORDS, [x, y])

    def _at(self, row: int, first: v.Value) -> Pair:
        b = self.b
        start = b.add(self.masters[row], b.mul(first, v.constant(_WORD)))
        return [start, b.add(start, v.constant(_WORD * _LANES))]

    def panel(self, first: v.Value, sums: list[v.Value], masks: Masks) -> list[v.Value]:
        """Move a panel of each row; return the sums with its products."""
        b = self.b
        self._prefetch(first)
        steps_of = self._steps(first)
        act = v.load(b, b.add(self.places.acts, first), _BYTES)
        after, weights = [], []
        for row in range(self.count):
            moved = self._moved(self._loaded(self._at(row, first), masks), steps_of(row))
            casts = [self._multiply(x, self.factor) for x in moved]
            after.append(moved)
            weights.append(v.call(b, "llvm.x86.avx512.packsswb.512", _BYTES, casts))
        with b.if_then(any_near(b, weights, self.near), likely=False):
            for row in range(self.count):
                self._count_row(row, first, masks, steps_of(row))
        for row in range(self.count):
            self._store(row, first, masks, after[row], weights[row])
        if self.signed:
            return [v.dot_bytes(b, x, b.xor(y, _FLIP), act) for x, y in zip(sums, weights, strict=True)]
        return [v.dot_bytes(b, x, act, y) for x, y in zip(sums, weights, strict=True)]

    def finish(self, sums: list[v.Value]) -> None:
        """Store the sums."""
        b = self.b
        for total, at in zip(sums, self.out, strict=True):
            found = v.call(b, "llvm.vector.reduce.add.v16i32", v.I32, [total])
            v.store(b, b.sub(found, b.trunc(self.places.less, v.I32)) if self.signed else found, at)

    def _steps(self, first: v.Value) -> Callable[[int], Pair | None]:
        """Return what gives the steps of a row."""
        if self.kind == "read":
            return lambda row: None  # noqa: ARG005
        b = self.b
        start = b.add(self.places.before, b.mul(first, v.constant(_WORD)))
        acts = [v.load(b, b.add(start, v.constant(_WORD * _LANES * i)), _WORDS) for i in range(2)]
        return lambda row: [self._multiply(act, self.deltas[row]) for act in acts]

    def _loaded(self, at: Pair, masks: Masks) -> Pair:
        b, pairs = self.b, zip(at, masks, strict=True)
        return [v.load(b, x, _WORDS) if mask is None else v.load_masked(b, x, _WORDS, mask) for x, mask in pairs]

    def _moved(self, before: Pair, steps: Pair | None) -> Pair:
        if steps is None:
            return before
        return [v.call(self.b, "llvm.ssub.sat.v32i16", _WORDS, [x, step]) for x, step in zip(before, steps, strict=True)]

    def _store(self, row: int, first: v.Value, masks: Masks, after: Pair, weight: v.Value) -> None:
        b = self.b
        if self.kind == "read":
            return
        for at, x, mask in zip(self._at(row, first), after, masks, strict=True):
            store(b, x, at, mask)
        if self.kind == "write":
            both = None if masks[0] is None else v.shuffle(b, *masks, list(range(PANEL)))
            store(b, v.shuffle(b, weight, weight, IN_ORDER), b.add(self.weights[row], first), both)

    def _count_row(self, row: int, first: v.Value, masks: Masks, steps: Pair | None) -> None:
        """Count what left its range in a panel of a row, loaded once more: it would cost registers to keep it."""
        b = self.b
        before = self._loaded([_hidden(b, at) for at in self._at(row, first)], masks)
        after = self._moved(before, steps)
        if steps is not None:
            wrapped = [b.sub(x, step) for x, step in zip(before, steps, strict=True)]
            self._count([b.xor(x, y) for x, y in zip(after, wrapped, strict=True)], masks, self.numbers.moved)
        # -128 .. 127 become 0 .. 255
        half, above = (ir.Constant(_WORDS, [number] * _LANES) for number in (128, -256))
        casts = [self._multiply(x, self.factor) for x in after]
        self._count([b.and_(b.add(x, half), above) for x in casts], masks, self.numbers.casts)

    def _count(self, vectors: list[v.Value], masks: Masks, address: v.Value) -> None:
        """Count lanes that are not 0."""
        b, at = self.b, v.pointer(self.b, address, v.I64)
        for vector, mask in zip(vectors, masks, strict=True):
            found = b.icmp_unsigned("!=", vector, v.zero(_WORDS))
            found = b.bitcast(found if mask is None else b.and_(found, mask), v.I32)
            b.store(b.add(b.load(at), b.zext(v.call(b, "llvm.ctpop.i32", v.I32, [found]), v.I64)), at)

    def _prefetch(self, first: v.Value) -> None:
        """Ask for a later panel of each row, or of the one that comes next in its place."""
        b = self.b
        later = b.add(first, v.constant(self.ahead * PANEL))
        past = b.icmp_signed(">=", later, self.places.columns)
        offset = b.mul(later, v.constant(_WORD))
        for here, there in zip(self.masters, self.next, strict=True):
            at = b.add(b.select(past, there, here), offset)
            for byte in (0, 64):
                v.prefetch(b, b.add(at, v.constant(byte)), writes=self.kind != "read")
        if self.kind == "write":
            for at in self.weights:
                v.prefetch(b, b.add(at, later))


def _hidden(b: v.Builder, address: v.Value) -> v.Value:
    """Return the address such that LLVM does not see that it has loaded what is there."""
    return b.asm(ir.FunctionType(v.I64, [v.I64]), "", "=r,0", [address], side_effect=True)


def rows_moved(count: int, kind: str, ahead: int) -> Any:  # noqa: ANN401 - Numba has no public type
    """Return a function for compiled code that moves rows and multiplies their weights.

    ``tile(act, places, numbers)``: an array of the type of the acts, int8 or uint8, `Places` and `Numbers`.

    Parameters
    ----------
    count : int
        Rows; `Places.rows` holds twice as many numbers.
    kind : str
        ``move``; ``write``: weights are stored too; ``read``: deltas are 0, nothing is stored.
    ahead : int
        Panels from one that is moved to one that is asked for.
    """

    @intrinsic
    def tile(context, act, places, numbers):  # noqa: ARG001
        def codegen(context, b, signature, arguments):
            _, given, shared = arguments
            given = Places(*cgutils.unpack_tuple(b, given, len(Places._fields)))
            shared = Numbers(*cgutils.unpack_tuple(b, shared, len(Numbers._fields)))
            writer = _Rows(b, count, kind, ahead, given, shared, signed=act.dtype.signed)
            whole = b.and_(given.columns, v.constant(-PANEL))
            loop = Loop(b, "move_product", whole, [v.zero(_SUMS)] * count)
            first, *sums = loop.values
            sums = loop.close(v.constant(PANEL), writer.panel(first, sums, (None, None)))
            rest = b.sub(given.columns, whole)
            slots = [cgutils.alloca_once_value(b, total) for total in sums]
            for slot, total in zip(slots, sums, strict=True):
                b.store(total, slot)
            with b.if_then(b.icmp_signed(">", rest, v.constant(0))):
                masks = (v.first_lanes(b, rest, _LANES), v.first_lanes(b, b.sub(rest, v.constant(_LANES)), _LANES))
                for slot, total in zip(slots, writer.panel(whole, sums, masks), strict=True):
                    b.store(total, slot)
            writer.finish([b.load(slot) for slot in slots])
            return context.get_dummy_value()

        return types.void(act, places, numbers), codegen

    return tile


@intrinsic
def pack_panels(_context, source, target, columns):
    """Lay bytes in whole panels as packed weights lie, with zeros behind the last column; addresses and a size, int64."""

    def codegen(context, b, signature, arguments):  # noqa: ARG001
        source, target, columns = arguments
        loop = Loop(b, "pack_panels", columns, [])
        first = loop.values[0]
        mask = v.first_lanes(b, b.sub(columns, first), PANEL)
        found = v.load_masked(b, b.add(source, first), _BYTES, mask)
        v.store(b, v.shuffle(b, found, found, _PACKED), b.add(target, first))
        loop.close(v.constant(PANEL), [])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), codegen
