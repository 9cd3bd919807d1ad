"""Columns of interleaved numbers in the order in which two vectors of their sums become one of half the width.

That is the order of vpackssdw, which takes four numbers of each of two vectors by turns: of every 32 columns of a panel of
64 those come first that it takes from the first vector, then the others. A panel lies closely packed.
"""

from __future__ import annotations

from typing import Any

from numba import njit
from numba.core import types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.arrays import start
from fasim.kernels.micro.interleave import grouped

PANEL = 64
"""Columns of a panel."""
HALF = 32
_LANES = 16
_FIRST = [column for column in range(HALF) if column % 8 < 4]
_SECOND = [column for column in range(HALF) if column % 8 >= 4]


def _splitter(group: int) -> Any:  # noqa: ANN401 - Numba has no public type
    """Return ``tile(source, step, rows, target, columns, flip)``: a row of a panel, from rows of the source."""
    size = 4 // group

    @intrinsic
    def tile(_context, source, step, rows, target, columns, flip):
        def codegen(context, b, _signature, arguments):
            source, step, rows, target, columns, flip = arguments
            exist = [b.icmp_signed("<", v.constant(g), rows) for g in range(group)]
            turned = v.splat(b, b.trunc(flip, v.I32), _LANES)
            for half in range(0, PANEL, HALF):
                found = []
                for first in (half, half + _LANES):
                    mask = v.first_lanes(b, b.sub(columns, v.constant(first)), _LANES)
                    at = [b.add(source, b.add(b.mul(step, v.constant(g)), v.constant(size * first))) for g in range(group)]
                    found.append(b.xor(grouped(b, group, at, exist, mask, _LANES), turned))
                for place, lanes in ((half, _FIRST), (half + _LANES, _SECOND)):
                    v.store(b, v.shuffle(b, *found, lanes), b.add(target, v.constant(4 * place)))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return tile


_bytes, _words = _splitter(4), _splitter(2)


@njit(inline="always", cache=True)
def column_of(place):
    """Return which column of a panel lies at a place."""
    within = place % HALF
    return place - within + within % _LANES // 4 * 8 + within // _LANES * 4 + within % 4


@kernel
def split_panels(source, flip, out):
    """Lay terms in groups and columns in panels: ``out[p, m, place, g] = source[G m + g, 64 p + column_of(place)] ^ flip``.

    Parameters
    ----------
    source : integer[N, I]      of 8 bits for G = 4, of 16 for 2; rows contiguous
    flip : int64
        0, or 0x80808080 to add 128 to int8 for an `out` of uint8.
    out : integer[ceil(I / 64), ceil(N / G), 64, G]
        Written; what stands for terms or columns that there are not is any number.

    Raises ValueError where shapes do not fit or a row is not contiguous.
    """
    terms, columns = source.shape
    panels, groups, places, group = out.shape
    size = source.itemsize
    if size * group != 4 or out.itemsize != size or places != PANEL:
        raise ValueError("split_panels: needs groups of four bytes and panels of 64 columns, of the type of the source")
    if groups * group < terms or panels * PANEL < columns or (columns > 1 and source.strides[1] != size):
        raise ValueError("split_panels: needs room for all terms and columns, and rows whose elements lie side by side")
    begin, step, target = start(source), source.strides[0], start(out)
    for p in range(panels):
        here = min(PANEL, columns - PANEL * p)
        for m in range(groups):
            at = begin + group * m * step + PANEL * p * size
            to = target + (p * groups + m) * (4 * PANEL)
            if size == 1:
                _bytes(at, step, terms - group * m, to, here, flip)
            else:
                _words(at, step, terms - group * m, to, here, flip)
