"""Register tiles over windows of a map: sums of outer products whose rows lie where a table says, K in two levels.

``C[r, c] = sum_g sum_t a(g, t, r) * b[g T + t, c]``, g ascending, then t: the tiles of `fasim.kernels.micro.broadcast`, for
numbers that no single step between rows reaches. A tile of a convolution's forward pass has a row for each of a few output
pixels, wherever they lie, a segment g for each row of the window and T contiguous numbers in it; a tile of its weight
gradient has a row for each of a few numbers of the window, a segment for each row of output pixels and T pixels in it. No
patches are ever copied.

A tile is an ``@intrinsic``: it becomes part of the compiled loop that calls it, as

``tile(places, a, a_segment, segments, a_k, terms, b, b_k, rows, columns, given)``

with ``a(g, t, r)`` at ``a + places[r] + g a_segment + t a_k``, where `places` is the address of int64 in bytes (of all rows
of the tile, also of those that do not exist, for they are read), and ``b[k, :]`` at ``b + k b_k``; the rest is as there.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.broadcast import Epilogue, Row, _Tile
from fasim.kernels.micro.dot import Kind

PLACE_BYTES = 8


class Loop:
    """A counting loop that carries values from round to round."""

    def __init__(self, b: v.Builder, name: str, limit: v.Value, carried: list[v.Value]) -> None:
        self.b, self.begun = b, [v.constant(0), *carried]
        before = b.basic_block
        self.head, body, self.end = (b.append_basic_block(f"{name}.{part}") for part in ("head", "body", "end"))
        b.branch(self.head)
        b.position_at_end(self.head)
        self.values = [b.phi(value.type) for value in self.begun]
        for value, first in zip(self.values, self.begun, strict=True):
            value.add_incoming(first, before)
        b.cbranch(b.icmp_signed("<", self.values[0], limit), body, self.end)
        b.position_at_end(body)

    def close(self, step: v.Value, carried: list[v.Value]) -> list[v.Value]:
        """End a round with new values; go on behind the loop with the last."""
        b = self.b
        later = [b.add(self.values[0], step), *carried]
        block = b.basic_block
        v.branch_back(b, self.head)
        for value, new in zip(self.values, later, strict=True):
            value.add_incoming(new, block)
        b.position_at_end(self.end)
        return self.values[1:]


def _all_sums(
    writer: _Tile, begun: list[v.Value], places: list[v.Value], numbers: list[v.Value], rows: list[Row]
) -> list[v.Value]:
    """Loop over segments and their terms, return the sums."""
    b, (a, a_segment, segments, a_k, terms, right, b_k) = writer.b, numbers
    length = b.mul(a_k, terms)
    outer = Loop(b, "windows.segment", segments, [a, right, *begun])
    _, segment, line, *sums = outer.values
    starts = [b.add(segment, place) for place in places]
    inner = Loop(b, "windows.term", length, [line, *sums])
    k, line, *sums = inner.values
    new = writer.step(sums, [b.add(start, k) for start in starts], line, rows[0].masks)
    line, *sums = inner.close(a_k, [b.add(line, b_k), *new])
    _, _, *sums = outer.close(v.constant(1), [b.add(segment, a_segment), line, *sums])
    return sums


def windows_tile(kind: Kind, rows: int, vectors: int, epilogue: Epilogue, *, step: int = 0, whole: bool = False) -> Any:  # noqa: ANN401
    """Return a function for compiled code that forms the sums of a tile and hands them to the epilogue, see above.

    Parameters
    ----------
    kind : Kind
        What is multiplied; its `parts` and `masked` do not matter here. Bytes need VNNI.
    rows, vectors : int
        Shape of the tile: ``rows * vectors`` sums, `vectors` rows of B and one number are in registers.
    epilogue : Epilogue
    step : int
        What `a_k` always is, where it is known: it frees a register. 0: as the call says.
    whole : bool
        Whether all rows and columns exist. Else any rows may, and of the columns those of the last vector.
    """

    @intrinsic
    def tile(_context, places, a, a_segment, segments, a_k, terms, b, b_k, rows_here, columns_here, given):
        def codegen(context, builder, signature, arguments):
            table, a, a_segment, segments, a_k, terms, b, b_k, rows_here, columns_here, packed = arguments
            writer = _Tile(builder, kind, (rows, vectors))
            masks: list[v.Value | None] = [None] * vectors
            if not whole:
                left = builder.sub(columns_here, v.constant((vectors - 1) * kind.sums.count))
                masks[-1] = v.first_lanes(builder, left, kind.sums.count)
            given = tuple(cgutils.unpack_tuple(builder, packed, len(signature.args[-1])))
            exist = [None if whole or i == 0 else builder.icmp_signed("<", v.constant(i), rows_here) for i in range(rows)]
            all_rows = [Row(i, kind, tuple(masks), exist[i]) for i in range(rows)]
            places = [v.load(builder, builder.add(table, v.constant(PLACE_BYTES * i)), v.I64) for i in range(rows)]
            begun = [total for row in all_rows for total in epilogue.begin(builder, row, given)]
            a_k = v.constant(step) if step else a_k
            sums = _all_sums(writer, begun, places, [a, a_segment, segments, a_k, terms, b, b_k], all_rows)
            for i, row in enumerate(all_rows):
                mine = sums[i * vectors : (i + 1) * vectors]
                if row.exists is None:
                    epilogue.end(builder, row, mine, given)
                else:
                    with builder.if_then(row.exists):
                        epilogue.end(builder, row, mine, given)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10, given), codegen

    return tile
