"""Sums of outer products in fixed point: factors interleaved for register tiles, and what is done with the sums.

A gradient is formed a few units at a time, in scratch that stays in the cache, and there the update that follows finds it:
one pass over master and weight. Integers are exact and updates know no neighbours: the bits are those of single kernels.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro.arrays import start as begin_of
from fasim.kernels.micro.bounds import WINDOW, largest_of
from fasim.kernels.micro.interleave import interleaver
from fasim.kernels.micro.outer_integer import PORTABLE, outer_sums
from fasim.kernels.requantize import requantize
from fasim.kernels.update import update_fixed

# 256 products of 255 and -2^15
_GROUPS_IN_INT32 = 128


_bytes, _words = interleaver(4), interleaver(2)


@njit(inline="always", cache=True)
def _place(source, flip, out):
    """Write ``out[m, c, g] = source[G m + g, c] ^ flip``, zeros behind the last term, one by one."""
    cast = out.dtype.type
    groups, columns, group = out.shape
    for m in range(groups):
        for c in range(columns):
            for g in range(group):
                n = group * m + g
                out[m, c, g] = cast(source[n, c] ^ flip) if n < source.shape[0] else cast(0)


@kernel
def interleave(source, flip, out):
    """Lay terms in groups for `fasim.kernels.micro.outer_integer`: ``out[m, c, g] = source[G m + g, c] ^ flip``.

    Parameters
    ----------
    source : integer[N, C]
    flip : int64
        0, or 128 to add 128 to int8 for an `out` of uint8.
    out : integer[ceil(N / G), C, G]    written; 0 where there is no term
    """
    groups, columns, group = out.shape
    size = source.itemsize
    lies = columns <= 1 or source.strides[1] == size
    if PORTABLE or not lies or size != out.itemsize or size * group != 4 or out.strides != (4 * columns, 4, size):
        _place(source, np.int64(flip), out)
        return
    begin, step, target = begin_of(source), source.strides[0], begin_of(out)
    for m in range(groups):
        at, rows, to = begin + group * m * step, source.shape[0] - group * m, target + 4 * columns * m
        if size == 1:
            _bytes(at, step, rows, to, columns, flip)
        else:
            _words(at, step, rows, to, columns, flip)


@kernel
def interleave_halves(source, out):
    """Lay the low and the high bytes of int16 in groups: ``source[2m + g, c] = out[0, m, c, g] + 256 out[1, m, c, g]``.

    Parameters
    ----------
    source : integer[N, C]                  of 16 bits at most
    out : int16[2, ceil(N / 2), C, 2]       written; 0 .. 255, and -128 .. 127; 0 where there is no term
    """
    for m in range(out.shape[1]):
        for c in range(out.shape[2]):
            for g in range(2):
                value = np.int64(source[2 * m + g, c]) if 2 * m + g < source.shape[0] else np.int64(0)
                out[0, m, c, g] = value & 255
                out[1, m, c, g] = value >> 8


@kernel
def flip_offsets(left, offsets):
    """Write what sums begin with where 128 was added to the other factor: ``offsets[j] = -128 sum_m,g left[m, j, g]``.

    Parameters
    ----------
    left : int8[M, J, 4]
    offsets : int32[J]      written
    """
    for j in range(offsets.size):
        offsets[j] = 0
    for m in range(left.shape[0]):
        groups = left[m]
        for j in range(offsets.size):
            total = np.int32(np.int32(groups[j, 0]) + np.int32(groups[j, 1]))
            total = np.int32(total + np.int32(np.int32(groups[j, 2]) + np.int32(groups[j, 3])))
            offsets[j] = np.int32(offsets[j] - np.int32(total << np.int32(7)))


@njit(inline="always", cache=True)
def _largest(right):
    """Return the largest magnitude in groups of int16; where they do not lie side by side, that of the type."""
    if right.strides[2] != 2 or (right.shape[1] > 1 and right.strides[1] != 4):
        return np.int64(1 << 15)
    return largest_of(begin_of(right), right.strides[0], right.shape[0], 2 * right.shape[1])


@njit(inline="always", cache=True)
def _join(left, first, whole):
    """Put halves of units first, first + 1, ... together; return the largest sum of magnitudes of one of them."""
    most = np.int64(0)
    for j in range(whole.shape[1]):
        total = np.int64(0)
        for m in range(whole.shape[0]):
            for g in range(2):
                number = np.int64(left[0, m, first + j, g]) + (np.int64(left[1, m, first + j, g]) << 8)
                whole[m, j, g] = number
                total += abs(number)
        most = max(most, total)
    return most


@njit(inline="always", cache=True)
def _sum_whole(left, right, largest, whole, parts, top, count):
    """Put the sums of units top, top + 1, ... into ``parts[0]`` where int32 surely holds them; return whether it does."""
    if _join(left, top, whole[:, :count]) * largest >= WINDOW:
        return False
    # words have no offsets: any array of int32 does
    outer_sums(whole[:, :count], right, parts[1].reshape(-1), parts[0, :count])
    return True


@njit(inline="always", cache=True)
def _sum_halves(left, right, parts, top, out):
    """Fill `out` with the sums of units top, top + 1, ... from halves."""
    count, groups = out.shape[0], left.shape[1]
    low, high = parts[0, :count], parts[1, :count]
    for start in range(0, max(groups, 1), _GROUPS_IN_INT32):
        stop = min(start + _GROUPS_IN_INT32, groups)
        outer_sums(left[0, start:stop, top : top + count], right[start:stop], parts[1].reshape(-1), low)
        outer_sums(left[1, start:stop, top : top + count], right[start:stop], parts[0].reshape(-1), high)
        for j in range(count):
            if start == 0:
                for i in range(out.shape[1]):
                    out[j, i] = np.int64(low[j, i]) + (np.int64(high[j, i]) << 8)
            else:
                for i in range(out.shape[1]):
                    out[j, i] += np.int64(low[j, i]) + (np.int64(high[j, i]) << 8)


@kernel
def outer_sums_halves(left, right, parts, out):
    """Sum outer products exactly in int64, from halves: ``out[j, i] = sum_m,g left[m, j, g] * right[m, i, g]``.

    Parameters
    ----------
    left : int16[2, M, J, 2]        halves of the numbers, see `interleave_halves`
    right : int16[M, I, 2]          C order
    parts : int32[2, >= u, I]       scratch; u units are held at once
    out : int64[J, I]               written

    Cost: J I M groups of multiply-accumulates, twice but for units whose numbers are small enough,
    ``sum |left| max |right| < 2^31``.
    """
    units = out.shape[0]
    block, largest = parts.shape[1], _largest(right)
    whole = np.empty((left.shape[1], block, 2), np.int16)
    for top in range(0, units, block):
        some = out[top : top + block]
        if _sum_whole(left, right, largest, whole, parts, top, some.shape[0]):
            some[:] = parts[0, : some.shape[0]]
        else:
            _sum_halves(left, right, parts, top, some)


@kernel
def update_weights(
    left, right, offsets, sums, master, base_shift, learning_shift, lo, hi, rounding, overflow_mode, seed, site, step,
    first, counters, casts, shift, cast_lo, cast_hi, cast_rounding, cast_mode, weight, cast_counters,
):  # fmt: skip
    """Move weights by a gradient that is never stored: `outer_sums`, `update_fixed`, `requantize`, some units at once.

    Parameters
    ----------
    left, right, offsets
        As for `outer_sums`.
    sums : int32[>= u, I]           scratch; u units are done at once
    master : integer[J, I]          updated
    base_shift, learning_shift, lo, hi, rounding, overflow_mode, seed, site, step, first, counters
        As for `update_fixed`, `first` the index of ``master[0, 0]``.
    casts : bool
        Whether there is a weight beside the master.
    shift, cast_lo, cast_hi, cast_rounding, cast_mode, cast_counters
        Of its cast, as for `requantize`, but for STOCH.
    weight : integer[J, I]          written where `casts`

    Cost: N J I multiply-accumulates; reads and writes the master, writes the weight.
    """
    units, inputs = master.shape
    block = sums.shape[0]
    for top in range(0, units, block):
        count = min(block, units - top)
        gradient, mine = sums[:count], master[top : top + count].reshape(-1)
        outer_sums(left[:, top : top + count], right, offsets[top:], gradient)
        update_fixed(
            mine, gradient.reshape(-1), base_shift, learning_shift, lo, hi, rounding, overflow_mode, seed, site, step,
            first + top * inputs, counters,
        )  # fmt: skip
        if casts:
            copy = weight[top : top + count].reshape(-1)
            requantize(mine, shift, cast_lo, cast_hi, cast_rounding, cast_mode, 0, 0, 0, 0, copy, cast_counters)


@kernel
def update_weights_halves(
    left, right, parts, sums, master, base_shift, learning_shift, lo, hi, rounding, overflow_mode, seed, site, step,
    first, counters, casts, shift, cast_lo, cast_hi, cast_rounding, cast_mode, weight, cast_counters,
):  # fmt: skip
    """Do the same with sums of `outer_sums_halves`.

    Parameters
    ----------
    left, right, parts
        As for `outer_sums_halves`.
    sums : int64[u, I]              scratch; u units are done at once
    master, base_shift, learning_shift, lo, hi, rounding, overflow_mode, seed, site, step, first, counters, casts, shift,
    cast_lo, cast_hi, cast_rounding, cast_mode, weight, cast_counters
        As for `update_weights`.

    Cost: N J I multiply-accumulates, as for `outer_sums_halves`; reads and writes the master, writes the weight.
    """
    units, inputs = master.shape
    block, largest = sums.shape[0], _largest(right)
    whole = np.empty((left.shape[1], block, 2), np.int16)
    for top in range(0, units, block):
        count = min(block, units - top)
        gradient, mine = sums[:count], master[top : top + count].reshape(-1)
        # the update of int32 takes a third of the time of int64's
        if _sum_whole(left, right, largest, whole, parts, top, count):
            update_fixed(
                mine, parts[0, :count].reshape(-1), base_shift, learning_shift, lo, hi, rounding, overflow_mode, seed, site,
                step, first + top * inputs, counters,
            )  # fmt: skip
        else:
            _sum_halves(left, right, parts, top, gradient)
            update_fixed(
                mine, gradient.reshape(-1), base_shift, learning_shift, lo, hi, rounding, overflow_mode, seed, site, step,
                first + top * inputs, counters,
            )  # fmt: skip
        if casts:
            copy = weight[top : top + count].reshape(-1)
            requantize(mine, shift, cast_lo, cast_hi, cast_rounding, cast_mode, 0, 0, 0, 0, copy, cast_counters)
