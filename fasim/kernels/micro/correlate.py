"""The loops around tiles over windows: a convolution's sums for one sample, whatever its sizes, stride and direction.

Two forms, each for float32, bytes (uint8 times int8, where the CPU has VNNI) and words (pairs of int16):

``correlate``: ``sums[m, j] = sum_g sum_t image[places[m] + g segment + t] * packed[g, t, j]`` for output pixels m
``gradient``: ``sums[i, j] = sum_p sum_q image[places[i] + p segment + q step] * signal[p, q, j]`` for window elements i

Places, targets and steps are in bytes; tables of places are made by `grid`, which fills them up to whole tiles. The numbers
of B, and those of A in `gradient`, are groups of 1 (float32), 2 (words) or 4 (bytes) along K, so each has four bytes.
float32: all sums start from what is given and add one term after the other by fused multiply-adds, the same bits on every
CPU that has them. Integers are added modulo 2^32.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fasim.kernels.compile import kernel
from fasim.kernels.micro import correlate_portable as portable
from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.broadcast import STORED, Epilogue, Given, Row, load_row, store_row
from fasim.kernels.micro.interleave import interleaver
from fasim.kernels.micro.kinds import FLOAT32, INT16, UINT8, WIDE
from fasim.kernels.micro.windows import PLACE_BYTES, windows_tile
from fasim.scalar.target import TARGET

# As many sums as the registers hold; 8 to 14 rows are equally fast, and 9 divides the windows of 3 x 3
ROWS = 9 if WIDE else 6
_LANES = FLOAT32.sums.count
PANEL = 2 * _LANES
"""Columns of B that lie side by side in `packed`."""
_WORD = 4
_LINE = 64
# What a block of rows of pixels may take of the signal: it and its part of the image stay in a first-level cache of 48 KB
_BLOCK_BYTES = 12 * 1024

_PORTABLE = TARGET == "portable"
_portable_correlate, _portable_gradient = portable.correlate, portable.gradient


def _target(b: v.Builder, row: Row, out: v.Value, targets: v.Value) -> v.Value:
    place = v.load(b, b.add(targets, v.constant(PLACE_BYTES * row.number)), v.I64)
    return b.add(out, place)


def _begin_started(b: v.Builder, row: Row, given: Given) -> list[v.Value]:
    """Begin with numbers that all rows have in common."""
    return load_row(b, row, given[2], row.kind.sums)


def _end_scaled(b: v.Builder, row: Row, sums: list[v.Value], given: Given) -> None:
    """Store ``scale * sum`` where the table says."""
    out, targets, _, scale = given
    factor = v.splat(b, scale, row.lanes)
    store_row(b, row, _target(b, row, out, targets), [b.fmul(factor, total) for total in sums])


def _end_shifted(b: v.Builder, row: Row, sums: list[v.Value], given: Given) -> None:
    """Store ``(sum << shift) + added[j]`` where the table says."""
    out, targets, added, shift = given
    count = v.splat(b, b.trunc(shift, v.I32), row.lanes)
    values = zip(sums, load_row(b, row, added, row.kind.sums), strict=True)
    store_row(b, row, _target(b, row, out, targets), [b.add(b.shl(total, count), more) for total, more in values])


_SCALED, _SHIFTED = Epilogue(_end_scaled, _begin_started), Epilogue(_end_shifted)

_many_float32 = windows_tile(FLOAT32, ROWS, 2, _SCALED, step=_WORD, whole=True)
_some_float32 = windows_tile(FLOAT32, ROWS, 2, _SCALED, step=_WORD)
_half_float32 = windows_tile(FLOAT32, ROWS, 1, _SCALED, step=_WORD)
_many_bytes = windows_tile(UINT8, ROWS, 2, _SHIFTED, step=_WORD, whole=True)
_some_bytes = windows_tile(UINT8, ROWS, 2, _SHIFTED, step=_WORD)
_half_bytes = windows_tile(UINT8, ROWS, 1, _SHIFTED, step=_WORD)
_many_words = windows_tile(INT16, ROWS, 2, _SHIFTED, step=_WORD, whole=True)
_some_words = windows_tile(INT16, ROWS, 2, _SHIFTED, step=_WORD)
_half_words = windows_tile(INT16, ROWS, 1, _SHIFTED, step=_WORD)

_bytes_side_by_side, _words_side_by_side = interleaver(4), interleaver(2)

_many_terms_float32 = windows_tile(FLOAT32, ROWS, 2, STORED, whole=True)
_some_terms_float32 = windows_tile(FLOAT32, ROWS, 2, STORED)
_half_terms_float32 = windows_tile(FLOAT32, ROWS, 1, STORED)
_many_terms_bytes = windows_tile(UINT8, ROWS, 2, STORED, whole=True)
_some_terms_bytes = windows_tile(UINT8, ROWS, 2, STORED)
_half_terms_bytes = windows_tile(UINT8, ROWS, 1, STORED)
_many_terms_words = windows_tile(INT16, ROWS, 2, STORED, whole=True)
_some_terms_words = windows_tile(INT16, ROWS, 2, STORED)
_half_terms_words = windows_tile(INT16, ROWS, 1, STORED)


def _start(context, builder, signature, arguments):
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.ptrtoint(data, ir.IntType(64))


@intrinsic
def _address(_context, array):
    """Return where an array begins, whose elements lie side by side."""
    if not isinstance(array, types.Array) or array.layout != "C":
        raise TypingError(f"correlate with {array}: needs an array in C order")
    return types.int64(array), _start


@intrinsic
def _address_of_slice(_context, array):
    """Return where an array begins, by whose own strides the caller goes."""
    return types.int64(array), _start


@intrinsic
def _fetch(_context, address):
    """Ask for the cache line of an address, to be read; no address is wrong."""

    def codegen(context, builder, _signature, arguments):
        v.prefetch(builder, arguments[0], writes=False)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@kernel
def grid(rows, columns, start, row_step, column_step):
    """Return the places ``start + r row_step + c column_step``, (r, c) ascending, and the last again up to whole tiles."""
    count = rows * columns
    places = np.empty((count + ROWS - 1) // ROWS * ROWS, np.int64)
    i = 0
    for r in range(rows):
        for c in range(columns):
            places[i] = start + r * row_step + c * column_step
            i += 1
    for j in range(count, len(places)):
        places[j] = places[count - 1]
    return places


@njit(inline="always", cache=True)
def _cover_pixels(many, some, half, image, places, pixels, segment, segments, terms, packed, row, scale, targets, out):
    """Cover pixels and columns with tiles: all pixels for a panel of B, which stays in the first-level cache."""
    columns = len(row)
    a, b, to = _address(image), _address(packed), _address(out)
    table, other, start = _address(places), _address(targets), _address(row)
    for first in range(0, columns, PANEL):
        left = columns - first
        line, begin, end = b + first * segments * terms * _WORD, start + _WORD * first, to + _WORD * first
        for m in range(0, pixels, ROWS):
            at, given = table + PLACE_BYTES * m, (end, other + PLACE_BYTES * m, begin, scale)
            if left <= _LANES:
                half(at, a, segment, segments, 4, terms, line, _WORD * PANEL, pixels - m, left, given)
            elif left < PANEL or m + ROWS > pixels:
                here = min(left, PANEL)
                some(at, a, segment, segments, 4, terms, line, _WORD * PANEL, pixels - m, here, given)
            else:
                many(at, a, segment, segments, 4, terms, line, _WORD * PANEL, ROWS, PANEL, given)


@kernel
def correlate_float32(image, places, pixels, segment, segments, terms, packed, start, scale, targets, out):
    """``out at targets[m] + 4 j = scale (start[j] + sum)``, with ``packed[j // PANEL, (g, t), j % PANEL, 0]``."""
    if _PORTABLE:
        _portable_correlate(image, places, pixels, segment, segments, terms, packed, start, scale, targets, out)
    else:
        _cover_pixels(
            _many_float32, _some_float32, _half_float32,
            image, places, pixels, segment, segments, terms, packed, start, scale, targets, out,
        )  # fmt: skip


@kernel
def correlate_bytes(image, places, pixels, segment, segments, terms, packed, added, shift, targets, out):
    """``out at targets[m] + 4 j = (sum << shift) + added[j]`` of uint8 (image) and int8, four in each of the `terms`."""
    _cover_pixels(
        _many_bytes, _some_bytes, _half_bytes,
        image, places, pixels, segment, segments, terms, packed, added, shift, targets, out,
    )  # fmt: skip


@kernel
def correlate_words(image, places, pixels, segment, segments, terms, packed, added, shift, targets, out):
    """``out at targets[m] + 4 j = (sum << shift) + added[j]`` of int16, two in each of the `terms`."""
    _cover_pixels(
        _many_words, _some_words, _half_words,
        image, places, pixels, segment, segments, terms, packed, added, shift, targets, out,
    )  # fmt: skip


@njit(inline="always", cache=True)
def _cover_window(many, some, half, image, places, segment, step, signal, fresh, sums):
    """Cover window elements and columns with tiles: all of them for a block of rows of pixels.

    The signal of the next block, or of the next sample, which lies behind it, is fetched meanwhile: a fifth faster for
    windows of 25 and 27 elements, 6 % for 288.
    """
    rows, terms, columns = signal.shape[:3]
    elements = len(sums)
    a, b, to, table = _address(image), _address_of_slice(signal), _address(sums), _address(places)
    # the signal may be a slice of the units; the sums are not
    width = _WORD * columns
    down, across = signal.strides[:2]
    block = max(_BLOCK_BYTES // (terms * _WORD * min(columns, PANEL)), 1)
    for first in range(0, columns, PANEL):
        left = columns - first
        for p in range(0, rows, block):
            segments = min(block, rows - p)
            corner, line = a + p * segment, b + p * down + _WORD * first
            new = np.int64(fresh and p == 0)
            ahead, fetched, size = line + segments * down, 0, block * down if first == 0 else 0
            for i in range(0, elements, ROWS):
                at, given = table + PLACE_BYTES * i, (to + i * width + _WORD * first, width, new)
                if left <= _LANES:
                    half(at, corner, segment, segments, step, terms, line, across, elements - i, left, given)
                elif left < PANEL or i + ROWS > elements:
                    here = min(left, PANEL)
                    some(at, corner, segment, segments, step, terms, line, across, elements - i, here, given)
                else:
                    many(at, corner, segment, segments, step, terms, line, across, ROWS, PANEL, given)
                while fetched < size * (i + ROWS) // elements:
                    _fetch(ahead + fetched)
                    fetched += _LINE


@kernel
def gradient_float32(image, places, segment, step, signal, fresh, sums):
    """``sums[i, j] += sum`` of float32 and ``signal[P, Q, J, 1]``, from 0 where `fresh`; (p, q) ascending."""
    if _PORTABLE:
        _portable_gradient(image, places, segment, step, signal, fresh, sums)
    else:
        _cover_window(
            _many_terms_float32, _some_terms_float32, _half_terms_float32,
            image, places, segment, step, signal, fresh, sums,
        )  # fmt: skip


@kernel
def gradient_bytes(image, places, segment, step, signal, fresh, sums):
    """``sums[i, j] += sum`` of uint8 (four in each number of the image) and ``signal[P, Q / 4, J, 4]`` of int8."""
    _cover_window(
        _many_terms_bytes, _some_terms_bytes, _half_terms_bytes,
        image, places, segment, step, signal, fresh, sums,
    )  # fmt: skip


@kernel
def gradient_words(image, places, segment, step, signal, fresh, sums):
    """``sums[i, j] += sum`` of int16 (two in each number of the image) and ``signal[P, Q / 2, J, 2]`` of int16."""
    _cover_window(
        _many_terms_words, _some_terms_words, _half_terms_words,
        image, places, segment, step, signal, fresh, sums,
    )  # fmt: skip


@njit(inline="always", cache=True)
def _interleave(side_by_side, group, image, step, words, delta, first, signal):
    """Bring the pixels that one product takes together side by side, in the image and in the signal."""
    size = _WORD // group
    side_by_side(_address(image), step * size, group, _address(words), len(words), 0)
    rows, columns, units = delta.shape
    a, to = _address(delta), _address(signal)
    for p in range(rows):
        for t in range(signal.shape[1]):
            q = group * t
            source = a + ((p * columns + q) * units + first) * size
            target = to + (p * signal.shape[1] + t) * signal.shape[2] * _WORD
            side_by_side(source, units * size, columns - q, target, signal.shape[2], 0)


@kernel
def interleave_bytes(image, step, words, delta, first, signal):
    """Prepare `gradient_bytes`: ``words[i]`` holds the elements i, i + step, i + 2 step, i + 3 step of the image.

    ``signal[p, t, j]`` holds ``delta[p, q, first + j]`` of the pixels q = 4 t, ..., 4 t + 3, or 0 beyond the last.
    """
    _interleave(_bytes_side_by_side, 4, image, step, words, delta, first, signal)


@kernel
def interleave_words(image, step, words, delta, first, signal):
    """Prepare `gradient_words` likewise, two by two."""
    _interleave(_words_side_by_side, 2, image, step, words, delta, first, signal)
