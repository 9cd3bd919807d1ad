"""Masters and weights moved by sums of bytes that AMX forms, see `fasim.kernels.micro.move`.

Sums of 16 units with a panel of 64 columns go by way of the first-level cache, for no instruction takes a tile to vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro import amx
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.arrays import address, keep
from fasim.kernels.micro.broadcast import Row
from fasim.kernels.micro.kinds import INT8
from fasim.kernels.micro.move import Places, moving
from fasim.kernels.micro.split import PANEL
from fasim.kernels.micro.turn import turn_words
from fasim.kernels.micro.windows import Loop

_WORD, _VECTORS = 4, PANEL // amx.SIDE
_LINE = _WORD * PANEL
_SUMS, _OF_A, _OF_B, _END_OF_A, _END_OF_B = 0, 4, 5, 6, 7

_configure = amx.configure_ends(_END_OF_A, _END_OF_B)


@intrinsic
def _form_sums(_context, a, a_step, whole, last, panel, out):
    """Form the sums of 16 units with a panel: K of `whole` tiles and, if not 0, `last` words."""

    def codegen(context, b, _signature, arguments):
        a, a_step, whole, last, panel, out = arguments
        line = v.constant(_LINE)

        def at(start: v.Value, part: int) -> v.Value:
            return b.add(start, v.constant(amx.BYTES * part))

        def add(of_a: int, of_b: int, left: v.Value, right: v.Value) -> None:
            amx.load(b, of_a, left, a_step)
            for i in range(_VECTORS):
                amx.load(b, of_b, at(right, i), line)
                amx.multiply(b, _SUMS + i, of_a, of_b, "su")

        for i in range(_VECTORS):
            amx.clear(b, _SUMS + i)
        loop = Loop(b, "move_amx", whole, [a, panel])
        _, left, right = loop.values
        add(_OF_A, _OF_B, left, right)
        later = [b.add(left, v.constant(amx.BYTES)), b.add(right, v.constant(amx.SIDE * _LINE))]
        left, right = loop.close(v.constant(1), later)
        with b.if_then(b.icmp_signed("!=", last, v.constant(0))):
            add(_END_OF_A, _END_OF_B, left, right)
        for i in range(_VECTORS):
            amx.store(b, _SUMS + i, at(out, i), line)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), codegen


def _row(*, whole: bool) -> Any:  # noqa: ANN401 - Numba has no public type
    """Return ``row(sums, given)``, which moves a row by the sums at an address; `given` is that of `moving`."""
    epilogue = moving(v.I8, whole=whole)
    place = Row(0, INT8, (None,) * _VECTORS)

    @intrinsic
    def row(_context, sums, given):
        def codegen(context, b, signature, arguments):
            start, packed = arguments
            given = tuple(cgutils.unpack_tuple(b, packed, len(signature.args[-1])))
            places = Places(*given[: len(Places._fields)])
            for at, lines in ((places.master, 2), (places.weight, 1)):
                for i in range(lines):
                    v.prefetch(b, b.add(at, v.constant(lines * PANEL + amx.BYTES * i)))
            begun = v.splat(b, v.load(b, places.begin, v.I32), amx.SIDE)
            found = [v.load(b, b.add(start, v.constant(amx.BYTES * i)), INT8.sums) for i in range(_VECTORS)]
            epilogue.end(b, place, [b.add(begun, sums) for sums in found], given)
            return context.get_dummy_value()

        return types.void(types.int64, given), codegen

    return row


_whole, _part = (_row(whole=whole) for whole in (True, False))


@njit(inline="always", cache=True)
def _move_rows(row, count, sums, places, numbers):
    """Move rows of a panel by their sums."""
    master, master_step, weight, weight_step, begin, width = places
    for i in range(count):
        mine = master + i * master_step, master_step, weight + i * weight_step, weight_step, begin + _WORD * i, width
        row(sums + i * _LINE, (*mine, *numbers))


@kernel
def amx_bytes_to_8(left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers):
    """Do what `fasim.kernels.micro.outer_move.move_bytes_to_8` does."""
    whole, last = terms // amx.SIDE, terms % amx.SIDE
    a_step = _WORD * max(terms, 1)
    memory = np.empty((1, amx.SIDE * (PANEL + max(terms, 1) + 1)), np.int32)
    sums = (address(memory, np.int32(0)) + amx.BYTES - 1) // amx.BYTES * amx.BYTES
    a = sums + amx.SIDE * _LINE
    _configure(last if last else amx.SIDE)
    for top in range(0, rows, amx.SIDE):
        count = min(amx.SIDE, rows - top)
        turn_words(left + _WORD * top, _WORD * rows, a, a_step, terms, count, 0)
        for c in range(0, columns, PANEL):
            _form_sums(a, a_step, whole, last, right + _WORD * c * terms, sums)
            own, copies, width = master + top * master_step + 2 * c, weight + top * weight_step + c, columns - c
            places = own, master_step, copies, weight_step, begin + _WORD * top, width
            if width >= PANEL:
                _move_rows(_whole, count, sums, places, numbers)
            else:
                _move_rows(_part, count, sums, places, numbers)
    amx.release()
    keep(memory)
