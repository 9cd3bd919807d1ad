"""Sparse feedback: transport through matrices that name, for each hidden unit, the outputs it is wired to.

ELL holds equally many entries for every unit, CSR any number of them. One thread a result; entries are added in the order
in which they are stored.
"""

from __future__ import annotations

from numba import float32, int64

from fasim_cuda.scalars import multiply_add
from fasim_cuda.target import cuda, jit


@jit
def project_ell(signal, values, index, scale, out):
    """``out[n, j] = scale * sum_e signal[n, index[j, e]] * values[j, e]``, one rounding a term.

    Parameters
    ----------
    signal : float32[N, K]
    values : float32[J, k]
    index : int32[J, k]
    scale : float32
    out : float32[N, J]     written
    """
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        total = float32(0)
        for e in range(values.shape[1]):
            total = multiply_add(total, signal[n, index[j, e]], values[j, e])
        out[n, j] = float32(scale * total)


@jit
def project_ell_fixed(signal, values, index, out):
    """``out[n, j] = sum_e signal[n, index[j, e]] * values[j, e]``, exact; integers."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        total = int64(0)
        for e in range(values.shape[1]):
            total = int64(total + int64(int64(signal[n, index[j, e]]) * int64(values[j, e])))
        out[n, j] = total


@jit
def project_csr(signal, values, index, start, scale, out):
    """``out[n, j] = scale * sum_e signal[n, index[e]] * values[e]``, e from ``start[j]`` to ``start[j + 1] - 1``.

    Parameters
    ----------
    signal : float32[N, K]
    values : float32[nnz]
    index : int32[nnz]
    start : int32[J + 1]
    scale : float32
    out : float32[N, J]     written
    """
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        total = float32(0)
        for e in range(start[j], start[j + 1]):
            total = multiply_add(total, signal[n, index[e]], values[e])
        out[n, j] = float32(scale * total)


@jit
def project_csr_fixed(signal, values, index, start, out):
    """``out[n, j] = sum_e signal[n, index[e]] * values[e]``, e from ``start[j]`` on, exact; integers."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        total = int64(0)
        for e in range(start[j], start[j + 1]):
            total = int64(total + int64(int64(signal[n, index[e]]) * int64(values[e])))
        out[n, j] = total


@jit
def project_target_ell(label, values, index, scale, out):
    """``out[n, j] = scale * values[j, e]`` where ``index[j, e] = label[n]``, else 0; float32[N, J]."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        found = float32(0)
        for e in range(values.shape[1]):
            if index[j, e] == label[n]:
                found = values[j, e]
        out[n, j] = float32(scale * found)


@jit
def project_target_ell_fixed(label, values, index, out):
    """``out[n, j] = values[j, e]`` where ``index[j, e] = label[n]``, else 0; integers."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        found = int64(0)
        for e in range(values.shape[1]):
            if index[j, e] == label[n]:
                found = int64(values[j, e])
        out[n, j] = found


@jit
def project_target_csr(label, values, index, start, scale, out):
    """``out[n, j] = scale * values[e]`` where ``index[e] = label[n]``, e from ``start[j]`` on, else 0; float32[N, J]."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        found = float32(0)
        for e in range(start[j], start[j + 1]):
            if index[e] == label[n]:
                found = values[e]
        out[n, j] = float32(scale * found)


@jit
def project_target_csr_fixed(label, values, index, start, out):
    """``out[n, j] = values[e]`` where ``index[e] = label[n]``, e from ``start[j]`` on, else 0; integers."""
    columns = out.shape[1]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n = p // columns
        j = p - n * columns
        found = int64(0)
        for e in range(start[j], start[j + 1]):
            if index[e] == label[n]:
                found = int64(values[e])
        out[n, j] = found
