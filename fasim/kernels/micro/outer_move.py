"""Masters and weights moved by sums of outer products that stay in registers, see `fasim.kernels.micro.move`."""

from __future__ import annotations

from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.broadcast import broadcast_tile
from fasim.kernels.micro.kinds import INT8, INT16, VNNI, WIDE
from fasim.kernels.micro.move import moving
from fasim.kernels.micro.split import HALF, PANEL

SERVES = WIDE
"""Whether the CPU has what the tiles need; elsewhere they are never called."""
_ROWS = 6
# up to so many groups of terms memory is what counts, and rows are taken as they lie there; with more, panels are shared
_FEW_TERMS = 8
# other CPUs only compile nothing of this: their vectors are half as long
_WORDS = INT16 if WIDE else INT16._replace(sums=v.vector(v.I32, 16))
_BYTES = INT8 if VNNI else _WORDS

_bytes_to_8 = broadcast_tile(_BYTES, _ROWS, 4, moving(v.I8, whole=True), whole=True)
_part_bytes_to_8, _half_bytes_to_8 = (broadcast_tile(_BYTES, _ROWS, n, moving(v.I8, whole=False)) for n in (4, 2))
_words_to_8 = broadcast_tile(_WORDS, _ROWS, 4, moving(v.I8, whole=True), whole=True)
_part_words_to_8, _half_words_to_8 = (broadcast_tile(_WORDS, _ROWS, n, moving(v.I8, whole=False)) for n in (4, 2))
_words_to_16 = broadcast_tile(_WORDS, _ROWS, 4, moving(v.I16, whole=True), whole=True)
_part_words_to_16, _half_words_to_16 = (broadcast_tile(_WORDS, _ROWS, n, moving(v.I16, whole=False)) for n in (4, 2))


@njit(inline="always", cache=True)
def _cover(tiles, size, left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers):
    """Cover masters with tiles: bands of rows, in each the panels of columns."""
    whole, part, half = tiles
    band = _ROWS if terms <= _FEW_TERMS else 2 * _ROWS
    for top in range(0, rows, band):
        for c in range(0, columns, PANEL):
            panel = right + 4 * c * terms
            for r in range(top, min(top + band, rows), _ROWS):
                a, here, width = left + 4 * r, rows - r, columns - c
                places = (
                    master + r * master_step + 2 * c, master_step, weight + r * weight_step + size * c, weight_step,
                    begin + 4 * r, width,
                )  # fmt: skip
                given = (*places, *numbers)
                if here >= _ROWS and width >= PANEL:
                    whole(a, 4, 4 * rows, panel, 4 * PANEL, terms, _ROWS, PANEL, given)
                elif width > HALF:
                    part(a, 4, 4 * rows, panel, 4 * PANEL, terms, here, PANEL, given)
                else:
                    half(a, 4, 4 * rows, panel, 4 * PANEL, terms, here, HALF, given)


@kernel
def move_bytes_to_8(left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers):
    """Move masters of int16 with weights of int8 by sums of bytes; addresses and steps in bytes, all int64."""
    _cover(
        (_bytes_to_8, _part_bytes_to_8, _half_bytes_to_8), 1,
        left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers,
    )  # fmt: skip


@kernel
def move_words_to_8(left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers):
    """Do the same by sums of int16."""
    _cover(
        (_words_to_8, _part_words_to_8, _half_words_to_8), 1,
        left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers,
    )  # fmt: skip


@kernel
def move_words_to_16(left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers):
    """Do the same with weights of int16."""
    _cover(
        (_words_to_16, _part_words_to_16, _half_words_to_16), 2,
        left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers,
    )  # fmt: skip
