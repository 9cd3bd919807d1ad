"""Sparse feedback in fixed point: the functions of `fasim.kernels.sparse` on integers, whose sums are exact."""

from __future__ import annotations

from fasim.kernels.compile import kernel
from fasim.kernels.sparse import project_csr, project_ell, project_target_csr, project_target_ell


@kernel
def project_ell_fixed(signal, values, index, out):
    """Bring a signal through a matrix with k entries for each unit, exact.

    ``out[n, j] = sum_e signal[n, index[j, e]] * values[j, e]``

    Parameters
    ----------
    signal : integer[N, K]
    values : integer[J, k]
    index : int32[J, k]         outputs, each at most once in a unit
    out : int32 or int64[N, J]  written; wide enough for the sums

    Cost: N J k multiply-accumulates.
    """
    project_ell(signal, values, index, 1, out)


@kernel
def project_csr_fixed(signal, values, index, start, out):
    """Bring a signal through a matrix with any number of entries for each unit, exact.

    ``out[n, j] = sum_e signal[n, index[e]] * values[e]``, e from ``start[j]`` to ``start[j + 1] - 1``

    Parameters
    ----------
    signal : integer[N, K]
    values : integer[nnz]
    index : int32[nnz]          outputs, each at most once in a unit
    start : int32[J + 1]        where the entries of each unit begin
    out : int32 or int64[N, J]  written; wide enough for the sums

    Cost: N nnz multiply-accumulates.
    """
    project_csr(signal, values, index, start, 1, out)


@kernel
def project_target_ell_fixed(label, values, index, out):
    """Fetch what each unit is wired to of the sample's label: the transport of DRTP.

    ``out[n, j] = values[j, e]`` where ``index[j, e] = label[n]``, else 0

    Parameters
    ----------
    label : int64[N]
    values : integer[J, k]
    index : int32[J, k]     outputs, each at most once in a unit
    out : integer[N, J]     written

    Cost: N J k comparisons, no product.
    """
    project_target_ell(label, values, index, 1, out)


@kernel
def project_target_csr_fixed(label, values, index, start, out):
    """Fetch what each unit is wired to of the sample's label, from CSR.

    ``out[n, j] = values[e]`` where ``index[e] = label[n]`` and ``start[j] <= e < start[j + 1]``, else 0

    Parameters
    ----------
    label : int64[N]
    values : integer[nnz]
    index : int32[nnz]      outputs, each at most once in a unit
    start : int32[J + 1]    where the entries of each unit begin
    out : integer[N, J]     written

    Cost: N nnz comparisons, no product.
    """
    project_target_csr(label, values, index, start, 1, out)
