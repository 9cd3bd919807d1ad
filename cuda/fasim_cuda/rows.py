"""Sums over the rows of a matrix [M, C], in two launches: each channel by stretches of rows, then the stretches.

A stretch is ceil(M / B) rows, B being the rows of what is written, which the caller chooses by M alone: every grid gives
the same bits. Within a stretch and over stretches, additions are in ascending order, in the type that the kernels are made
for: float32 (gradients of biases), float64 (batch statistics, as on the CPU), int64 (exact).
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from numba import float32, float64, int64

from fasim_cuda.target import cuda, jit

SUMS = {"float32": float32, "float64": float64, "int64": int64}


@cache
def row_sums(dtype: str) -> SimpleNamespace:
    """Make the kernels that add in one type, ``float32``, ``float64`` or ``int64``.

    Returns
    -------
    namespace
        ``sum_rows``, ``sum_squares``, ``sum_products``, ``add_parts``.
    """
    number = SUMS[dtype]

    @jit
    def sum_rows(source, parts):
        """Add up stretches of rows: ``parts[b, c] = sum of source[m, c]``, m from b S on, S = ceil(M / B).

        Parameters
        ----------
        source : number[M, C]
        parts : number[B, C]    written
        """
        count, channels = int64(source.shape[0]), int64(source.shape[1])
        stretch = (count + parts.shape[0] - 1) // parts.shape[0]
        for x in range(cuda.grid(1), parts.size, cuda.gridsize(1)):
            b = x // channels
            c = x - b * channels
            total = number(0)
            for m in range(b * stretch, min((b + 1) * stretch, count)):
                total = number(total + number(source[m, c]))
            parts[b, c] = total

    @jit
    def sum_squares(source, mean, parts):
        """Add up squared distances: ``parts[b, c] = sum of (source[m, c] - mean[c])^2`` over a stretch.

        Parameters
        ----------
        source : number[M, C]
        mean : number[C]
        parts : number[B, C]    written
        """
        count, channels = int64(source.shape[0]), int64(source.shape[1])
        stretch = (count + parts.shape[0] - 1) // parts.shape[0]
        for x in range(cuda.grid(1), parts.size, cuda.gridsize(1)):
            b = x // channels
            c = x - b * channels
            total = number(0)
            for m in range(b * stretch, min((b + 1) * stretch, count)):
                distance = number(number(source[m, c]) - number(mean[c]))
                total = number(total + number(distance * distance))
            parts[b, c] = total

    @jit
    def sum_products(left, right, parts):
        """Add up products: ``parts[b, c] = sum of left[m, c] * right[m, c]`` over a stretch.

        Parameters
        ----------
        left, right : number[M, C]
        parts : number[B, C]    written
        """
        count, channels = int64(left.shape[0]), int64(left.shape[1])
        stretch = (count + parts.shape[0] - 1) // parts.shape[0]
        for x in range(cuda.grid(1), parts.size, cuda.gridsize(1)):
            b = x // channels
            c = x - b * channels
            total = number(0)
            for m in range(b * stretch, min((b + 1) * stretch, count)):
                total = number(total + number(number(left[m, c]) * number(right[m, c])))
            parts[b, c] = total

    @jit
    def add_parts(parts, out):
        """Add up the stretches: ``out[c] = parts[0, c] + parts[1, c] + ...``.

        Parameters
        ----------
        parts : number[B, C]
        out : number[C]         written
        """
        for c in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            total = number(0)
            for b in range(parts.shape[0]):
                total = number(total + number(parts[b, c]))
            out[c] = total

    return SimpleNamespace(sum_rows=sum_rows, sum_squares=sum_squares, sum_products=sum_products, add_parts=add_parts)
