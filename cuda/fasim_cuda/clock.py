"""What counts the steps of a run, and keeps what a batch gave: on the device, nothing comes from the host meanwhile."""

from __future__ import annotations

from numba import int64

from fasim_cuda.target import cuda, jit


@jit
def advance(step, before, place, size):
    """Go on to the next step; one thread.

    Parameters
    ----------
    step, before : int64[1]     this step and the one before, counted over the whole training; both grow by 1
    place : int64[1]            where in the order of samples the batch begins; grows by `size`
    size : int64                samples of a batch
    """
    if cuda.grid(1) == 0:
        before[0] = step[0]
        step[0] = int64(step[0] + int64(1))
        place[0] = int64(place[0] + int64(size))


@jit
def keep_rows(source, place, out):
    """Keep the results of a batch: ``out[place + n, k] = source[n, k]`` where there is such a row, any type."""
    columns = source.shape[1]
    for p in range(cuda.grid(1), source.size, cuda.gridsize(1)):
        n = p // columns
        row = place[0] + n
        if row < out.shape[0]:
            out[row, p - n * columns] = source[n, p - n * columns]
