"""Fixed-point numbers as plain Python integers: formats, rounding, overflow, tables.

Rounding is written from its definition on exact fractions, not with the shift formulas, so that
it shares nothing with the kernels.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

Fmt = tuple[int, int, bool]  # bits, frac, signed
HALF = Fraction(1, 2)


def limits(fmt: Fmt) -> tuple[int, int]:
    """Return the smallest and the largest raw value of a format."""
    bits, _, signed = fmt
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def round_shift(x: int, shift: int, mode: str, word: int = 0) -> int:
    """Return x / 2^shift as an integer: exact for shift <= 0, else rounded by `mode`.

    TRN is the floor, RND the nearest with ties up, RND_CONV the nearest with ties to even, and
    STOCH the floor after adding a fraction of `shift` random bits (at most 32) of `word`.
    """
    if shift <= 0:
        return x * int(2**-shift)
    quotient = Fraction(x, 2**shift)
    if mode == "TRN":
        return math.floor(quotient)
    if mode == "RND":
        return math.floor(quotient + HALF)
    if mode == "RND_CONV":
        return round(quotient)  # Python rounds a Fraction's ties to even
    if mode == "STOCH":
        if shift > 32:
            raise ValueError(f"STOCH has 32 random bits, a shift of {shift} needs more")
        return math.floor(quotient + Fraction(word % 2**shift, 2**shift))
    raise ValueError(f"unknown rounding {mode!r}")


def overflow_to(value: int, fmt: Fmt, overflow: str) -> tuple[int, bool, bool]:
    """Return (value inside of the format, saturated, wrapped)."""
    low, high = limits(fmt)
    if overflow not in ("SAT", "WRAP"):
        raise ValueError(f"unknown overflow {overflow!r}")
    if low <= value <= high:
        return value, False, False
    if overflow == "SAT":
        return (low if value < low else high), True, False
    return (value - low) % (high - low + 1) + low, False, True


def cast(raw: int, from_frac: int, fmt: Fmt, mode: str, overflow: str, word: int = 0) -> tuple[int, bool, bool]:
    """Return (raw in `fmt`, saturated, wrapped) of a raw number with `from_frac` frac bits."""
    return overflow_to(round_shift(raw, from_frac - fmt[1], mode, word), fmt, overflow)


def _function(name: str, z: float) -> float:
    if name == "tanh":
        return math.tanh(z)
    if name == "sigmoid":
        return 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))
    if name == "relu":
        return max(z, 0.0)
    if name == "linear":
        return z
    raise ValueError(f"no element-wise function {name!r}")


def _derivative(name: str, z: float) -> float:
    a = _function(name, z)
    if name == "tanh":
        return 1.0 - a * a
    if name == "sigmoid":
        return a * (1.0 - a)
    if name == "relu":
        return 1.0 if a > 0.0 else 0.0
    raise ValueError(f"{name!r} has no slope table")


def _entry(value: float, fmt: Fmt) -> int:
    """Return a real number in `fmt`, by RND and SAT."""
    return overflow_to(math.floor(Fraction(value) * 2 ** fmt[1] + HALF), fmt, "SAT")[0]


def function_value(name: str, raw: int, in_fmt: Fmt, out_fmt: Fmt) -> int:
    """Return f at one raw input, in `out_fmt`: what a table of f holds there."""
    return _entry(_function(name, math.ldexp(raw, -in_fmt[1])), out_fmt)


def slope_value(name: str, raw: int, in_fmt: Fmt, out_fmt: Fmt) -> int:
    """Return f' at one raw input, in `out_fmt`: what a table of f' holds there."""
    return _entry(_derivative(name, math.ldexp(raw, -in_fmt[1])), out_fmt)


@lru_cache(maxsize=32)
def table(function: str, in_fmt: Fmt, out_fmt: Fmt) -> tuple[int, ...]:
    """Return f's raw value for each raw input of `in_fmt`, the smallest input first."""
    low, high = limits(in_fmt)
    return tuple(function_value(function, z, in_fmt, out_fmt) for z in range(low, high + 1))


@lru_cache(maxsize=32)
def slope_table(function: str, in_fmt: Fmt, out_fmt: Fmt) -> tuple[int, ...]:
    """Return the raw value of f' for each raw input of `in_fmt`, the smallest input first."""
    low, high = limits(in_fmt)
    return tuple(slope_value(function, z, in_fmt, out_fmt) for z in range(low, high + 1))
