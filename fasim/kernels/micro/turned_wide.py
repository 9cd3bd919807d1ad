"""Products of rows with rows of int16 for a batch whose sums are exact in int64, as outer products of columns.

A lane adds up to 255 products of up to 2^23 in int32, which holds them: (2 * 127 + 1) 2^23 < 2^31. Blocks of so many terms
are then added in int64. Larger products come from halves of A, ``a = 256 high + low`` with low = 0 .. 255 and high =
-128 .. 127, each turned and multiplied by itself.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro.arrays import keep
from fasim.kernels.micro.blocks import block_length
from fasim.kernels.micro.kinds import INT16
from fasim.kernels.micro.turn import turn_sums, turn_words
from fasim.kernels.micro.turned import (
    BAND,
    INTEGER_UNITS,
    MOST,
    SAMPLES,
    copy_last,
    form_sums,
    pairs1,
    pairs2,
    pairs3,
    pairs4,
    pairs_one1,
    pairs_one2,
    pairs_one3,
    pairs_one4,
    spread,
)

_LANES = INT16.sums.count
_WORD, _LONG = 4, 8
_ALIGNMENT = 64
# Pairs of terms that a lane adds, beside a last half one
_PAIRS = 127
_LINES = BAND + MOST


@intrinsic
def _longs(_context, address):
    """Return an address as a pointer to int64."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int64)(address), codegen


@njit(inline="always", cache=True)
def _start(array):
    """Return where an array begins; whoever goes there keeps it."""
    return np.int64(array.ctypes.data)


@njit(inline="always", cache=True)
def _halve(numbers, high):
    """Leave the low halves of int16, 0 .. 255, and write the high ones."""
    for i in range(numbers.size):
        high[i] = numbers[i] >> 8
        numbers[i] = numbers[i] & 255


@njit(inline="always", cache=True)
def _add(totals, sums):
    for i in range(totals.size):
        totals[i] += np.int64(sums[i])


@njit(inline="always", cache=True)
def _add_halves(totals, low, high):
    for i in range(totals.size):
        totals[i] += np.int64(low[i]) + (np.int64(high[i]) << 8)


@njit(inline="always", cache=True)
def _part(totals, low, high):
    """Write the words of int64."""
    for i in range(totals.size):
        low[i] = np.int32(totals[i])
        high[i] = np.int32(totals[i] >> 32)


@njit(inline="always", cache=True)
def _join(low, high, out):
    for j in range(out.size):
        out[j] = (np.int64(high[j]) << 32) | np.int64(np.uint32(low[j]))


@njit(inline="always", cache=True)
def _band(vectors, turned, line, b, b_step, ends, sums, first, here, words, rest, out):
    """Form the int32 sums of a band."""
    if vectors == 1:
        each = INTEGER_UNITS[0]
        form_sums(pairs1, pairs_one1, each, turned, line, b, b_step, ends, sums, first, here, words, rest, out)
    elif vectors == 2:
        each = INTEGER_UNITS[1]
        form_sums(pairs2, pairs_one2, each, turned, line, b, b_step, ends, sums, first, here, words, rest, out)
    elif vectors == 3:
        each = INTEGER_UNITS[2]
        form_sums(pairs3, pairs_one3, each, turned, line, b, b_step, ends, sums, first, here, words, rest, out)
    else:
        each = INTEGER_UNITS[3]
        form_sums(pairs4, pairs_one4, each, turned, line, b, b_step, ends, sums, first, here, words, rest, out)


@kernel
def turned_wide(a, a_step, b, b_step, split, out, out_step, rows, columns, terms):
    """``out = a b^T`` of int16 in int64 at addresses, steps in bytes; products up to 2^23, or any if `split`."""
    pairs, rest = terms // 2, 2 * (terms % 2)
    length = block_length(pairs, _PAIRS, 1)
    lines = (pairs + 1) * SAMPLES
    # A twice, sums of a band twice, and turned twice, ends of B's rows
    memory = np.empty((2 * lines + 2 * _LINES * SAMPLES + 2 * SAMPLES * BAND + columns + _ALIGNMENT // _WORD), np.int32)
    begin = (-_start(memory) % _ALIGNMENT) // _WORD
    turned, high = memory[begin : begin + lines], memory[begin + lines : begin + 2 * lines]
    begin += 2 * lines
    sums, more = memory[begin : begin + _LINES * SAMPLES], memory[begin + _LINES * SAMPLES : begin + 2 * _LINES * SAMPLES]
    begin += 2 * _LINES * SAMPLES
    lower, upper = memory[begin : begin + SAMPLES * BAND], memory[begin + SAMPLES * BAND : begin + 2 * SAMPLES * BAND]
    ends = memory[begin + 2 * SAMPLES * BAND :]
    totals = np.empty(_LINES * SAMPLES, np.int64)
    for j in range(columns if rest else 0):
        copy_last(b + j * b_step + pairs * _WORD, rest, _start(ends) + j * _WORD, 0)
    for n in range(0, rows, SAMPLES):
        count = min(SAMPLES, rows - n)
        vectors = (count + _LANES - 1) // _LANES
        each, line = INTEGER_UNITS[vectors - 1], vectors * _LANES * _WORD
        turn_words(a + n * a_step, a_step, _start(turned), line, count, pairs, 0)
        for i in range(count if rest else 0):
            copy_last(a + (n + i) * a_step + pairs * _WORD, rest, _start(turned) + pairs * line + i * _WORD, 0)
        if split:
            _halve(turned.view(np.int16), high.view(np.int16))
        for first in range(0, columns, BAND):
            here, to = min(BAND, columns - first), out + n * out_step + _LONG * first
            mine = totals[: (here + each - 1) // each * each * vectors * _LANES]
            mine[:] = 0
            for start in range(0, max(pairs, 1), length):
                here_pairs, last = min(length, pairs - start), rest if start + length >= pairs else 0
                right, left = b + start * _WORD, start * line
                asked = to, out_step, count if start == 0 else 0, _LONG
                _band(
                    vectors, _start(turned) + left, line, right, b_step, _start(ends), _start(sums),
                    first, here, here_pairs, last, asked,
                )  # fmt: skip
                if split:
                    _band(
                        vectors, _start(high) + left, line, right, b_step, _start(ends), _start(more),
                        first, here, here_pairs, last, (to, out_step, 0, _LONG),
                    )  # fmt: skip
                    _add_halves(mine, sums, more)
                else:
                    _add(mine, sums)
            _part(mine, sums, more)
            spread(turn_sums, _start(sums), line, _start(lower), BAND * _WORD, first, here, each, count, 0)
            spread(turn_sums, _start(more), line, _start(upper), BAND * _WORD, first, here, each, count, 0)
            for i in range(count):
                row = carray(_longs(to + i * out_step), (here,))
                _join(lower[i * BAND : i * BAND + here], upper[i * BAND : i * BAND + here], row)
    keep(memory)
