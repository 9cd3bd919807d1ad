"""The proof that a float GEMM sums integers exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasim.fixedpoint.format import Fixed

# whole numbers up to here are exact in a float type, and so is every sum of them that stays below, in any order
WINDOWS = {np.dtype(np.float32): 1 << 24, np.dtype(np.float64): 1 << 53}


def chunk(first: Fixed, second: Fixed, dtype: Any) -> int:  # noqa: ANN401
    """Return how many products of two formats a float type adds without an error, whatever the order.

    ``terms * max|a| * max|b| <= 2^24`` (float32) or ``2^53`` (float64): every partial sum is then a whole number that the
    type holds, so neither the order of a BLAS nor a fused multiply-add can change a bit.

    Parameters
    ----------
    first, second : Fixed
    dtype : dtype
        float32 or float64.

    Returns
    -------
    int
        0 where not even one product is exact.
    """
    window = WINDOWS[np.dtype(dtype)]
    sizes = [max(abs(fmt.lo), fmt.hi) for fmt in (first, second)]
    return 0 if max(sizes) > window else window // (sizes[0] * sizes[1])
