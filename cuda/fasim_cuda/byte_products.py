"""Products of matrices of bytes, four terms a word: by ``dp4a``, or by the tensor cores' ``mma``; sums in int32, exact.

As in `fasim_cuda.products` a block of T x T threads computes (T E) x (T E) results, E x E of them in the registers of each
thread, from slices of both operands in shared memory; here a slice is D words of four terms. Sums of int32 are exact in any
order, which the lowering has proven to fit, so both ways have the bits of every other. A last word, and a last slice, is
filled up with zeros.

========== ================================================= ==========================================================
way        a thread's results                                a tile must have
========== ================================================= ==========================================================
``dp4a``   every T-th row and column                         nothing
``mma``    E E / 4 fragments of 16 x 8, four of each         16 | T E, 32 | T T, 4 | E E, 8 | D
========== ================================================= ==========================================================
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

from numba import int32, int64

from fasim_cuda.products import TILE, Tile
from fasim_cuda.target import cuda, device, is_simulated, jit
from fasim_cuda.words import dot_twin, dots, flip, multiplier, packed

WAYS = ("dp4a", "mma")
WARP = 32
# rows, columns and words of terms of what a warp multiplies at once
FRAGMENT_ROWS, FRAGMENT_COLUMNS, FRAGMENT_WORDS = 16, 8, 8


def fits_mma(tile: Tile) -> bool:
    """Return whether the tensor cores' fragments fill a tile and the warps of its block."""
    held = tile.each * tile.each
    whole = tile.side % FRAGMENT_ROWS == 0 and tile.threads**2 % WARP == 0 and held % 4 == 0
    return whole and tile.depth % FRAGMENT_WORDS == 0


def _word_of(*, turned: bool):
    """Make what reads four terms of a row, or of a column, zeros where there are none.

    Parameters
    ----------
    turned : bool
        Whether the operand lies as [terms, lines] and not as [lines, terms].
    """

    @device
    def word_of(array, line, term):
        if turned:
            inside = line < array.shape[1]
            terms = array.shape[0]
            b0 = int32(array[term, line]) if inside and term < terms else int32(0)
            b1 = int32(array[term + 1, line]) if inside and term + 1 < terms else int32(0)
            b2 = int32(array[term + 2, line]) if inside and term + 2 < terms else int32(0)
            b3 = int32(array[term + 3, line]) if inside and term + 3 < terms else int32(0)
        else:
            inside = line < array.shape[0]
            terms = array.shape[1]
            b0 = int32(array[line, term]) if inside and term < terms else int32(0)
            b1 = int32(array[line, term + 1]) if inside and term + 1 < terms else int32(0)
            b2 = int32(array[line, term + 2]) if inside and term + 2 < terms else int32(0)
            b3 = int32(array[line, term + 3]) if inside and term + 3 < terms else int32(0)
        return packed(b0, b1, b2, b3)

    return word_of


