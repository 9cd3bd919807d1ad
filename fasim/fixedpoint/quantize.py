"""From floating point to a format and back: the two ends of a fixed-point run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fasim.errors import FormatError
from fasim.fixedpoint.format import Fixed


def quantize(values: ArrayLike, fmt: Fixed) -> NDArray[Any]:
    """Return the raw numbers of ``values``: RND, that is floor(v * 2^frac + 1/2), then SAT.

    Rounds once, in float64, without error: the sum v + 1/2 is never formed, since it would itself
    be rounded.

    Parameters
    ----------
    values : array_like of float
        Any shape, finite; read as float64.
    fmt : Fixed
        The format.

    Returns
    -------
    ndarray of fmt.dtype
        The same shape.

    Raises
    ------
    FormatError
        If a value is NaN or infinite.
    """
    exact = np.asarray(values, dtype=np.float64)
    if not np.isfinite(exact).all():
        raise FormatError(f"NaN or infinity has no number in format {fmt}: mend the values first")
    with np.errstate(over="ignore"):  # an overflow is an infinity, which saturates like its value
        scaled = np.ldexp(exact, fmt.frac)
    lower = np.floor(scaled)
    # An infinity is no number minus itself; 0 stands in, its sign decides below.
    part = np.subtract(scaled, lower, where=np.isfinite(scaled), out=np.zeros_like(scaled))
    nearest = lower + (part >= 0.5)
    above = nearest >= float(fmt.hi)
    below = nearest <= float(fmt.lo)
    raw = np.where(above | below, 0.0, nearest).astype(np.int64)
    return np.where(above, fmt.hi, np.where(below, fmt.lo, raw)).astype(fmt.dtype)


def dequantize(raw: NDArray[Any], fmt: Fixed) -> NDArray[np.float32]:
    """Return the values of raw numbers, ``raw * 2^-frac``.

    Exact up to 24 bits; wider numbers are rounded once, to the nearest float32.

    Parameters
    ----------
    raw : integer ndarray
        Any shape.
    fmt : Fixed
        Their format.

    Returns
    -------
    ndarray of float32
        The same shape.
    """
    return np.ldexp(np.asarray(raw).astype(np.float32), -fmt.frac)
