"""Updates of masters of 16 bits and of their weights, by gradients that never leave the registers where that is exact.

Whether it is depends on the learning rate, which may change between steps: where a step might need more than 16 bits all
is done unit by unit, with the same bits. Where formats allow sums that int32 does not hold it depends on the numbers too.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.factors import interleave, interleave_halves, update_weights_halves
from fasim.kernels.micro import amx
from fasim.kernels.micro.amx_move import amx_bytes_to_8
from fasim.kernels.micro.arrays import lies_in_rows, start
from fasim.kernels.micro.bounds import LINES, WINDOW, largest_of, sums_of
from fasim.kernels.micro.move import near_end
from fasim.kernels.micro.outer_integer import outer_sums
from fasim.kernels.micro.outer_move import move_bytes_to_8, move_words_to_8, move_words_to_16
from fasim.kernels.micro.split import PANEL, column_of
from fasim.kernels.requantize import requantize
from fasim.kernels.update import update_fixed
from fasim.scalar.rounding import RND, SAT, TRN

_LO, _HI = -(1 << 15), (1 << 15) - 1
_AT_ONCE = 12
_AMX = amx.SERVES
# groups of terms from which on AMX is faster: for 500 x 784 as fast for a batch of 16, 1.2 times for 32, 1.6 for 64
_MANY = 8


@njit(inline="always", cache=True)
def _by_units(
    left, right, offsets, master, base_shift, learning_shift, rounding, counters, cast_shift, weight, cast_counters
):
    """Do the same in single kernels, some units at once."""
    units, inputs = master.shape
    last = 8 * weight.itemsize - 1
    lo, hi = -(1 << last), (1 << last) - 1
    sums, gradient = np.empty((_AT_ONCE, PANEL), np.int32), np.empty((_AT_ONCE, right.shape[0] * PANEL), np.int32)
    for top in range(0, units, _AT_ONCE):
        count = min(_AT_ONCE, units - top)
        for p in range(right.shape[0]):
            outer_sums(left[:, top : top + count], right[p], offsets[top:], sums[:count])
            for j in range(count):
                row = gradient[j, PANEL * p : PANEL * (p + 1)]
                for place in range(PANEL):
                    row[column_of(place)] = sums[j, place]
        for j in range(count):
            mine = master[top + j]
            update_fixed(
                mine, gradient[j, :inputs], base_shift, learning_shift, _LO, _HI, rounding, SAT, 0, 0, learning_shift, 0,
                counters,
            )  # fmt: skip
            requantize(mine, cast_shift, lo, hi, RND, SAT, 0, 0, 0, 0, weight[top + j], cast_counters)


@njit(inline="always", cache=True)
def _move_bytes(left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers):
    """Move masters of int16 with weights of int8 by the faster of two ways."""
    if _AMX and terms >= _MANY:
        amx_bytes_to_8(left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers)
    else:
        move_bytes_to_8(left, right, terms, rows, columns, master, master_step, weight, weight_step, begin, numbers)


@njit(inline="always", cache=True)
def _update(
    move, left, right, offsets, begin, largest, master, base_shift, learning_shift, rounding, counters, cast_shift,
    weight, cast_counters,
):  # fmt: skip
    """Do what `update_weights_bytes` says, by tiles of one kind."""
    terms, units, group = left.shape
    inputs, size = master.shape[1], left.itemsize
    if right.shape[0] * PANEL < inputs or right.shape[1] != terms or right.shape[2] != PANEL or right.shape[3] != group:
        raise ValueError("update_weights: needs factors of shapes (M, J, G) and (ceil(I / 64), M, 64, G)")
    if units != master.shape[0] or min(offsets.size, begin.size) < units or weight.shape != master.shape:
        raise ValueError("update_weights: needs a row of master and weight, and an offset, for each unit")
    row = 4 * PANEL
    if left.strides != (4 * units, 4, size) or right.strides != (row * terms, row, 4, size):
        raise ValueError("update_weights: needs factors in C order, of groups of four bytes")
    if inputs > 1 and (master.strides[1] != master.itemsize or weight.strides[1] != weight.itemsize):
        raise ValueError("update_weights: needs rows whose elements lie side by side")
    casts = 1 <= cast_shift <= 15 if weight.itemsize == 1 else cast_shift == 0
    if not casts or rounding not in (TRN, RND):
        raise ValueError("update_weights: needs TRN or RND, and a cast that drops 1 to 15 bits, or none to 16 bits")
    if units == 0 or inputs == 0:
        return
    shift = base_shift + learning_shift[0]
    half = np.int64(1) << (shift - 1) if rounding == RND and 1 <= shift <= 31 else np.int64(0)
    if 1 <= shift <= 31 and largest + half < WINDOW and (largest + half) >> shift <= _HI:
        for j in range(units):
            begin[j] = np.int64(offsets[j]) + half
        near = near_end(cast_shift) if cast_shift > 0 else _HI
        factor = np.int64(1) << np.int64(15 - cast_shift)
        numbers = (np.int64(shift), factor, np.int64(near), start(counters), start(cast_counters))
        move(
            start(left), start(right), terms, units, inputs, start(master), master.strides[0], start(weight),
            weight.strides[0], start(begin), numbers,
        )  # fmt: skip
    else:
        _by_units(
            left, right, offsets, master, base_shift, learning_shift, rounding, counters, cast_shift, weight, cast_counters
        )


@kernel
def update_weights_bytes(
    left, right, offsets, begin, largest, master, base_shift, learning_shift, rounding, counters, cast_shift, weight,
    cast_counters,
):  # fmt: skip
    """Move weights by a gradient that never leaves the registers: `outer_sums`, `update_fixed`, `requantize`.

    ``master = SAT(master - round(sum / 2^(base + k)))``, ``weight = SAT(RND(master / 2^s))``, with
    ``sum[j, i] = offsets[j] + sum_m,g left[m, j, g] * right[m, i, g]``.

    Parameters
    ----------
    left : int8[M, J, 4]                    C order
    right : uint8[ceil(I / 64), M, 64, 4]   C order, see `fasim.kernels.split_panels`
    offsets : int32[J]
    begin : int32[J]                        scratch
    largest : int64
        No sum is of a larger magnitude; the caller has proven that int32 holds it.
    master : int16[J, I]                    updated; rows of any step
    base_shift : int64                      fraction bits of the sum minus those of the master
    learning_shift : int64[1]               k of this step
    rounding : int64
        TRN or RND of :mod:`fasim.scalar.rounding`.
    counters, cast_counters : int64[2]
        The first of each grows by the masters, the weights that were saturated.
    cast_shift : int64                      s, 1 to 15
    weight : int8[J, I]                     written; rows of any step

    Raises ValueError where shapes, layouts or modes do not fit. Cost: J I M groups of multiply-accumulates; reads and
    writes the master, writes the weight.
    """
    _update(
        _move_bytes, left, right, offsets, begin, largest, master, base_shift, learning_shift, rounding, counters,
        cast_shift, weight, cast_counters,
    )  # fmt: skip


@kernel
def update_weights_words(
    left, right, offsets, begin, largest, master, base_shift, learning_shift, rounding, counters, cast_shift, weight,
    cast_counters,
):  # fmt: skip
    """Do the same by sums of int16.

    Parameters
    ----------
    left : int16[M, J, 2]
    right : int16[ceil(I / 64), M, 64, 2]
    offsets : int32[J]              zeros
    begin, largest, master, base_shift, learning_shift, rounding, counters, cast_shift, weight, cast_counters
        As for `update_weights_bytes`.
    """
    _update(
        move_words_to_8, left, right, offsets, begin, largest, master, base_shift, learning_shift, rounding, counters,
        cast_shift, weight, cast_counters,
    )  # fmt: skip


@kernel
def update_weights_int16(
    left, right, offsets, begin, largest, master, base_shift, learning_shift, rounding, counters, cast_shift, weight,
    cast_counters,
):  # fmt: skip
    """Do the same with weights of 16 bits, copies of their masters.

    Parameters
    ----------
    left, right, offsets
        As for `update_weights_words`.
    cast_shift : int64              0
    weight : int16[J, I]            written; rows of any step
    begin, largest, master, base_shift, learning_shift, rounding, counters, cast_counters
        As for `update_weights_bytes`.
    """
    _update(
        move_words_to_16, left, right, offsets, begin, largest, master, base_shift, learning_shift, rounding, counters,
        cast_shift, weight, cast_counters,
    )  # fmt: skip


@kernel
def update_weights_read(
    delta, act, left, right, offsets, begin, halves, pairs, parts, sums, master, base_shift, learning_shift, rounding,
    counters, cast_shift, weight, cast_counters,
):  # fmt: skip
    """Do the same where sums may need int64: what the numbers allow is read off them, see `fasim.kernels.micro.bounds`.

    Parameters
    ----------
    delta : integer[N, J]                   of 16 bits at most
    act : int16[N, I]                       rows contiguous
    left, right, offsets
        As for `update_weights_words`, of these.
    begin : int32[J]                        scratch
    halves : int16[2, M, J, 2]              scratch, for numbers whose sums int32 might not hold
    pairs : int16[M, I, 2]                  scratch
    parts : int32[2, >= u, I]               scratch
    sums : int64[u, I]                      scratch; u units are then done at once, see `update_weights_halves`
    master, base_shift, learning_shift, rounding, counters, cast_shift, weight, cast_counters
        As for `update_weights_int16`.

    Raises ValueError where shapes, layouts or modes do not fit. Cost: J I M groups of multiply-accumulates, twice as many
    for units whose sums int32 might not hold; reads and writes the master, writes the weight.
    """
    terms, units, _ = left.shape
    inputs = master.shape[1]
    whole = delta.shape == (act.shape[0], units) and act.shape[1] == inputs and (act.shape[0] + 1) // 2 == terms
    scratch = halves.shape == (2, terms, units, 2) and pairs.shape == (terms, inputs, 2) and begin.size >= units
    block = min(parts.shape[1], sums.shape[0])
    if not (whole and scratch and parts.shape[2] == sums.shape[1] == inputs and parts.shape[0] == 2 and block > 0):
        raise ValueError("update_weights_read: needs delta (N, J), act (N, I), factors of these and scratch for them")
    if not lies_in_rows(act):
        raise ValueError("update_weights_read: needs rows of act whose elements lie side by side")
    words = left.reshape(left.size).view(np.int32)
    most = sums_of(words, units, terms, LINES, begin[:units])[1]
    largest = most * largest_of(start(act), act.strides[0], act.shape[0], act.shape[1])
    if largest < WINDOW:
        _update(
            move_words_to_16, left, right, offsets, begin, largest, master, base_shift, learning_shift, rounding, counters,
            cast_shift, weight, cast_counters,
        )  # fmt: skip
    else:
        interleave_halves(delta, halves)
        interleave(act, 0, pairs)
        update_weights_halves(
            halves, pairs, parts, sums, master, base_shift, learning_shift, _LO, _HI, rounding, SAT, 0, 0, learning_shift,
            0, counters, True, cast_shift, _LO, _HI, RND, SAT, weight, cast_counters,
        )  # fmt: skip
