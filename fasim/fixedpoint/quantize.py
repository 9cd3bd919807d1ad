"""From floating point to a format and back: the two ends of a fixed-point run."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fasim.errors import FormatError
from fasim.fixedpoint.cast import Cast, limits
from fasim.fixedpoint.format import Fixed
from fasim.scalar.rounding import ROUNDINGS, TABLES

_RANDOM = ("STOCH", "STOCH_PSEUDO")
_AT_ONCE = 1 << 14


@overload
def quantize(
    values: ArrayLike, fmt: Fixed, rounding: str = ..., overflow: str = ..., return_counts: Literal[False] = ...
) -> NDArray[Any]: ...
@overload
def quantize(
    values: ArrayLike, fmt: Fixed, rounding: str = ..., overflow: str = ..., *, return_counts: Literal[True]
) -> tuple[NDArray[Any], int]: ...
def quantize(
    values: ArrayLike, fmt: Fixed, rounding: str = "RND", overflow: str = "SAT", return_counts: bool = False
) -> NDArray[Any] | tuple[NDArray[Any], int]:
    """Return the raw numbers of ``values``: ``overflow(round(v * 2^frac))``, by default floor(v * 2^frac + 1/2) and SAT.

    Rounds once, without error: nothing is added before the rounding, since the sum v + 1/2 would itself be rounded in
    float64.

    Parameters
    ----------
    values : array_like of float
        Any shape, finite; read as float64.
    fmt : Fixed
        The format.
    rounding : str
        A deterministic rounding, by our name or that of another tool. A float counts as having fraction bits to drop: JAM
        always sets the last bit, TRN_MAG moves every negative number.
    overflow : str
        An overflow, by our name or that of another tool.
    return_counts : bool
        Whether to return too how many values were outside of the range.

    Returns
    -------
    ndarray of fmt.dtype, or a tuple of it and an int
        The same shape.

    Raises
    ------
    FormatError
        If a value is NaN or infinite, a name is unknown, the rounding is random, or the format cannot wrap.
    """
    cast = Cast(fmt, rounding, overflow)
    if cast.rounding in _RANDOM:
        raise FormatError(f"{cast.rounding} of floating-point values: quantize with a deterministic mode, such as RND")
    given = np.asarray(values)
    flat, result = given.reshape(-1), np.empty(given.size, fmt.dtype)
    outside = 0
    # numbers in float64, of which a dozen arrays are needed, that stay in the cache
    for start in range(0, flat.size, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        result[part], beyond = _rounded(flat[part], cast)
        outside += beyond
    shaped = result.reshape(given.shape)
    return (shaped, outside) if return_counts else shaped


def _rounded(values: NDArray[Any], cast: Cast) -> tuple[NDArray[Any], int]:
    """Return the raw numbers of some values, and how many were outside of the range."""
    fmt = cast.format
    exact = np.asarray(values, dtype=np.float64)
    if not np.isfinite(exact).all():
        raise FormatError(f"NaN or infinity has no number in format {fmt}: mend the values first")
    with np.errstate(over="ignore", under="ignore"):  # an infinity is as far outside as its value
        scaled = np.ldexp(exact, fmt.frac)
    # What became 0 is still no 0: any number below every half stands in
    scaled = np.where((scaled == 0) & (exact != 0), np.copysign(2.0**-1000, exact), scaled)
    negative = scaled < 0
    far = np.abs(scaled) >= 2.0**63
    near = np.where(far, 0.0, scaled)
    lower = np.floor(near)
    # Of the magnitude, since the distance of a small negative number to its floor would itself be rounded
    part = np.abs(near - np.trunc(near))
    # From 2^63 on a number is whole, its last bits are 0; the low 63 bits are what wrapping keeps
    low = np.fmod(np.where(np.isfinite(scaled) & far, scaled, 0.0), 2.0**63)
    whole = lower.astype(np.int64) + low.astype(np.int64)
    half_or_more = np.where(negative, (part > 0) & (part <= 0.5), part >= 0.5)
    remainder = 2 * half_or_more + ((part != 0) & (part != 0.5))
    place = remainder + 4 * negative + 8 * (whole & 1)
    rounded = whole + ((TABLES[ROUNDINGS[cast.rounding]] >> place) & 1)
    lo, hi = limits(fmt, cast.overflow)
    outside = far | (rounded < lo) | (rounded > hi)
    if cast.overflow in ("SAT", "SAT_SYM"):
        raw = np.where(far, np.where(negative, lo, hi), np.clip(rounded, lo, hi))
    elif cast.overflow == "SAT_ZERO":
        raw = np.where(outside, 0, rounded)
    elif cast.overflow == "NUMERIC_STD":
        raw = (rounded & hi) + np.where((rounded < 0) | (far & negative), lo, 0)
    else:
        raw = lo + (((rounded & (hi - lo)) - (lo & (hi - lo))) & (hi - lo))
    return raw.astype(fmt.dtype), int(outside.sum())


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
