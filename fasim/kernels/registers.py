"""Rows of registers of limited width: the parts that the kernels of `fasim.kernels.accumulate` are made of."""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.scalar.constants import LANES, TREE
from fasim.scalar.rounding import JAM, NUMERIC_STD, RND, SAT, SAT_SYM, TRN, WRAP, overflow, shift_round

_BLOCK = 32


@njit(inline="always", cache=True)
def _add_quickly(row, factor, source, shift, rounding, lo, hi, mode, bring):
    """Do what `add_products` does for what most datapaths have, in the narrow type of the registers."""
    cast = row.dtype.type
    last = 8 * row.itemsize - 1
    factor = cast(cast(factor) << min(max(-shift, 0), last))
    drop = cast(min(max(shift, 0), last))
    half = cast(min(max(shift - 1, 0), last))
    up = cast(1 if rounding == RND and shift > 0 else 0)
    low, high, span = cast(lo), cast(hi), cast(hi - lo)
    events = cast(0)
    if drop == 0 and not bring:
        for j in range(row.shape[0]):
            row[j] = cast(row[j] + cast(factor * cast(source[j])))
    elif drop == 0 and mode != WRAP:
        for j in range(row.shape[0]):
            value = cast(row[j] + cast(factor * cast(source[j])))
            inside = min(max(value, low), high)
            events = cast(events + (cast(1) if inside != value else cast(0)))
            row[j] = inside
    elif not bring:
        for j in range(row.shape[0]):
            product = cast(factor * cast(source[j]))
            row[j] = cast(row[j] + cast(cast(product >> drop) + cast(cast(product >> half) & up)))
    elif mode == WRAP:
        for j in range(row.shape[0]):
            product = cast(factor * cast(source[j]))
            value = cast(row[j] + cast(cast(product >> drop) + cast(cast(product >> half) & up)))
            inside = cast(low + cast(cast(value - low) & span))
            events = cast(events + (cast(1) if inside != value else cast(0)))
            row[j] = inside
    else:
        for j in range(row.shape[0]):
            product = cast(factor * cast(source[j]))
            value = cast(row[j] + cast(cast(product >> drop) + cast(cast(product >> half) & up)))
            inside = min(max(value, low), high)
            events = cast(events + (cast(1) if inside != value else cast(0)))
            row[j] = inside
    return np.int64(events)


@njit(inline="always", cache=True)
def add_products(row, factor, source, shift, rounding, lo, hi, mode, bring):
    """``row[j] += round(factor * source[j])``, in range where `bring`; return the additions that left the range."""
    simple = rounding in (TRN, RND) or (shift <= 0 and rounding != JAM)
    if simple and (not bring or mode in (SAT, SAT_SYM, WRAP)):
        return _add_quickly(row, factor, source, shift, rounding, lo, hi, mode, bring)
    cast = row.dtype.type
    events = np.int64(0)
    for j in range(row.shape[0]):
        value = np.int64(row[j]) + shift_round(cast(cast(factor) * cast(source[j])), shift, rounding, 0)
        if bring:
            events += np.int64(value < lo) | np.int64(value > hi)
            value = overflow(value, lo, hi, mode)
        row[j] = value
    return events


@njit(inline="always", cache=True)
def _add_register(registers, place, lo, hi, mode):
    """Add a register to register 0, in range; return the additions that left it."""
    events = np.int64(0)
    for j in range(registers.shape[1]):
        value = np.int64(registers[0, j]) + np.int64(registers[place, j])
        events += np.int64(value < lo) | np.int64(value > hi)
        registers[0, j] = overflow(value, lo, hi, mode)
    return events


@kernel
def add_all(registers, factors, sources, shift, rounding, lo, hi, mode, every_mac, order, lanes):
    """Add ``factors[k] * sources[k, :]`` for all k, each to the register that the order has for it; return the events."""
    terms = factors.shape[0]
    grouped = every_mac and order == TREE
    events = np.int64(0)
    for k in range(terms):
        place = 1 if grouped else (k % lanes if every_mac and order == LANES else 0)
        bring = every_mac and not grouped
        if factors[k] != 0 or rounding == JAM:  # no other mode rounds 0 up
            events += add_products(registers[place], factors[k], sources[k], shift, rounding, lo, hi, mode, bring)
        if grouped and ((k + 1) % lanes == 0 or k + 1 == terms):
            events += _add_register(registers, 1, lo, hi, mode)
            registers[1] = 0
    return events


@njit(inline="always", cache=True)
def load_bias(registers, bias, bias_shift, lo, hi, mode, every_mac):
    """Start a row of registers from its biases; return those that left the range."""
    registers[:] = 0
    events = np.int64(0)
    for j in range(bias.shape[0]):
        value = np.int64(bias[j]) << bias_shift
        if every_mac:
            events += np.int64(value < lo) | np.int64(value > hi)
            value = overflow(value, lo, hi, mode)
        registers[0, j] = value
    return events


@njit(inline="always", cache=True)
def finish(registers, lo, hi, mode, every_mac, order, lanes, out):
    """Bring the registers together into a row of `out`; return the additions (or sums) that left the range."""
    events = np.int64(0)
    if every_mac and order == LANES:
        for place in range(1, lanes):
            events += _add_register(registers, place, lo, hi, mode)
    for j in range(out.shape[0]):
        value = np.int64(registers[0, j])
        if not every_mac:
            events += np.int64(value < lo) | np.int64(value > hi)
            value = overflow(value, lo, hi, mode)
        out[j] = value
    return events


@njit(inline="always", cache=True)
def count_events(counters, mode, events):
    """Add events to the counter of an overflow mode."""
    counters[1 if mode in (WRAP, NUMERIC_STD) else 0] += events


@njit(inline="always", cache=True)
def transpose(matrix, out):
    """``out = matrix.T``, block by block: a column of bytes read alone would touch one cache line each."""
    for top in range(0, matrix.shape[0], _BLOCK):
        for left in range(0, matrix.shape[1], _BLOCK):
            for i in range(left, min(left + _BLOCK, matrix.shape[1])):
                for j in range(top, min(top + _BLOCK, matrix.shape[0])):
                    out[i, j] = matrix[j, i]
