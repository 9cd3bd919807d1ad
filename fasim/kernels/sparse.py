"""Sparse feedback: transport through matrices that name, for each hidden unit, the outputs it is wired to.

ELL holds equally many entries for every unit, CSR any number of them. One source serves float32 and exact integers: sums
are held in the type of `out`, and `scale` is 1 for integers. Entries are added in the order in which they are stored
(outputs ascending in each unit), so the result is the same on any machine. Each function works on any rows of a batch.

Where there are a few rows, the entries are laid side by side first, entry e of all units, and a vector of units is done at
once: 64 rows of 1000 units with one entry each take a fifth of the time, as long as a dense product with ten outputs. On a
CPU a sparse matrix saves memory, not time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.micro.gathered import LANES, gather

# rows from which laying the entries side by side pays
_ROWS = 4


@njit(inline="always", cache=True)
def _begin(most, units, like):
    """Return room for entries side by side: what they read (-1: nothing), their factors, how many a unit has."""
    columns = (units + LANES - 1) // LANES * LANES
    numbers, factors = np.full((most, columns), -1, np.int32), np.zeros((most, columns), like.dtype)
    return numbers, factors, np.zeros(columns, np.int32)


@njit(inline="always", cache=True)
def _ell_by_entry(values, index, like):
    """Lay the entries of ELL side by side, factors in the type of `like`."""
    units, most = values.shape
    numbers, factors, count = _begin(most, units, like)
    for j in range(units):
        count[j] = most
        for e in range(most):
            numbers[e, j], factors[e, j] = index[j, e], values[j, e]
    return numbers, factors, count


@njit(inline="always", cache=True)
def _csr_by_entry(values, index, start, units, like):
    """Lay the entries of CSR side by side likewise."""
    most = 0
    for j in range(units):
        most = max(most, start[j + 1] - start[j])
    numbers, factors, count = _begin(most, units, like)
    for j in range(units):
        count[j] = start[j + 1] - start[j]
        for e in range(count[j]):
            numbers[e, j], factors[e, j] = index[start[j] + e], values[start[j] + e]
    return numbers, factors, count


@njit(inline="always", cache=True)
def _project_side_by_side(signal, numbers, factors, count, scale, out):
    """Bring a signal through entries that lie side by side."""
    cast = out.dtype.type
    row, totals = np.empty(signal.shape[1], out.dtype), np.empty(count.shape[0], out.dtype)
    for n in range(out.shape[0]):
        for k in range(row.shape[0]):
            row[k] = signal[n, k]
        totals[:] = 0
        for e in range(numbers.shape[0]):
            for c in range(0, totals.shape[0], LANES):
                gather(row, numbers[e], factors[e], count, c, totals, e)
        for j in range(out.shape[1]):
            out[n, j] = cast(scale * totals[j])


@njit(inline="always", cache=True)
def _select_side_by_side(label, numbers, factors, scale, out):
    """Fetch what each unit is wired to of a label from entries that lie side by side."""
    cast = out.dtype.type
    found = np.empty(numbers.shape[1], out.dtype)
    for n in range(out.shape[0]):
        wanted = np.int32(label[n])
        found[:] = 0
        for e in range(numbers.shape[0]):
            number, factor = numbers[e], factors[e]
            for j in range(found.shape[0]):
                found[j] = factor[j] if number[j] == wanted else found[j]
        for j in range(out.shape[1]):
            out[n, j] = cast(scale * found[j])


@kernel
def project_ell(signal, values, index, scale, out):
    """Bring a signal through a matrix with k entries for each unit.

    ``out[n, j] = scale * sum_e signal[n, index[j, e]] * values[j, e]``

    Parameters
    ----------
    signal : float32[N, K], or integer
    values : float32[J, k], or integer
    index : int32[J, k]         outputs, each at most once in a unit
    scale : float32, or the integer 1
    out : float32[N, J], or int32 or int64 that is wide enough for the sums; written, may not overlap an input

    Cost: N J k multiply-accumulates. Order of summation: e ascending.
    """
    if out.shape[0] >= _ROWS:
        numbers, factors, count = _ell_by_entry(values, index, out)
        _project_side_by_side(signal, numbers, factors, count, scale, out)
        return
    cast = out.dtype.type
    for n in range(out.shape[0]):
        row = signal[n]
        for j in range(out.shape[1]):
            total = cast(0)
            for entry in range(values.shape[1]):
                # both casts at every step: Numba widens int32 + int32 to int64
                total = cast(total + cast(cast(row[index[j, entry]]) * cast(values[j, entry])))
            out[n, j] = cast(scale * total)


@kernel
def project_csr(signal, values, index, start, scale, out):
    """Bring a signal through a matrix with any number of entries for each unit.

    ``out[n, j] = scale * sum_e signal[n, index[e]] * values[e]``, e from ``start[j]`` to ``start[j + 1] - 1``

    Parameters
    ----------
    signal : float32[N, K], or integer
    values : float32[nnz], or integer
    index : int32[nnz]          outputs, each at most once in a unit
    start : int32[J + 1]        where the entries of each unit begin
    scale : float32, or the integer 1
    out : float32[N, J], or int32 or int64 that is wide enough for the sums; written, may not overlap an input

    Cost: N nnz multiply-accumulates. Order of summation: e ascending.
    """
    if out.shape[0] >= _ROWS:
        numbers, factors, count = _csr_by_entry(values, index, start, out.shape[1], out)
        _project_side_by_side(signal, numbers, factors, count, scale, out)
        return
    cast = out.dtype.type
    for n in range(out.shape[0]):
        row = signal[n]
        for j in range(out.shape[1]):
            total = cast(0)
            for entry in range(start[j], start[j + 1]):
                total = cast(total + cast(cast(row[index[entry]]) * cast(values[entry])))
            out[n, j] = cast(scale * total)


@kernel
def project_target_ell(label, values, index, scale, out):
    """Fetch what each unit is wired to of the sample's label, 0 where it is not: the transport of DRTP.

    ``out[n, j] = scale * values[j, e]`` where ``index[j, e] = label[n]``, else 0

    Parameters
    ----------
    label : int64[N]
    values : float32[J, k], or integer
    index : int32[J, k]         outputs, each at most once in a unit
    scale : float32, or the integer 1
    out : float32[N, J], or integer; written

    Cost: N J k comparisons, no product.
    """
    if out.shape[0] >= _ROWS:
        numbers, factors, _ = _ell_by_entry(values, index, out)
        _select_side_by_side(label, numbers, factors, scale, out)
        return
    cast = out.dtype.type
    for n in range(out.shape[0]):
        wanted = label[n]
        for j in range(out.shape[1]):
            found = cast(0)
            for entry in range(values.shape[1]):
                if index[j, entry] == wanted:
                    found = cast(values[j, entry])
            out[n, j] = cast(scale * found)


@kernel
def project_target_csr(label, values, index, start, scale, out):
    """Fetch what each unit is wired to of the sample's label, 0 where it is not, from CSR.

    ``out[n, j] = scale * values[e]`` where ``index[e] = label[n]`` and ``start[j] <= e < start[j + 1]``, else 0

    Parameters
    ----------
    label : int64[N]
    values : float32[nnz], or integer
    index : int32[nnz]          outputs, each at most once in a unit
    start : int32[J + 1]        where the entries of each unit begin
    scale : float32, or the integer 1
    out : float32[N, J], or integer; written

    Cost: N nnz comparisons, no product.
    """
    if out.shape[0] >= _ROWS:
        numbers, factors, _ = _csr_by_entry(values, index, start, out.shape[1], out)
        _select_side_by_side(label, numbers, factors, scale, out)
        return
    cast = out.dtype.type
    for n in range(out.shape[0]):
        wanted = label[n]
        for j in range(out.shape[1]):
            found = cast(0)
            for entry in range(start[j], start[j + 1]):
                if index[entry] == wanted:
                    found = cast(values[entry])
            out[n, j] = cast(scale * found)
