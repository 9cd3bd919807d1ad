"""What stands for tanh and sigmoid in hardware: the functions, and pieces of straight lines that are cheaper.

All numbers here are exact: fractions (the functions themselves decimals of 60 digits), rounded once, at the end. Largest
distances to the function that a form stands for, measured over steps of 2^-16 in -16 .. 16; slopes jump at the joints and
are compared nowhere:

======== ================ ===================
form     tanh             sigmoid
======== ================ ===================
``hard`` 0.2384 at 1      0.1192 at 2
``pwl``  0.0379 at 0.5    0.0189 at 1
======== ================ ===================

``pocket`` works on whole numbers and follows ``127 tanh(2 x / 127)`` to within 4.92 (at 32).
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from fasim.errors import FormatError

TABLE, HARD, PWL, POCKET = "table", "hard", "pwl", "pocket"
# far more digits than any format holds: no rounding can fall differently
DIGITS = 60
HALF = Fraction(1, 2)
# entries of so many fraction bits are known to 2^-24 from floats: an entry that is twice as far from a tie is theirs
SURE_BITS, DOUBT = 24, 2.0**-23

# Amin, Curtis and Hayes-Gill 1997: (first |x| of the piece, slope, height at 0)
PLAN = (
    (Fraction(0), Fraction(1, 4), HALF),
    (Fraction(1), Fraction(1, 8), Fraction(5, 8)),
    (Fraction(19, 8), Fraction(1, 32), Fraction(27, 32)),
    (Fraction(5), Fraction(0), Fraction(1)),
)
# PocketNN: (first x beyond the piece, factor, divisor, added, whole number that stands for 1 / slope)
POCKET_PIECES = (
    (-127, 0, 1, -127, 127),
    (-74, 1, 4, -88, 8),
    (-31, 1, 1, -32, 2),
    (32, 2, 1, 0, 1),
    (75, 1, 1, 32, 2),
    (128, 1, 4, 88, 8),
)
POCKET_LAST = (0, 1, 127, 127)


def circuit(form: str) -> str:
    """Return what computes an activation, for the counter of operations.

    Parameters
    ----------
    form : str
        ``table``, ``hard``, ``pwl``, ``pocket``, or the path of a file.

    Returns
    -------
    str
        ``LUT`` (one look-up), ``CMP`` (``hard``: 2 compares and wires) or ``PWL`` (``pwl`` up to 3 compares on the
        magnitude, ``pocket`` up to 6; then a shift and an add).
    """
    return {HARD: "CMP", PWL: "PWL", POCKET: "PWL"}.get(form, "LUT")


def entries(function: str, kind: str, form: str, codes: Sequence[int], frac: int, out_frac: int) -> list[int]:
    """Return ``floor(f(code * 2^-frac) * 2^out_frac + 1/2)`` of a function, or its slope, for every code.

    Parameters
    ----------
    function : str
        ``tanh`` or ``sigmoid``.
    kind : str
        ``act`` or ``slope``.
    form : str
        ``table``, ``hard``, ``pwl`` or ``pocket``.
    codes : sequence of int
    frac, out_frac : int
        Fraction bits of the codes and of the entries.

    Raises
    ------
    FormatError
        If the form does not stand for the function, or not at this binary point.
    """
    if form == TABLE:
        return [_entry(function, kind, code, frac, out_frac) for code in codes]
    return [rounded(value, out_frac) for value in _values(function, kind, form, codes, frac)]


def rounded(value: Fraction, frac: int) -> int:
    """Return ``floor(value * 2^frac + 1/2)``."""
    return math.floor(value * Fraction(2) ** frac + HALF)


def _values(function: str, kind: str, form: str, codes: Sequence[int], frac: int) -> list[Fraction]:
    unit = Fraction(2) ** -frac
    if form == POCKET:
        check_pocket(function, frac)
        pieces = [_pocket(code) for code in codes]
        return [Fraction(value) if kind == "act" else Fraction(1, divisor) for value, divisor in pieces]
    line = _hard if form == HARD else _plan
    if function == "sigmoid":
        return [line(code * unit)[kind == "slope"] for code in codes]
    # tanh(x) = 2 sigmoid(2x) - 1
    if kind == "slope":
        return [4 * line(2 * code * unit)[1] for code in codes]
    return [2 * line(2 * code * unit)[0] - 1 for code in codes]


def divisors(function: str, codes: Sequence[int], frac: int) -> list[int]:
    """Return the whole numbers that divide a signal in place of ``pocket``'s slope.

    Raises
    ------
    FormatError
        As `entries`.
    """
    check_pocket(function, frac)
    return [_pocket(code)[1] for code in codes]


def check_pocket(function: str, frac: int) -> None:
    """Refuse what PocketNN's function is not made for.

    Raises
    ------
    FormatError
        For another function than tanh, or a pre-activation with fraction bits.
    """
    if function != "tanh":
        raise FormatError(f"pocket stands for tanh, not for {function}: write table, hard, pwl or a file")
    if frac:
        raise FormatError(f"pocket works on whole numbers, preact has {frac} fraction bits: give it 0, such as s16.0")


def _entry(function: str, kind: str, code: int, frac: int, out_frac: int) -> int:
    """Return an entry of a table: by floats where these leave no doubt, which takes a fortieth of the time."""
    factor = 2 if function == "tanh" else 1
    if max(frac, out_frac) <= SURE_BITS and abs(code) < 1 << SURE_BITS:
        near = _value(function, kind, code, math.exp(-abs(math.ldexp(factor * code, -frac)))) * 2.0**out_frac + 0.5
        whole = math.floor(near)
        if DOUBT < near - whole < 1 - DOUBT:
            return whole
    with decimal.localcontext(prec=DIGITS):
        exact = _value(function, kind, code, (-abs(factor * code * Decimal(2) ** -frac)).exp())
        return math.floor(exact * Decimal(2) ** out_frac + Decimal("0.5"))


def _value(function: str, kind: str, code: int, t: Any) -> Any:  # noqa: ANN401 - float or Decimal, as t is
    """Return a function or slope from ``t = exp(-|x|)``, of tanh ``exp(-2 |x|)``: at most 1, so that nothing overflows."""
    if kind == "slope":
        return t * (4 if function == "tanh" else 1) / (1 + t) ** 2
    if function == "tanh":
        return (1 - t) / (1 + t) * (-1 if code < 0 else 1)
    return (t if code < 0 else 1) / (1 + t)


def _hard(x: Fraction) -> tuple[Fraction, Fraction]:
    """Return ``clamp(x/4 + 1/2, 0, 1)`` and its slope, 0 at both ends."""
    inside = -2 < x < 2
    return min(max(x / 4 + HALF, Fraction(0)), Fraction(1)), Fraction(1, 4) if inside else Fraction(0)


def _plan(x: Fraction) -> tuple[Fraction, Fraction]:
    """Return the sigmoid of four lines and its slope."""
    _, slope, height = next(piece for piece in reversed(PLAN) if abs(x) >= piece[0])
    value = slope * abs(x) + height
    return (1 - value if x < 0 else value), slope


def _pocket(x: int) -> tuple[int, int]:
    """Return PocketNN's tanh of a whole number and the whole number that stands for 1 / slope."""
    piece = next((rest for end, *rest in POCKET_PIECES if x < end), POCKET_LAST)
    factor, divisor, added, inverse = piece
    magnitude = abs(factor * x) // divisor
    return (-magnitude if x < 0 else magnitude) + added, inverse
