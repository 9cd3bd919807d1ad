"""Products of rows with rows of int16 for a batch whose sums are exact in int64, as outer products of columns.

Most numbers are far smaller than their type allows, so what sums can be is read off them, for each band of units
(`fasim.kernels.micro.bounds`): int32 takes as many terms as it surely holds, all of them if it can, before they become
int64. Magnitudes of A are added first, then, where these do not reach all terms, those of B: rows of saturated units are
all large, weights are not. Where that is not even a piece, terms come as halves of A, ``a = 256 high + low`` with low = 0
.. 255 and high = -128 .. 127, each turned and multiplied by itself. Against blocks of 255 terms, and halves wherever
formats allow large products: 0.9 of the time for 64 x 784 x 500 small numbers and 0.6 for 64 x 1000 x 1000, 1.05 where
nothing is small; 64 x 800 x 800 of saturated units and weights take 0.7 of the time of halves.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro.arrays import keep
from fasim.kernels.micro.blocks import block_length
from fasim.kernels.micro.bounds import PIECE, WINDOW, largest_of, pieces_of, sums_of
from fasim.kernels.micro.kinds import INT16
from fasim.kernels.micro.turn import turn_sums, turn_words
from fasim.kernels.micro.turned import (
    BAND,
    INTEGER_TERMS,
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
def _halve(numbers, low, high):
    """Write the low halves of int16, 0 .. 255, and the high ones."""
    for i in range(numbers.size):
        high[i] = numbers[i] >> 8
        low[i] = numbers[i] & 255


@njit(inline="always", cache=True)
def _add(sums, fresh, totals):
    """Add int32 to `totals`, or begin them where `fresh`."""
    if fresh:
        for i in range(totals.size):
            totals[i] = np.int64(sums[i])
    else:
        for i in range(totals.size):
            totals[i] += np.int64(sums[i])


@njit(inline="always", cache=True)
def _add_halves(low, high, fresh, totals):
    """Add ``low + 256 high`` likewise."""
    if fresh:
        for i in range(totals.size):
            totals[i] = np.int64(low[i]) + (np.int64(high[i]) << 8)
    else:
        for i in range(totals.size):
            totals[i] += np.int64(low[i]) + (np.int64(high[i]) << 8)


@njit(inline="always", cache=True)
def _part(totals, low, high):
    """Write the words of int64."""
    for i in range(totals.size):
        low[i] = np.int32(totals[i])
        high[i] = np.int32(totals[i] >> 32)


@njit(inline="always", cache=True)
def _widen(sums, out):
    for j in range(out.size):
        out[j] = sums[j]


@njit(inline="always", cache=True)
def _join(low, high, out):
    for j in range(out.size):
        out[j] = (np.int64(high[j]) << 32) | np.int64(np.uint32(low[j]))


@njit(inline="always", cache=True)
def _reach(of_piece, of_all, rest, pairs):
    """Return how many pairs of terms int32 adds: all, or whole pieces, each behind the others, and a half one behind them.

    `of_piece` and `of_all` are bounds of what is added of a piece and of all. A piece, 64 terms, is as short as it is still
    faster to make int64 of its sum than to multiply halves.
    """
    if of_all < WINDOW:
        return max(pairs, 1)
    return max((WINDOW - 1) // of_piece - min(rest, 1), 0) * PIECE


@njit(inline="always", cache=True)
def _reach_of_halves(largest):
    """Return how many pairs of halves int32 adds, and a half one: no half is larger than 255."""
    return ((WINDOW - 1) // (255 * largest) - 1) // 2


@kernel
def _form(vectors, turned, line, b, b_step, ends, sums, fresh, first, here, words, rest, out):
    """Form the int32 sums of a band, at addresses; ask for `out`, see `form_sums`."""
    each, most = INTEGER_UNITS[vectors - 1], INTEGER_TERMS
    if vectors == 1:
        form_sums(pairs1, pairs_one1, each, most, turned, line, b, b_step, ends, sums, fresh, first, here, words, rest, out)
    elif vectors == 2:
        form_sums(pairs2, pairs_one2, each, most, turned, line, b, b_step, ends, sums, fresh, first, here, words, rest, out)
    elif vectors == 3:
        form_sums(pairs3, pairs_one3, each, most, turned, line, b, b_step, ends, sums, fresh, first, here, words, rest, out)
    else:
        form_sums(pairs4, pairs_one4, each, most, turned, line, b, b_step, ends, sums, fresh, first, here, words, rest, out)


@kernel
def turned_wide(a, a_step, b, b_step, out, out_step, rows, columns, terms):
    """``out = a b^T`` of int16 in int64 at addresses, steps in bytes."""
    pairs, rest = terms // 2, 2 * (terms % 2)
    lines = (pairs + 1) * SAMPLES
    # A, its halves, sums of a band twice, and turned twice, ends of B's rows
    memory = np.empty(3 * lines + 2 * _LINES * SAMPLES + 2 * SAMPLES * BAND + columns + _ALIGNMENT // _WORD, np.int32)
    begin = (-_start(memory) % _ALIGNMENT) // _WORD
    turned, low, high = (
        memory[begin : begin + lines],
        memory[begin + lines : begin + 2 * lines],
        memory[begin + 2 * lines : begin + 3 * lines],
    )
    begin += 3 * lines
    sums, more = memory[begin : begin + _LINES * SAMPLES], memory[begin + _LINES * SAMPLES : begin + 2 * _LINES * SAMPLES]
    begin += 2 * _LINES * SAMPLES
    lower, upper = memory[begin : begin + SAMPLES * BAND], memory[begin + SAMPLES * BAND : begin + 2 * SAMPLES * BAND]
    ends = memory[begin + 2 * SAMPLES * BAND :]
    totals = np.empty(_LINES * SAMPLES, np.int64)
    scratch = np.empty(SAMPLES, np.int32)
    for j in range(columns if rest else 0):
        copy_last(b + j * b_step + pairs * _WORD, rest, _start(ends) + j * _WORD, 0)
    for n in range(0, rows, SAMPLES):
        count = min(SAMPLES, rows - n)
        vectors = (count + _LANES - 1) // _LANES
        each, lanes, halved = INTEGER_UNITS[vectors - 1], vectors * _LANES, False
        line, used = lanes * _WORD, lanes * (pairs + 1)
        if count % _LANES:
            turned[:] = 0  # lanes without a sample: what lies there would count
        turn_words(a + n * a_step, a_step, _start(turned), line, count, pairs, 0)
        for i in range(count if rest else 0):
            copy_last(a + (n + i) * a_step + pairs * _WORD, rest, _start(turned) + pairs * line + i * _WORD, 0)
        of_piece, of_all = sums_of(turned, lanes, pairs + rest // 2, PIECE, scratch[:lanes])
        largest_a = np.int64(0)
        for first in range(0, columns, BAND):
            here, to = min(BAND, columns - first), out + n * out_step + _LONG * first
            mine = totals[: (here + each - 1) // each * each * lanes]
            largest = largest_of(b + first * b_step, b_step, here, terms)
            length = _reach(largest * of_piece, largest * of_all, rest, pairs)
            if length < pairs:
                largest_a = max(largest_a, largest_of(a + n * a_step, a_step, count, terms))
                of_piece_b = pieces_of(b + first * b_step, b_step, here, terms)
                length = max(length, _reach(largest_a * of_piece_b, WINDOW, rest, pairs))
            whole = length > 0
            if not whole:
                length = _reach_of_halves(largest)
            if not (whole or halved):
                _halve(turned.view(np.int16)[: 2 * used], low.view(np.int16), high.view(np.int16))
                halved = True
            wide = not whole or length < pairs
            block = block_length(min(length, pairs), INTEGER_TERMS, 1)
            if whole and wide:
                # what int32 surely holds are whole pieces: none may begin or end within one
                block = min(length, INTEGER_TERMS)
            length = length - length % block if wide else pairs + block
            for start in range(0, max(pairs, 1), block):
                stop, fresh = start + block, start % length == 0
                here_pairs, last = min(block, pairs - start), rest if stop >= pairs else 0
                right, left = b + start * _WORD, start * line
                asked = to, out_step, count if start == 0 else 0, _LONG
                source = _start(turned if whole else low) + left
                _form(
                    vectors, source, line, right, b_step, _start(ends), _start(sums), fresh,
                    first, here, here_pairs, last, asked,
                )  # fmt: skip
                if not whole:
                    _form(
                        vectors, _start(high) + left, line, right, b_step, _start(ends), _start(more), fresh,
                        first, here, here_pairs, last, (to, out_step, 0, _LONG),
                    )  # fmt: skip
                if wide and (stop % length == 0 or stop >= pairs):
                    if whole:
                        _add(sums, start < length, mine)
                    else:
                        _add_halves(sums, more, start < length, mine)
            if wide:
                _part(mine, sums, more)
                spread(turn_sums, _start(more), line, _start(upper), BAND * _WORD, first, here, each, count, 0)
            spread(turn_sums, _start(sums), line, _start(lower), BAND * _WORD, first, here, each, count, 0)
            for i in range(count):
                row, words = carray(_longs(to + i * out_step), (here,)), lower[i * BAND : i * BAND + here]
                if wide:
                    _join(words, upper[i * BAND : i * BAND + here], row)
                else:
                    _widen(words, row)
    keep(memory)