def _mma(left: str, right: str, threads: int) -> Any:  # noqa: ANN401
    """Return the tensor cores' instruction, see `fasim_cuda.words.multiplier`, or its twin in the simulator.

    The twin hands its words round in shared memory, and each thread adds up its four sums. Thread ``4 g + t`` of a warp
    holds words t and t + 4 of the left operand's rows g and g + 8 and of the right one's column g, and the sums of rows g
    and g + 8, columns 2 t and 2 t + 1.
    """
    if not is_simulated:
        return multiplier(left, right)
    x_flip, y_flip = flip(left), flip(right)
    block = threads * threads

    @device
    def twin(values):
        words = cuda.shared.array((block, 6), int32)
        thread = cuda.threadIdx.y * threads + cuda.threadIdx.x
        for n in range(6):
            words[thread, n] = values[n]
        cuda.syncthreads()
        lane = thread % WARP
        first = thread - lane
        sums = list(values[6:])
        for n in range(4):
            row = lane // 4
            column = lane % 4 * 2 + n % 2
            for word in range(FRAGMENT_WORDS):
                half = word // 4
                x = words[first + row * 4 + word % 4, 2 * half + n // 2]
                y = words[first + column * 4 + word % 4, 4 + half]
                sums[n] = dot_twin(sums[n], x, y, x_flip, y_flip)
        cuda.syncthreads()
        return sums

    return twin


def _by_dp4a(left: str, right: str, tile: Tile):
    """Make what adds a slice to a thread's results, and what says where a result lies in its tile."""
    threads, each, depth = tile.threads, tile.each, tile.depth
    dot = dots(left, right)

    @device
    def add_slice(rows, columns, sums):
        x = int32(cuda.threadIdx.x)
        y = int32(cuda.threadIdx.y)
        for k in range(depth):
            for r in range(each):
                here = rows[k, y + r * threads]
                for c in range(each):
                    sums[r * each + c] = dot(sums[r * each + c], here, columns[k, x + c * threads])

    @device
    def place(number):
        r = number // each
        return cuda.threadIdx.y + r * threads, cuda.threadIdx.x + (number - r * each) * threads

    return add_slice, place


def _by_mma(left: str, right: str, tile: Tile):
    """Make the same for tensor cores."""
    threads, depth = tile.threads, tile.depth
    across = tile.side // FRAGMENT_COLUMNS
    fragments = tile.each * tile.each // 4
    multiply = _mma(left, right, threads)

    @device
    def add_slice(rows, columns, sums):
        thread = int32(cuda.threadIdx.y * threads + cuda.threadIdx.x)
        warp = thread // WARP
        lane = thread - warp * WARP
        g = lane // 4
        t = lane - g * 4
        for k in range(0, depth, FRAGMENT_WORDS):
            for f in range(fragments):
                fragment = warp * fragments + f
                down = fragment // across
                m = down * FRAGMENT_ROWS + g
                n = (fragment - down * across) * FRAGMENT_COLUMNS + g
                found = multiply(
                    (
                        rows[k + t, m],
                        rows[k + t, m + 8],
                        rows[k + t + 4, m],
                        rows[k + t + 4, m + 8],
                        columns[k + t, n],
                        columns[k + t + 4, n],
                        sums[4 * f],
                        sums[4 * f + 1],
                        sums[4 * f + 2],
                        sums[4 * f + 3],
                    )
                )
                sums[4 * f] = found[0]
                sums[4 * f + 1] = found[1]
                sums[4 * f + 2] = found[2]
                sums[4 * f + 3] = found[3]

    @device
    def place(number):
        thread = cuda.threadIdx.y * threads + cuda.threadIdx.x
        warp = thread // WARP
        lane = thread - warp * WARP
        fragment = warp * fragments + number // 4
        down = fragment // across
        row = down * FRAGMENT_ROWS + lane // 4 + number % 4 // 2 * 8
        return row, (fragment - down * across) * FRAGMENT_COLUMNS + lane % 4 * 2 + number % 2

    return add_slice, place


def _adder(tile: Tile, add_slice: Any, *, left_turned: bool, right_turned: bool):  # noqa: ANN401
    """Make what adds up a thread's results of ``left @ right``; see `fasim_cuda.products` for how operands lie."""
    threads, depth, side = tile.threads, tile.depth, tile.side
    # the eight columns that a warp's threads read of four words at once lie in different banks
    padded = side + 8
    block = threads * threads
    size = depth * side
    left_word = _word_of(turned=left_turned)
    right_word = _word_of(turned=right_turned)
    held = tile.each * tile.each

    @device
    def add_up(left, right, terms, sums):
        rows = cuda.shared.array((depth, padded), int32)
        columns = cuda.shared.array((depth, padded), int32)
        thread = int32(cuda.threadIdx.y * threads + cuda.threadIdx.x)
        first_row = int64(int64(cuda.blockIdx.y) * side)
        first_column = int64(int64(cuda.blockIdx.x) * side)
        for number in range(held):
            sums[number] = int32(0)
        for first in range(0, terms, 4 * depth):
            for at in range(thread, size, block):
                # neighbouring threads read neighbouring bytes
                if left_turned:
                    k = at // side
                    m = at - k * side
                else:
                    m = at // depth
                    k = at - m * depth
                rows[k, m] = left_word(left, first_row + m, first + 4 * k)
                if right_turned:
                    k = at // side
                    m = at - k * side
                else:
                    m = at // depth
                    k = at - m * depth
                columns[k, m] = right_word(right, first_column + m, first + 4 * k)
            cuda.syncthreads()
            add_slice(rows, columns, sums)
            cuda.syncthreads()

    return add_up


@cache
def byte_products(way: str, left: str = "int8", right: str = "int8", tile: Tile = TILE) -> SimpleNamespace:
    """Make the kernels of bytes for one way, two types and one size of tile.

    Parameters
    ----------
    way : str
        One of `WAYS`. For ``mma`` a tile must hold its fragments, see `fits_mma`.
    left, right : str
        ``int8`` or ``uint8``: the types of the first and of the second operand.
    tile : Tile

    Returns
    -------
    namespace
        ``dense_forward_fixed``, ``project_error_fixed``, ``project_up_fixed``, ``weight_gradient_fixed``: statements,
        order of arguments and bits are those of `fasim_cuda.integer_products`; out is int32.
    """
    if way == "mma" and not fits_mma(tile):
        raise ValueError(f"{tile} has no place for fragments of {FRAGMENT_ROWS} x {FRAGMENT_COLUMNS} by 32 threads each")
    side, held = tile.side, tile.each * tile.each
    add_slice, place = (_by_dp4a if way == "dp4a" else _by_mma)(left, right, tile)
    add_nt = _adder(tile, add_slice, left_turned=False, right_turned=False)
    add_nn = _adder(tile, add_slice, left_turned=False, right_turned=True)
    add_tn = _adder(tile, add_slice, left_turned=True, right_turned=True)

    @device
    def write(sums, out):
        for number in range(held):
            row, column = place(number)
            n = int64(cuda.blockIdx.y) * side + row
            j = int64(cuda.blockIdx.x) * side + column
            if n < out.shape[0] and j < out.shape[1]:
                out[n, j] = sums[number]

    @jit
    def dense_forward_fixed(act, weight, bias, product_shift, bias_shift, out):
        """Accumulators: ``out = (sum_i act[n, i] * weight[j, i] << product_shift) + (bias[j] << bias_shift)``."""
        sums = cuda.local.array(held, int32)
        add_nt(act, weight, act.shape[1], sums)
        for number in range(held):
            row, column = place(number)
            n = int64(cuda.blockIdx.y) * side + row
            j = int64(cuda.blockIdx.x) * side + column
            if n < out.shape[0] and j < out.shape[1]:
                total = int64(sums[number]) << int64(product_shift)
                out[n, j] = int32(total + (int64(bias[j]) << int64(bias_shift)))

    @jit
    def project_error_fixed(signal, matrix, out):
        """Bring a signal through a matrix: ``out[n, j] = sum_k signal[n, k] * matrix[k, j]``."""
        sums = cuda.local.array(held, int32)
        add_nn(signal, matrix, signal.shape[1], sums)
        write(sums, out)

    @jit
    def project_up_fixed(signal, matrix, out):
        """Send a signal forward: ``out[n, j] = sum_i signal[n, i] * matrix[j, i]``."""
        sums = cuda.local.array(held, int32)
        add_nt(signal, matrix, signal.shape[1], sums)
        write(sums, out)

    @jit
    def weight_gradient_fixed(delta, act, out):
        """Sum the gradient over the batch: ``out[j, i] = sum_n delta[n, j] * act[n, i]``."""
        sums = cuda.local.array(held, int32)
        add_tn(delta, act, delta.shape[0], sums)
        write(sums, out)

    return SimpleNamespace(
        dense_forward_fixed=dense_forward_fixed,
        project_error_fixed=project_error_fixed,
        project_up_fixed=project_up_fixed,
        weight_gradient_fixed=weight_gradient_fixed,
    )
