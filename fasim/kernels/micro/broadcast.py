"""Register tiles of sums of outer products: ``C[r, c] = sum_k a(k, r) * b[k, c]``, vectors along c.

``a(k, r)`` is one number anywhere in memory, taken into all lanes; rows of B are contiguous. Every column of a row of B,
every number of A and every sum has four bytes: a float32, a pair of int16 or a quad of int8 (K then counts pairs or
quads: B is interleaved by them and A holds them side by side). All sums stay in registers, k ascends, and float32 rounds
once a term. What becomes of the finished sums is up to an `Epilogue`, which also says what they begin with.

A tile is an ``@intrinsic``: it becomes part of the compiled loop that calls it, as

``tile(a, a_row, a_k, b, b_k, terms, rows, columns, given)``

with ``a(k, r)`` at ``a + k a_k + r a_row`` and ``b[k, :]`` at ``b + k b_k`` (int64, bytes), the first `rows` and `columns`
of the tile's own that exist (at least 1; ignored where it is whole), and a tuple `given` of what the epilogue needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.dot import Kind

_BYTES = 4


class Row(NamedTuple):
    """One row of a tile, for an epilogue."""

    number: int
    """Counted from the first row of the tile."""
    kind: Kind
    masks: tuple[v.Value | None, ...]
    """Which lanes of each vector of sums exist; None for all."""
    exists: v.Value | None = None
    """Whether the row exists; None where it does."""

    @property
    def lanes(self) -> int:
        """Return the columns in a vector."""
        return self.kind.sums.count


Given = tuple[v.Value, ...]


def from_zero(b: v.Builder, row: Row, given: Given) -> list[v.Value]:  # noqa: ARG001
    """Begin sums with 0."""
    return [v.zero(row.kind.sums)] * len(row.masks)


class Epilogue(NamedTuple):
    """What becomes of sums, row by row. Both functions write IR; a row beyond the last never runs `end`."""

    end: Callable[[v.Builder, Row, list[v.Value], Given], None]
    """Use the sums of a row, a vector each."""
    begin: Callable[[v.Builder, Row, Given], list[v.Value]] = from_zero
    """Return what they begin with. It runs for rows that do not exist too: it must not read those."""


class _Tile:
    """Writes the IR of one tile."""

    def __init__(self, b: v.Builder, kind: Kind, shape: tuple[int, int]) -> None:
        self.b, self.kind, (self.rows, self.vectors) = b, kind, shape
        self.scalar = v.F32 if kind.element == v.F32 else v.I32
        self.loaded = kind.sums if kind.element == v.F32 else v.vector(v.I32, kind.sums.count)

    def multiply(self, total: v.Value, one: v.Value, row: v.Value) -> v.Value:
        """Return ``total + a b``; of two vectors of bytes one is unsigned: A's where the kind says so, else B's."""
        b, kind = self.b, self.kind
        if kind.element == v.F32:
            return v.fused(b, total, one, row)
        if kind.by_bytes:
            return v.dot_bytes(b, total, one, row) if kind.unsigned else v.dot_bytes(b, total, row, one)
        words = v.vector(v.I16, 2 * kind.sums.count)
        return v.dot_words(b, total, b.bitcast(one, words), b.bitcast(row, words), vnni=kind.vnni)

    def step(
        self, sums: list[v.Value], left: list[v.Value], right: v.Value, masks: tuple[v.Value | None, ...]
    ) -> list[v.Value]:
        """Add the products of one k."""
        b, lanes, ys = self.b, self.kind.sums.count, []
        for j, mask in enumerate(masks):
            at = b.add(right, v.constant(_BYTES * lanes * j))
            ys.append(v.load(b, at, self.loaded) if mask is None else v.load_masked(b, at, self.loaded, mask))
        new = list(sums)
        for i, at in enumerate(left):
            x = v.splat(b, v.load(b, at, self.scalar), lanes)
            for j, y in enumerate(ys):
                place = i * self.vectors + j
                new[place] = self.multiply(sums[place], x, y)
        return new

    def all_sums(
        self,
        begun: list[v.Value],
        places: list[v.Value],
        terms: v.Value,
        rows: list[Row],
        ahead: list[v.Value],
    ) -> list[v.Value]:
        """Loop over K and return the sums."""
        b = self.b
        a, a_row, a_k, right, b_k = places
        offsets: list[v.Value] = []
        for row in rows:
            own = b.mul(a_row, v.constant(row.number))
            # a row that does not exist repeats the last: it is read, its sums dropped
            offsets.append(own if row.exists is None else b.select(row.exists, own, offsets[-1]))
        before = b.basic_block
        head, body, end = (b.append_basic_block(f"broadcast.{name}") for name in ("head", "body", "end"))
        b.branch(head)

        b.position_at_end(head)
        k, at, line = (b.phi(v.I64) for _ in range(3))
        sums = [b.phi(self.kind.sums) for _ in begun]
        b.cbranch(b.icmp_signed("<", k, terms), body, end)

        b.position_at_end(body)
        for start, step in zip(ahead[::2], ahead[1::2], strict=True):
            v.prefetch(b, b.add(start, b.mul(step, k)), writes=False)
        new = self.step(sums, [b.add(at, offset) for offset in offsets], line, rows[0].masks)
        later = b.add(k, v.constant(1)), b.add(at, a_k), b.add(line, b_k)
        v.branch_back(b, head)
        for value, first, then in zip((k, at, line, *sums), (v.constant(0), a, right, *begun), (*later, *new), strict=True):
            value.add_incoming(first, before)
            value.add_incoming(then, body)
        b.position_at_end(end)
        return sums


def broadcast_tile(  # noqa: ANN201 - Numba has no public type
    kind: Kind, rows: int, vectors: int, epilogue: Epilogue, *, whole: bool = False, ahead: bool = False
):
    """Return a function for compiled code that forms the sums of a tile and hands them to the epilogue, see above.

    Parameters
    ----------
    kind : Kind
        What is multiplied; its `parts` and `masked` do not matter here. Bytes need VNNI.
    rows, vectors : int
        Shape of the tile: ``rows * vectors`` sums, `vectors` rows of B and one number are in registers.
    epilogue : Epilogue
    whole : bool
        Whether all rows and columns exist. Else any rows may, and of the columns those of the last vector.
    ahead : bool
        Whether `given` ends with an address and a step, of what is needed next: at each k, the cache line ``address + k
        step`` is asked for.
    """

    @intrinsic
    def tile(_context, a, a_row, a_k, b, b_k, terms, rows_here, columns_here, given):
        def codegen(context, builder, signature, arguments):
            *places, terms, rows_here, columns_here, packed = arguments
            writer = _Tile(builder, kind, (rows, vectors))
            masks: list[v.Value | None] = [None] * vectors
            if not whole:
                left = builder.sub(columns_here, v.constant((vectors - 1) * kind.sums.count))
                masks[-1] = v.first_lanes(builder, left, kind.sums.count)
            given = tuple(cgutils.unpack_tuple(builder, packed, len(signature.args[-1])))
            given, next_lines = (given[:-2], given[-2:]) if ahead else (given, ())
            exist = [None if whole or i == 0 else builder.icmp_signed("<", v.constant(i), rows_here) for i in range(rows)]
            all_rows = [Row(i, kind, tuple(masks), exist[i]) for i in range(rows)]
            begun = [total for row in all_rows for total in epilogue.begin(builder, row, given)]
            sums = writer.all_sums(begun, places, terms, all_rows, list(next_lines))
            for i, row in enumerate(all_rows):
                mine = sums[i * vectors : (i + 1) * vectors]
                if row.exists is None:
                    epilogue.end(builder, row, mine, given)
                else:
                    with builder.if_then(row.exists):
                        epilogue.end(builder, row, mine, given)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8, given), codegen

    return tile


def at_columns(b: v.Builder, row: Row, start: v.Value, size: int = _BYTES) -> list[v.Value]:
    """Return where each vector of a row lies that begins at an address, of elements of so many bytes."""
    return [b.add(start, v.constant(size * row.lanes * j)) for j in range(len(row.masks))]


def load_row(b: v.Builder, row: Row, start: v.Value, kind: ir.VectorType, size: int = _BYTES) -> list[v.Value]:
    """Load the vectors of such a row, with 0 in lanes that do not exist."""
    pairs = zip(at_columns(b, row, start, size), row.masks, strict=True)
    return [v.load(b, at, kind) if mask is None else v.load_masked(b, at, kind, mask) for at, mask in pairs]


def store_row(b: v.Builder, row: Row, start: v.Value, values: list[v.Value], size: int = _BYTES) -> None:
    """Store the vectors of such a row, without the lanes that do not exist."""
    for at, mask, value in zip(at_columns(b, row, start, size), row.masks, values, strict=True):
        if mask is None:
            v.store(b, value, at)
        else:
            v.store_masked(b, value, at, mask)


def prefetch_row(b: v.Builder, row: Row, start: v.Value, size: int = _BYTES) -> None:
    """Ask for what `end` will change while the sums form: 3 to 10 % of a float32 update of 784 x 500."""
    for at in at_columns(b, row, start, size):
        v.prefetch(b, at)


def begin_stored(b: v.Builder, row: Row, given: Given) -> list[v.Value]:
    """Begin with what `store` left where ``given = (out, step, fresh)`` is not fresh, else with 0."""
    out, step, fresh = given
    start = b.add(out, b.mul(step, v.constant(row.number)))
    prefetch_row(b, row, start)
    kept = b.icmp_signed("==", fresh, v.constant(0))
    kept = kept if row.exists is None else b.and_(kept, row.exists)
    every = v.splat(b, kept, row.lanes)
    masks = tuple(every if mask is None else b.and_(mask, every) for mask in row.masks)
    return load_row(b, row._replace(masks=masks), start, row.kind.sums)


def store(b: v.Builder, row: Row, sums: list[v.Value], given: Given) -> None:
    """Store the sums, row r of the tile at ``out + r step``."""
    store_row(b, row, b.add(given[0], b.mul(given[1], v.constant(row.number))), sums)


STORED = Epilogue(store, begin_stored)
