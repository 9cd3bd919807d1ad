"""Products of integer matrices by the CPU's dot products of bytes or words, for `fasim.fixedpoint.arrays.matmul`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasim import kernels
from fasim.fixedpoint.format import Fixed
from fasim.kernels import micro
from fasim.kernels.micro.outer_integer import GROUP

Integers = NDArray[Any]

# numbers of B from which it is taken as it lies, in groups of rows: 17 us for 784 x 500 bytes, to transpose it 124
_LARGE = 1 << 15
_WORDS, _WORD_BYTES = 2, 4
# the largest product that wide sums of int16 take as it is
_WHOLE = 2**23


def dot_products(a: Integers, b: Integers, a_format: Fixed, b_format: Fixed, most: int) -> Integers | None:
    """Return ``a @ b``, exact.

    Parameters
    ----------
    a : integer ndarray, shape (N, K)
    b : integer ndarray, shape (K, J)
    a_format, b_format : Fixed
    most : int
        The largest magnitude of a sum that the formats allow.

    Returns
    -------
    int32 or int64 ndarray, shape (N, J), or None
        None where the CPU has no such products, or they do not take the formats.
    """
    found = _dot_product(a_format, b_format)
    if found is None:
        return None
    kernel, a_type, b_type = found
    a, b = a.astype(a_type, copy=False), b.astype(b_type, copy=False)
    if most >= 2**31:
        wide = np.empty((len(a), b.shape[1]), np.int64)
        left, right = a.astype(np.int16, copy=False), np.ascontiguousarray(b.T, np.int16)
        micro.gemm_nt_int16_wide(left, right, most > _WHOLE * a.shape[1], wide)
        return wide
    sums = np.empty((len(a), b.shape[1]), np.int32)
    group = GROUP if a_type == b_type == np.int8 else _WORDS
    if a_type != b_type or group * a.itemsize != _WORD_BYTES or b.size < _LARGE or a.shape[1] % group:
        kernel(a, np.ascontiguousarray(b.T), sums)
        return sums
    flip, groups, offsets = (128 if group > _WORDS else 0), a.shape[1] // group, np.zeros(len(a), np.int32)
    left = a.reshape(len(a), groups, group).transpose(1, 0, 2)
    right = np.empty((groups, b.shape[1], group), np.uint8 if flip else b.dtype)
    kernels.interleave(b, flip, right)
    if flip:
        kernels.flip_offsets(left, offsets)
    micro.outer_sums(left, right, offsets, sums)
    return sums


@lru_cache
def _dot_product(a_format: Fixed, b_format: Fixed) -> tuple[Callable[..., None], type, type] | None:
    """Return the kernel of dot products that takes the formats, and its types."""

    def fit(a_type: type, b_type: type) -> bool:
        pairs = ((a_format, np.iinfo(a_type)), (b_format, np.iinfo(b_type)))
        return all(held.min <= fmt.lo and fmt.hi <= held.max for fmt, held in pairs)

    choices = (
        (micro.gemm_nt_int8, np.int8, np.int8),
        (micro.gemm_nt_uint8, np.uint8, np.int8),
        (micro.gemm_nt_int16, np.int16, np.int16),
    )
    if micro.TARGET == "portable":  # whose loops BLAS outruns
        return None
    return next((choice for choice in choices if fit(*choice[1:])), None)
