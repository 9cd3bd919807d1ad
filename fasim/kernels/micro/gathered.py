"""Products with numbers that an index names, a vector of columns at a time: what sparse feedback adds up.

An ``@intrinsic``, called as ``gather(row, index, values, count, first, totals, places)`` with contiguous arrays of one
type T beside int32: for the columns c = first, first + 1, ... of the next `LANES`

``totals[c] = (totals[c] + row[index[c]] * values[c]) where count[c] > places, else totals[c]``

one rounding for the product, one for the sum. Where `count` says that a column has no such entry, nothing of `row` is read.
"""

from __future__ import annotations

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v

LANES = 16


def _data(context, b, kind, array):
    return b.ptrtoint(context.make_array(kind)(context, b, array).data, v.I64)


@intrinsic
def gather(_context, row, index, values, count, first, totals, places):
    """Add an entry of each of the next columns, see above."""

    def codegen(context, b, _signature, arguments):
        given = [_data(context, b, kind, one) for kind, one in zip((row, index, values, count), arguments, strict=False)]
        at_row, at_index, at_values, at_count = given
        first, totals_data, places_now = arguments[4], _data(context, b, totals, arguments[5]), arguments[6]
        element = ir.FloatType() if row.dtype == types.float32 else ir.IntType(row.dtype.bitwidth)
        kind, numbers = v.vector(element, LANES), v.vector(v.I32, LANES)
        size, word = row.dtype.bitwidth // 8, 4
        narrow, wide = b.mul(first, v.constant(word)), b.mul(first, v.constant(size))
        entries = v.load(b, b.add(at_count, narrow), numbers)
        mask = b.icmp_signed(">", entries, v.splat(b, b.trunc(places_now, v.I32), LANES))
        chosen = v.load(b, b.add(at_index, narrow), numbers)
        start = v.pointer(b, at_row, element)
        pointers = b.gep(v.splat(b, start, LANES), [chosen], source_etype=element)
        name = f"llvm.masked.gather.v{LANES}{'f32' if element == v.F32 else f'i{element.width}'}.v{LANES}p0"
        found = v.call(b, name, kind, [pointers, ir.Constant(v.I32, size), mask, v.zero(kind)])
        factor = v.load(b, b.add(at_values, wide), kind)
        to = b.add(totals_data, wide)
        old = v.load(b, to, kind)
        product = b.fmul(found, factor) if element == v.F32 else b.mul(found, factor)
        v.store(b, b.select(mask, v.add(b, old, product), old), to)
        return context.get_dummy_value()

    return types.void(row, index, values, count, types.int64, totals, types.int64), codegen
