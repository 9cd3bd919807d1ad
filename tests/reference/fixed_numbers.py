"""Raw numbers, formats, rounding and overflow, on exact fractions of Python integers.

A number's value is raw * 2^-frac. Arrays are NumPy arrays of Python integers (dtype object), so that nothing can overflow.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

Raw = np.ndarray
HALF = Fraction(1, 2)


class Fmt(NamedTuple):
    """A format: `s8.6`, `u8.8`, `sym8.7`."""

    bits: int
    frac: int
    signed: bool = True
    symmetric: bool = False


def read_format(text: str) -> Fmt:
    """Return the format that a text names."""
    found = re.fullmatch(r"(sym|s|u)(\d+)\.(-?\d+)", text.strip())
    if found is None:
        raise ValueError(f"no format {text!r}")
    return Fmt(int(found[2]), int(found[3]), found[1] != "u", found[1] == "sym")


def limits(fmt: Fmt) -> tuple[int, int]:
    """Return the smallest and the largest raw number of a format."""
    if not fmt.signed:
        return 0, 2**fmt.bits - 1
    highest = 2 ** (fmt.bits - 1) - 1
    return (-highest if fmt.symmetric else -highest - 1), highest


@dataclass(frozen=True)
class Num:
    """An array of raw numbers and its fraction bits."""

    raw: Raw
    frac: int

    def at(self, frac: int) -> Raw:
        """Return the raw numbers at as many fraction bits or more: exact."""
        if frac < self.frac:
            raise ValueError(f"{self.frac} fraction bits do not fit exactly into {frac}")
        return self.raw * 2 ** (frac - self.frac)

    def like(self, raw: Raw) -> Num:
        """Return other raw numbers at the same point."""
        return Num(raw, self.frac)

    def reshaped(self, *shape: int) -> Num:
        """Return the same numbers in another shape."""
        return Num(self.raw.reshape(shape), self.frac)


def integers(values: Any) -> Raw:
    """Return an array of Python integers from an array or nested lists of whole numbers."""
    array = np.asarray(values)
    out = np.empty(array.shape, dtype=object)
    flat = out.reshape(-1)
    for position, value in enumerate(array.reshape(-1).tolist()):
        if value != int(value):
            raise ValueError(f"{value!r} is no whole number")
        flat[position] = int(value)
    return out


def each(function: Callable[..., Any], *arrays: Any) -> Raw:
    """Return `function` of every element (of arrays that NumPy broadcasts)."""
    result = np.frompyfunc(function, len(arrays), 1)(*arrays)
    return np.asarray(result, dtype=object)


def aligned(*numbers: Num) -> tuple[list[Raw], int]:
    """Return raw numbers at the finest point of all, and that point."""
    frac = max(number.frac for number in numbers)
    return [number.at(frac) for number in numbers], frac


def _up(mode: str, rest: Fraction, negative: bool, odd: bool) -> bool:
    """Tell whether the number above the floor is taken; rest = x - floor(x), in 0 .. 1."""
    tie = rest == HALF
    above = rest > HALF
    inexact = rest > 0
    table = {
        "TRN": False,
        "TRN_INF": inexact,
        "TRN_ZERO": inexact and negative,
        "TRN_AWAY": inexact and not negative,
        "TRN_MAG": negative,
        "RND": above or tie,
        "RND_MIN_INF": above,
        "RND_INF": above or (tie and not negative),
        "RND_ZERO": above or (tie and negative),
        "RND_CONV": above or (tie and odd),
        "RND_CONV_ODD": above or (tie and not odd),
        "JAM": not odd,
        "JAM_UNBIASED": not odd and inexact,
    }
    if mode not in table:
        raise ValueError(f"no rounding {mode!r}")
    return table[mode]


def round_quotient(x: int, divisor: int, mode: str) -> int:
    """Return x / divisor rounded; the modes that need random numbers or bits excepted."""
    floor, rest = divmod(x, divisor)
    return floor + _up(mode, Fraction(rest, divisor), x < 0, floor % 2 == 1)


def round_shift(x: int, shift: int, mode: str, u: int = 0) -> int:
    """Return x / 2^shift rounded; `u` is the random number of STOCH, 0 .. 2^shift - 1 (half a bit more with few bits)."""
    if shift <= 0:
        exact = x * 2**-shift
        return exact + 1 if mode == "JAM" and shift == 0 and exact % 2 == 0 else exact
    if mode == "STOCH":
        return math.floor(Fraction(x + u, 2**shift))
    if mode == "STOCH_PSEUDO":
        whole, dropped = divmod(abs(x), 2**shift)
        low = shift // 2
        up = dropped // 2**low > (dropped % 2**low) * 2 ** (shift % 2)
        return (whole + up) * (-1 if x < 0 else 1)
    return round_quotient(x, 2**shift, mode)


def into_range(value: int, fmt: Fmt, overflow: str) -> tuple[int, bool, bool]:
    """Return (number in the format, saturated, wrapped)."""
    low, high = limits(fmt)
    if overflow == "SAT_SYM" and fmt.signed:
        low = -high
    if overflow in ("WRAP", "NUMERIC_STD") and fmt.symmetric:
        raise ValueError(f"{overflow} cannot go into the symmetric {fmt}")
    if low <= value <= high:
        return value, False, False
    if overflow in ("SAT", "SAT_SYM"):
        return (low if value < low else high), True, False
    if overflow == "SAT_ZERO":
        return 0, True, False
    if overflow == "NUMERIC_STD" and fmt.signed:
        half = 2 ** (fmt.bits - 1)
        return value % half - (half if value < 0 else 0), False, True
    if overflow in ("WRAP", "NUMERIC_STD"):
        return (value - low) % (high - low + 1) + low, False, True
    raise ValueError(f"no overflow {overflow!r}")


def rounded_log2(m: int) -> int:
    """Return round(log2 m) of a positive number: b where 2^(2b - 1) <= m^2 < 2^(2b + 1)."""
    b = 0
    while not (Fraction(2) ** (2 * b - 1) <= m * m < Fraction(2) ** (2 * b + 1)):
        b += 1
    return b


def ceil_log2(bound: float) -> int:
    """Return the smallest b with bound <= 2^b."""
    b = -200
    while Fraction(bound) > Fraction(2) ** b:
        b += 1
    return b
