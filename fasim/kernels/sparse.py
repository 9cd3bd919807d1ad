"""Sparse feedback: transport through matrices that name, for each hidden unit, the outputs it is wired to.

ELL holds equally many entries for every unit, CSR any number of them. One source serves float32 and exact integers: sums
are held in the type of `out`, and `scale` is 1 for integers. Entries are added in the order in which they are stored
(outputs ascending in each unit), so the result is the same on any machine. Each function works on any rows of a batch.

On a CPU a sparse matrix saves memory, not time: reading by index costs about as much as a dense product with ten outputs.
"""

from __future__ import annotations

from fasim.kernels.compile import kernel


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
    cast = out.dtype.type
    for n in range(out.shape[0]):
        wanted = label[n]
        for j in range(out.shape[1]):
            found = cast(0)
            for entry in range(start[j], start[j + 1]):
                if index[entry] == wanted:
                    found = cast(values[entry])
            out[n, j] = cast(scale * found)
