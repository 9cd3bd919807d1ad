"""Register tiles of dot products: a few rows of A times a few rows of B, all contiguous along K.

All sums of a tile stay in registers; each vector that is loaded serves a whole row or column of them. A tile is an
``@intrinsic``: it becomes part of the compiled loop that calls it. Addresses and steps between rows are int64, in bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v

_QUAD = 4


class Kind(NamedTuple):
    """Which numbers are multiplied, and how wide a vector takes them."""

    element: ir.Type
    """What A and B hold."""
    sums: ir.VectorType
    """A vector of sums."""
    parts: int = 1
    """Vectors of sums that make one: float32 always has 16 lanes, so that its bits do not depend on the width."""
    vnni: bool = False
    """Whether the CPU has dot products with accumulation."""
    unsigned: bool = False
    """Whether bytes of A are 0 .. 255."""
    masked: bool = True
    """Whether the CPU loads single elements under a mask. Else a row has at least `step` elements."""

    @property
    def by_bytes(self) -> bool:
        """Whether four bytes are multiplied at once, those of A as unsigned ones."""
        return self.vnni and self.element == v.I8

    @property
    def width(self) -> int:
        """Return the elements in a vector that is loaded."""
        products = 1 if self.element == v.F32 else 4 if self.by_bytes else 2
        return products * self.sums.count

    @property
    def size(self) -> int:
        """Return the bytes of an element."""
        return 4 if self.element == v.F32 else self.element.width // 8

    @property
    def step(self) -> int:
        """Return the elements of a row that are taken at once."""
        return self.parts * self.width


def _add_selected(b: v.Builder, x: v.Value, y: v.Value, first: list[int], second: list[int]) -> v.Value:
    """Add two selections, made in each block of four lanes; 4 .. 7 are the lanes of y."""
    lanes = x.type.count

    def select(places: list[int]) -> v.Value:
        chosen = [block + p % _QUAD + p // _QUAD * lanes for block in range(0, lanes, _QUAD) for p in places]
        return v.shuffle(b, x, y, chosen)

    return v.add(b, select(first), select(second))


def totals(b: v.Builder, sums: list[list[v.Value]]) -> v.Value:
    """Add the lanes of up to four sums (each in parts) and return them in one vector of four.

    With s the 16 lanes: ``(g[0] + g[2]) + (g[1] + g[3])``, where ``g[i] = (s[4i] + s[4i+2]) + (s[4i+1] + s[4i+3])``.
    """
    parts = []
    for part in range(len(sums[0])):
        s = [one[part] for one in sums]
        s += [v.zero(s[0].type)] * (_QUAD - len(s))
        left, right = (_add_selected(b, x, y, [0, 4, 1, 5], [2, 6, 3, 7]) for x, y in (s[:2], s[2:]))
        parts.append(_add_selected(b, left, right, [0, 1, 4, 5], [2, 3, 6, 7]))
    total = parts[0] if len(parts) == 1 else v.add(b, *parts)
    while total.type.count > _QUAD:
        half = total.type.count // 2
        low, high = (v.shuffle(b, total, total, list(range(start, start + half))) for start in (0, half))
        total = v.add(b, low, high)
    return total


class Tile:
    """Writes the IR of one tile; `part` counts the vectors of sums that make one."""

    rounds = 1
    """Steps of K in a round of the loop."""

    def __init__(self, b: v.Builder, kind: Kind, shape: tuple[int, int], offsets: str) -> None:
        self.b, self.kind, (self.rows, self.columns), self.offsets = b, kind, shape, offsets
        self.summed = offsets in ("inline", "only")

    @property
    def count(self) -> int:
        """Return how many vectors of sums the tile holds."""
        tile = 0 if self.offsets == "only" else self.rows * self.columns * self.kind.parts
        return tile + (self.columns if self.summed else 0)

    def starts(self, address: v.Value, step: v.Value, count: int, most: v.Value) -> list[v.Value]:
        """Return the addresses of `count` rows; those beyond `most` repeat the last: they are read, their sums dropped."""
        b, last = self.b, self.b.sub(most, v.constant(1))
        numbers = [v.constant(i) for i in range(count)]
        places = [b.select(b.icmp_signed("<", number, last), number, last) for number in numbers]
        return [b.add(address, b.mul(step, place)) for place in places]

    def load(self, start: v.Value, part: int, rest: v.Value | None) -> v.Value:
        """Load a vector of a row; where `rest` is given, of its last so many elements, with zeros for the others."""
        b, width, size = self.b, self.kind.width, self.kind.size
        vector, before = v.vector(self.kind.element, width), part * width
        if rest is None:
            return v.load(b, b.add(start, v.constant(before * size)), vector)
        if self.kind.masked:
            below = v.lanes_below if self.kind.sums.count == 16 else v.first_lanes
            mask = below(b, b.sub(rest, v.constant(before)), width)
            return v.load_masked(b, b.add(start, v.constant(before * size)), vector, mask)
        # the vector that ends with the row, without the elements that were taken before
        missing = b.sub(v.constant(width), rest)
        at = b.sub(start, b.mul(missing, v.constant(size)))
        return b.select(v.first_lanes(b, missing, width), v.zero(vector), v.load(b, at, vector))

    def ready(self, loaded: v.Value, *, left: bool) -> v.Value:
        """Bring what was loaded into the form that is multiplied."""
        b, kind = self.b, self.kind
        if kind.element != v.I8:
            return loaded
        if not kind.by_bytes:
            extend = b.zext if left and kind.unsigned else b.sext
            return extend(loaded, v.vector(v.I16, kind.width))
        return b.xor(loaded, self.bytes_of_128()) if left and not kind.unsigned else loaded  # a + 128

    def bytes_of_128(self) -> v.Value:
        """Return a vector of what was added to the elements of A."""
        return ir.Constant(v.vector(v.I8, self.kind.width), [-128] * self.kind.width)

    def multiply(self, total: v.Value, x: v.Value, y: v.Value) -> v.Value:
        """Return ``total + x y``."""
        if self.kind.element == v.F32:
            return v.fused(self.b, total, x, y)
        if self.kind.by_bytes:
            return v.dot_bytes(self.b, total, x, y)
        return v.dot_words(self.b, total, x, y, vnni=self.kind.vnni)

    def step(
        self, sums: list[v.Value], left: list[v.Value], right: list[v.Value], rest: v.Value | None = None
    ) -> list[v.Value]:
        """Add one step of all rows to sums[row][column][part], laid flat, and of B to the sums of its rows behind them."""
        kind, new = self.kind, list(sums)
        for part in range(kind.parts):
            ys = [self.ready(self.load(start, part, rest), left=False) for start in right]
            for i, start in enumerate(left if self.offsets != "only" else []):
                x = self.ready(self.load(start, part, rest), left=True)
                for j, y in enumerate(ys):
                    place = (i * self.columns + j) * kind.parts + part
                    new[place] = self.multiply(new[place], x, y)
            for j, y in enumerate(ys if self.summed else []):
                place = len(sums) - self.columns + j
                new[place] = self.multiply(new[place], self.bytes_of_128(), y)
        return new

    def all_sums(self, left: list[v.Value], right: list[v.Value], terms: v.Value) -> list[v.Value]:
        """Loop over K and return the sums."""
        b, kind, count = self.b, self.kind, self.count
        rest = b.srem(terms, v.constant(kind.step))
        bytes_ = b.mul(b.sub(terms, rest), v.constant(kind.size))
        before = b.basic_block
        head, body, tail_test, tail, end = (
            b.append_basic_block(f"dot.{name}") for name in ("head", "body", "tail_test", "tail", "end")
        )
        b.branch(head)

        b.position_at_end(head)
        k = b.phi(v.I64)
        sums = [b.phi(kind.sums) for _ in range(count)]
        b.cbranch(b.icmp_signed("<", k, bytes_), body, tail_test)

        b.position_at_end(body)
        new = self.step(sums, [b.add(start, k) for start in left], [b.add(start, k) for start in right])
        next_k = b.add(k, v.constant(kind.step * kind.size))
        v.branch_back(b, head, self.rounds)
        k.add_incoming(v.constant(0), before)
        k.add_incoming(next_k, body)
        for total, later in zip(sums, new, strict=True):
            total.add_incoming(v.zero(kind.sums), before)
            total.add_incoming(later, body)

        b.position_at_end(tail_test)
        b.cbranch(b.icmp_signed(">", rest, v.constant(0)), tail, end)

        b.position_at_end(tail)
        last = self.step(sums, [b.add(start, bytes_) for start in left], [b.add(start, bytes_) for start in right], rest)
        b.branch(end)

        b.position_at_end(end)
        found = [b.phi(kind.sums) for _ in range(count)]
        for total, one, other in zip(found, sums, last, strict=True):
            total.add_incoming(one, tail_test)
            total.add_incoming(other, tail)
        return found

    def store(
        self, sums: list[v.Value], out: v.Value, step: v.Value, limits: tuple[v.Value, v.Value], *end: v.Value
    ) -> None:
        """Reduce the sums and store those of the first rows and columns, or add them to what lies there."""
        b, kind, (fresh, given) = self.b, self.kind, end
        quad = v.vector(kind.sums.element, _QUAD)
        offsets = sums[-self.columns :] if self.summed else []
        keep = b.icmp_signed("==", fresh, v.constant(0))
        for i in range(self.rows):
            row = b.add(out, b.mul(step, v.constant(i)))
            width = b.select(b.icmp_signed("<", v.constant(i), limits[0]), limits[1], v.constant(0))
            for first in range(0, self.columns, _QUAD):
                chosen = range(first, min(first + _QUAD, self.columns))
                places = [(i * self.columns + j) * kind.parts for j in chosen]
                if self.offsets == "only":
                    group = [[offsets[j]] for j in chosen]
                else:
                    group = [sums[place : place + kind.parts] for place in places]
                if self.offsets == "inline":
                    group = [[b.sub(one[0], offsets[j])] for one, j in zip(group, chosen, strict=True)]
                total = totals(b, group)
                if self.offsets == "given":
                    total = b.sub(total, v.load(b, b.add(given, v.constant(4 * first)), quad))
                most = v.constant(len(chosen))
                left = b.sub(width, v.constant(first))
                mask = v.first_lanes(b, b.select(b.icmp_signed("<", left, most), left, most), _QUAD)
                place = b.add(row, v.constant(4 * first))
                old = v.load_masked(b, place, quad, b.and_(mask, v.splat(b, keep, _QUAD)))
                v.store_masked(b, v.add(b, total, old), place, mask)


def dot_tile(kind: Kind, rows: int, columns: int, offsets: str = "none") -> Any:  # noqa: ANN401 - Numba has no public type
    """Return a function for compiled code that forms the sums of a tile.

    Called as ``tile(a, a_step, b, b_step, terms, out, out_step, rows, columns, fresh, offsets)``, it leaves
    ``out[n, j] = sum_k a[n, k] * b[j, k]`` for the first `rows` and `columns` of the tile's own, at least 1; added to `out`
    where not `fresh`. Integers are added modulo 2^32.

    Parameters
    ----------
    kind : Kind
        What is multiplied.
    rows, columns : int
        Shape of the tile.
    offsets : str
        How 128 times the sum of each row of B is taken off, where A's bytes are multiplied with 128 added: ``none`` (not
        at all), ``given`` (int32, one for each column, at the address `offsets`), ``inline`` (summed beside the
        products). With ``only``, they are what the tile computes.
    """

    @intrinsic
    def tile(_context, a, a_step, b, b_step, terms, out, out_step, rows_here, columns_here, fresh, given):
        def codegen(context, builder, _signature, arguments):
            a, a_step, b, b_step, terms, out, out_step, rows_here, columns_here, fresh, given = arguments
            writer = Tile(builder, kind, (rows, columns), offsets)
            left = writer.starts(a, a_step, rows, rows_here)
            right = writer.starts(b, b_step, columns, columns_here)
            sums = writer.all_sums(left, right, terms)
            writer.store(sums, out, out_step, (rows_here, columns_here), fresh, given)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 11), codegen

    return tile


@intrinsic
def scratch(_context, count):
    """Return the address of so many int32 (a literal number) on the stack of the calling function."""
    if not isinstance(count, types.IntegerLiteral):
        raise TypingError(f"scratch of {count}: needs a literal number")

    def codegen(_context, builder, _signature, _arguments):
        memory = cgutils.alloca_once(builder, v.vector(v.I32, count.literal_value))
        return builder.ptrtoint(memory, v.I64)

    return types.int64(count), codegen
