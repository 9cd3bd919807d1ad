"""Products of matrices by tiles in shared memory, for float32 and for integers, and the layers that are made of them.

A block of T x T threads computes a tile of (T E) x (T E) results, E x E of them in the registers of each thread, from
slices of D terms of both operands that lie in shared memory meanwhile. Every result is added up by one thread, its terms
ascending: in float32 with one rounding a term (as `fasim.kernels.dense` adds a batch), in integers exactly. No size of tile
therefore changes a bit. A last slice is filled up with zeros, whose products change no sum.

`float_products` and `integer_products` make the kernels of one size of tile, which a kernel must know when it is compiled.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

from numba import float32, int32, int64

from fasim_cuda.scalars import add_product32, add_product64, multiply_add
from fasim_cuda.target import cuda, device, is_simulated, jit


class Tile(NamedTuple):
    """How a product is divided: T threads a side, E results a thread and side, D terms in shared memory."""

    threads: int
    each: int
    depth: int

    @property
    def side(self) -> int:
        """Rows, and columns, of results of a block."""
        return self.threads * self.each


# a simulated thread costs 75 us; 16 x 16 threads with 4 x 4 results each fill a multiprocessor with few registers
GPU_TILE = Tile(16, 4, 16)
TILE = Tile(2, 2, 4) if is_simulated else GPU_TILE


TERMS = {float32: multiply_add, int32: add_product32, int64: add_product64}
INTEGERS = {"int32": int32, "int64": int64}


def _adder(number, tile: Tile, *, left_turned: bool, right_turned: bool):
    """Make what adds up a thread's results of ``left @ right`` in the type `number`.

    Parameters
    ----------
    left_turned, right_turned : bool
        Whether the operand lies as [terms, rows] and [columns, terms] instead of [rows, terms] and [terms, columns].
        Neighbouring threads read neighbouring numbers either way.
    """
    term = TERMS[number]
    threads, each, depth, side = tile.threads, tile.each, tile.depth, tile.side
    padded = side + 1  # columns that threads write one below the other lie in different banks
    block = threads * threads
    size = depth * side

    @device
    def add_up(left, right, terms, sums):
        rows = cuda.shared.array((depth, padded), number)
        columns = cuda.shared.array((depth, padded), number)
        x = int32(cuda.threadIdx.x)
        y = int32(cuda.threadIdx.y)
        thread = int32(y * threads + x)
        first_row = int64(int64(cuda.blockIdx.y) * side)
        first_column = int64(int64(cuda.blockIdx.x) * side)
        for r in range(each):
            for c in range(each):
                sums[r, c] = number(0)
        for first in range(0, terms, depth):
            for place in range(thread, size, block):
                if left_turned:
                    k = place // side
                    m = place - k * side
                    inside = first + k < terms and first_row + m < left.shape[1]
                    rows[k, m] = number(left[first + k, first_row + m]) if inside else number(0)
                else:
                    m = place // depth
                    k = place - m * depth
                    inside = first + k < terms and first_row + m < left.shape[0]
                    rows[k, m] = number(left[first_row + m, first + k]) if inside else number(0)
                if right_turned:
                    m = place // depth
                    k = place - m * depth
                    inside = first + k < terms and first_column + m < right.shape[0]
                    columns[k, m] = number(right[first_column + m, first + k]) if inside else number(0)
                else:
                    k = place // side
                    m = place - k * side
                    inside = first + k < terms and first_column + m < right.shape[1]
                    columns[k, m] = number(right[first + k, first_column + m]) if inside else number(0)
            cuda.syncthreads()
            for k in range(depth):
                for r in range(each):
                    here = rows[k, y + r * threads]
                    for c in range(each):
                        sums[r, c] = term(sums[r, c], here, columns[k, x + c * threads])
            cuda.syncthreads()

    return add_up


@cache
def float_products(tile: Tile = TILE) -> SimpleNamespace:
    """Make the float32 kernels of one size of tile; a grid of blocks of T x T threads covers the results.

    Returns
    -------
    namespace
        ``dense_forward``, ``project_error``, ``project_up``, ``weight_gradient``.
    """
    threads, each, side = tile.threads, tile.each, tile.side
    add_nt = _adder(float32, tile, left_turned=False, right_turned=True)
    add_nn = _adder(float32, tile, left_turned=False, right_turned=False)
    add_tn = _adder(float32, tile, left_turned=True, right_turned=False)

    @jit
    def dense_forward(act, weight, bias, out):
        """Pre-activations of a dense layer: ``out[n, j] = sum_i act[n, i] * weight[j, i] + bias[j]``.

        Parameters
        ----------
        act : float32[N, I]
        weight : float32[J, I]
        bias : float32[J]
        out : float32[N, J]     written; may not overlap an input

        Cost: N J I multiply-accumulates. Order of additions: i ascending, one rounding a term, then the bias.
        """
        sums = cuda.local.array((each, each), float32)
        add_nt(act, weight, act.shape[1], sums)
        for r in range(each):
            n = int64(cuda.blockIdx.y) * side + cuda.threadIdx.y + r * threads
            for c in range(each):
                j = int64(cuda.blockIdx.x) * side + cuda.threadIdx.x + c * threads
                if n < out.shape[0] and j < out.shape[1]:
                    out[n, j] = float32(sums[r, c] + bias[j])

    @jit
    def project_error(signal, matrix, scale, out):
        """Bring a signal through weights or feedback: ``out[n, j] = scale * sum_k signal[n, k] * matrix[k, j]``.

        Parameters
        ----------
        signal : float32[N, K]
        matrix : float32[K, J]
        scale : float32
        out : float32[N, J]     written; may not overlap an input

        Cost: N J K multiply-accumulates. Order of additions: k ascending, one rounding a term.
        """
        sums = cuda.local.array((each, each), float32)
        add_nn(signal, matrix, signal.shape[1], sums)
        for r in range(each):
            n = int64(cuda.blockIdx.y) * side + cuda.threadIdx.y + r * threads
            for c in range(each):
                j = int64(cuda.blockIdx.x) * side + cuda.threadIdx.x + c * threads
                if n < out.shape[0] and j < out.shape[1]:
                    out[n, j] = float32(scale * sums[r, c])

    @jit
    def project_up(signal, matrix, scale, out):
        """Send a signal forward through weights (IFA), or read a layer out through feedback (LAFS).

        ``out[n, j] = scale * sum_i signal[n, i] * matrix[j, i]``

        Parameters
        ----------
        signal : float32[N, I]
        matrix : float32[J, I]
        scale : float32
        out : float32[N, J]     written; may not overlap an input

        Cost: N J I multiply-accumulates. Order of additions: i ascending, one rounding a term.
        """
        sums = cuda.local.array((each, each), float32)
        add_nt(signal, matrix, signal.shape[1], sums)
        for r in range(each):
            n = int64(cuda.blockIdx.y) * side + cuda.threadIdx.y + r * threads
            for c in range(each):
                j = int64(cuda.blockIdx.x) * side + cuda.threadIdx.x + c * threads
                if n < out.shape[0] and j < out.shape[1]:
                    out[n, j] = float32(scale * sums[r, c])

    @jit
    def weight_gradient(delta, act, out):
        """Gradient of a dense layer's weights, summed over the batch: ``out[j, i] = sum_n delta[n, j] * act[n, i]``.

        Parameters
        ----------
        delta : float32[N, J]
        act : float32[N, I]
        out : float32[J, I]     written; may not overlap an input

        Cost: N J I multiply-accumulates. Order of additions: n ascending, one rounding a term.
        """
        sums = cuda.local.array((each, each), float32)
        add_tn(delta, act, delta.shape[0], sums)
        for r in range(each):
            j = int64(cuda.blockIdx.y) * side + cuda.threadIdx.y + r * threads
            for c in range(each):
                i = int64(cuda.blockIdx.x) * side + cuda.threadIdx.x + c * threads
                if j < out.shape[0] and i < out.shape[1]:
                    out[j, i] = sums[r, c]

    return SimpleNamespace(
        dense_forward=dense_forward,
        project_error=project_error,
        project_up=project_up,
        weight_gradient=weight_gradient,
    )


@cache
def integer_products(dtype: str, tile: Tile = TILE) -> SimpleNamespace:
    """Make the integer kernels of one size of tile, with sums in ``int32`` or ``int64``.

    Returns
    -------
    namespace
        ``dense_forward_fixed``, ``project_error_fixed``, ``project_up_fixed``, ``weight_gradient_fixed``.
    """
    number = INTEGERS[dtype]
    threads, each, side = tile.threads, tile.each, tile.side
    add_nt = _adder(number, tile, left_turned=False, right_turned=True)
    add_nn = _adder(number, tile, left_turned=False, right_turned=False)
    add_tn = _adder(number, tile, left_turned=True, right_turned=False)

    @jit
    def dense_forward_fixed(act, weight, bias, product_shift, bias_shift, out):
        """Exact accumulators of a dense layer, product sum and bias aligned to one binary point.

        ``out[n, j] = (sum_i act[n, i] * weight[j, i] << product_shift) + (bias[j] << bias_shift)``

        Parameters
        ----------
        act : integer[N, I]
        weight : integer[J, I]
        bias : integer[J]
        product_shift, bias_shift : int64, >= 0
        out : int32 or int64[N, J]  written

        Cost: N J I multiply-accumulates.
        """
        sums = cuda.local.array((each, each), number)
        add_nt(act, weight, act.shape[1], sums)
        for r in range(each):
            n = int64(cuda.blockIdx.y) * side + cuda.threadIdx.y + r * threads
            for c in range(each):
                j = int64(cuda.blockIdx.x) * side + cuda.threadIdx.x + c * threads
                if n < out.shape[0] and j < out.shape[1]:
                    total = int64(sums[r, c]) << int64(product_shift)
                    out[n, j] = number(total + (int64(bias[j]) << int64(bias_shift)))

    @jit
    def project_error_fixed(signal, matrix, out):
        """Bring an integer signal through an integer matrix: ``out[n, j] = sum_k signal[n, k] * matrix[k, j]``, exact.

        Parameters
        ----------
        signal : integer[N, K]
        matrix : integer[K, J]
        out : int32 or int64[N, J]  written
        """
        sums = cuda.local.array((each, each), number)
        add_nn(signal, matrix, signal.shape[1], sums)
        for r in range(each):
            n = int64(cuda.blockIdx.y) * side + cuda.threadIdx.y + r * threads
            for c in range(each):
                j = int64(cuda.blockIdx.x) * side + cuda.threadIdx.x + c * threads
                if n < out.shape[0] and j < out.shape[1]:
                    out[n, j] = sums[r, c]

    @jit
    def project_up_fixed(signal, matrix, out):
        """Send an integer signal forward: ``out[n, j] = sum_i signal[n, i] * matrix[j, i]``, exact.

        Parameters
        ----------
        signal : integer[N, I]
        matrix : integer[J, I]
        out : int32 or int64[N, J]  written
        """
        sums = cuda.local.array((each, each), number)
        add_nt(signal, matrix, signal.shape[1], sums)
        for r in range(each):
            n = int64(cuda.blockIdx.y) * side + cuda.threadIdx.y + r * threads
            for c in range(each):
                j = int64(cuda.blockIdx.x) * side + cuda.threadIdx.x + c * threads
                if n < out.shape[0] and j < out.shape[1]:
                    out[n, j] = sums[r, c]

    @jit
    def weight_gradient_fixed(delta, act, out):
        """Exact gradient, summed over the batch: ``out[j, i] = sum_n delta[n, j] * act[n, i]``.

        Parameters
        ----------
        delta : integer[N, J]
        act : integer[N, I]
        out : int32 or int64[J, I]  written
        """
        sums = cuda.local.array((each, each), number)
        add_tn(delta, act, delta.shape[0], sums)
        for r in range(each):
            j = int64(cuda.blockIdx.y) * side + cuda.threadIdx.y + r * threads
            for c in range(each):
                i = int64(cuda.blockIdx.x) * side + cuda.threadIdx.x + c * threads
                if j < out.shape[0] and i < out.shape[1]:
                    out[j, i] = sums[r, c]

    return SimpleNamespace(
        dense_forward_fixed=dense_forward_fixed,
        project_error_fixed=project_error_fixed,
        project_up_fixed=project_up_fixed,
        weight_gradient_fixed=weight_gradient_fixed,
    )
