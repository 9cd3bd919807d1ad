"""Updates of masters of 16 bits by the gradient of one sample, in one pass with the forward pass of the next."""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro.arrays import start
from fasim.kernels.micro.move import near_end
from fasim.kernels.micro.move_product import pack_panels, rows_moved
from fasim.kernels.micro.split import PANEL
from fasim.kernels.move_one import BITS, DELTA_BITS, update_weights_of_one

# rows side by side, and panels from one that is moved to one that is asked for: 784 x 500 take 17.1 us by four rows, 19 by
# one, 21 by six; 9.4, 11 and 9.4 where they are only read. Where weights are stored too, two rows take 22 us and four 24
_move, _move_one = rows_moved(4, "move", 4), rows_moved(1, "move", 4)
_read, _read_one = rows_moved(4, "read", 8), rows_moved(1, "read", 8)
_write, _write_one = rows_moved(2, "write", 16), rows_moved(1, "write", 16)
_AT_ONCE, _WRITTEN_AT_ONCE = 4, 2
ROWS_AHEAD = 8
"""Numbers of rows that may be read behind the last."""


@njit(inline="always", cache=True)
def _sort(delta, rows, moves):
    """Put the numbers of rows that move first, of all if `moves`, then those of the others; return how many move."""
    units = delta.size
    first, last = 0, units - 1
    # both places are free, and what is put into the wrong one does not stay: no branch that nobody can predict
    for j in range(units):
        rows[first], rows[last] = j, j
        move = np.int64(moves or delta[j] != 0)
        first += move
        last -= 1 - move
    for j in range(units, rows.size):
        rows[j] = units - 1
    return first


@njit(inline="always", cache=True)
def _plain_sums(act, weight, out):
    for j in range(weight.shape[0]):
        total = np.int32(0)
        for i in range(act.size):
            total = np.int32(total + np.int32(np.int32(act[i]) * np.int32(weight[j, i])))
        out[j] = total


@njit(inline="always", cache=True)
def _check(delta, before, master, cast_shift, weight, act, scratch, out):
    units, inputs = master.shape
    acts, packed, rows = scratch
    fits = delta.size == units and out.size == units and before.size == inputs and act.size == inputs
    if not fits or weight.shape != master.shape:
        raise ValueError("dense_forward_moved: needs delta and out (J), before and act (I), master and weight (J, I)")
    room = -(-inputs // PANEL) * PANEL
    if acts.size < room or packed.size < room or rows.size < units + ROWS_AHEAD:
        raise ValueError("dense_forward_moved: needs acts and packed in whole panels, and more rows than there are")
    apart = master.strides[1] != master.itemsize or weight.strides[1] != weight.itemsize or before.strides[0] != 1
    if (inputs > 1 and (apart or act.strides[0] != 1)) or (units > 1 and delta.strides[0] != 1):
        raise ValueError("dense_forward_moved: needs rows whose elements lie side by side")
    if cast_shift < 1 or cast_shift > BITS:
        raise ValueError("dense_forward_moved: needs a cast that drops 1 to 15 bits")


@kernel
def dense_forward_moved(
    delta, before, master, base_shift, learning_shift, counters, cast_shift, weight, writes, cast_counters, act,
    acts, packed, rows, out,
):  # fmt: skip
    """Move weights by the gradient of one sample, and form the sums of the next: `update_weights_of_one` and a product.

    ``master[j, i] = SAT(master - RND(delta[j] * before[i] / 2^(base + k)))``, ``weight = SAT(RND(master / 2^s))``,
    ``out[j] = sum_i act[i] * weight[j, i]``

    Parameters
    ----------
    delta : int8[J]
    before : int8[I] or uint8[I]            what the layer read when `delta` arose
    master : int16[J, I]                    updated; rows of any step
    base_shift : int64                      fraction bits of the product minus those of the master
    learning_shift : int64[1]               k of this step
    counters, cast_counters : int64[2]
        The first of each grows by the masters, the weights that were saturated.
    cast_shift : int64                      s, 1 to 15
    weight : int8[J, I]                     rows of any step
    writes : bool
        Whether weights are stored. Else they may be or not: who reads them later calls `update_weights_of_one` first.
    act : int8[I] or uint8[I]               what the layer reads now, of the type of `before`
    acts : int16[64 ceil(I / 64)]           scratch
    packed : uint8[64 ceil(I / 64)]         scratch
    rows : int64[J + 8]                     scratch
    out : int32[J]                          written; sums modulo 2^32

    Raises ValueError where shapes, layouts or the cast do not fit. Needs AVX-512 VNNI. Cost: 2 J I products; each master is
    read and written once, and only read where a delta is 0. A shift beyond 0 to 15 takes several times as long.
    """
    _check(delta, before, master, cast_shift, weight, act, (acts, packed, rows), out)
    units, inputs = master.shape
    shift = base_shift + learning_shift[0]
    if units == 0 or inputs == 0 or shift < 0 or shift > BITS:
        update_weights_of_one(
            delta, before, acts, master, base_shift, learning_shift, counters, cast_shift, weight, cast_counters
        )
        _plain_sums(act, weight, out)
        return
    up = min(BITS - shift, DELTA_BITS)
    more = BITS - shift - up
    less = np.int64(0)
    for i in range(inputs):
        acts[i] = np.int64(before[i]) << more
        less += np.int64(act[i])
    pack_panels(start(act), start(packed), inputs)
    factor = np.int64(1) << np.int64(BITS - cast_shift)
    numbers = (np.int64(up), factor, np.int64(near_end(cast_shift)), start(counters), start(cast_counters))
    first = start(rows)
    places = (
        start(delta), start(acts), start(packed), start(master), np.int64(master.strides[0]), start(weight),
        np.int64(weight.strides[0]), start(out), 128 * less, np.int64(inputs),
    )  # fmt: skip
    moving = _sort(delta, rows, writes)
    if writes:
        whole = units - units % _WRITTEN_AT_ONCE
        for r in range(0, whole, _WRITTEN_AT_ONCE):
            _write(act, (first + 8 * r, *places), numbers)
        for r in range(whole, units):
            _write_one(act, (first + 8 * r, *places), numbers)
        return
    whole = moving - moving % _AT_ONCE
    for r in range(0, whole, _AT_ONCE):
        _move(act, (first + 8 * r, *places), numbers)
    for r in range(whole, moving):
        _move_one(act, (first + 8 * r, *places), numbers)
    whole = units - (units - moving) % _AT_ONCE
    for r in range(moving, whole, _AT_ONCE):
        _read(act, (first + 8 * r, *places), numbers)
    for r in range(whole, units):
        _read_one(act, (first + 8 * r, *places), numbers)
