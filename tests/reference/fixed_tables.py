"""Activation and slope of a raw pre-activation, as tables hold them: the exact function, rounded once by RND and SAT."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from .fixed_numbers import HALF, Fmt, Num, Raw, each, into_range, limits

CONTEXT = decimal.Context(prec=60)
TABLES = ("tanh", "sigmoid")


def rnd_sat(value: Fraction, fmt: Fmt) -> int:
    """Return a real number in a format, by RND and SAT."""
    return into_range(math.floor(value * Fraction(2) ** fmt.frac + HALF), fmt, "SAT")[0]


def _exact(name: str, x: Fraction) -> tuple[Fraction, Fraction]:
    """Return (f, f') to 50 digits; where they are a tie of the rounding they are exact."""
    value = CONTEXT.divide(Decimal(x.numerator), Decimal(x.denominator))
    twice = value if name == "sigmoid" else CONTEXT.multiply(value, Decimal(2))
    power = CONTEXT.exp(-abs(twice))  # below 1: nothing overflows
    right = CONTEXT.divide(Decimal(1), CONTEXT.add(Decimal(1), power))  # sigmoid(|twice|)
    sigmoid = Fraction(right) if twice >= 0 else 1 - Fraction(right)
    if name == "sigmoid":
        return sigmoid, sigmoid * (1 - sigmoid)
    tanh = 2 * sigmoid - 1  # tanh(x) = 2 sigmoid(2x) - 1
    return tanh, 1 - tanh**2


def _hard(name: str, x: Fraction) -> tuple[Fraction, Fraction]:
    """Return (clamp(x, -1, 1), slope) or (clamp(x/4 + 1/2, 0, 1), slope)."""
    if name == "tanh":
        return max(Fraction(-1), min(Fraction(1), x)), Fraction(1 if -1 < x < 1 else 0)
    return max(Fraction(0), min(Fraction(1), x / 4 + HALF)), Fraction(1, 4) if -2 < x < 2 else Fraction(0)


def _pwl_sigmoid(x: Fraction) -> tuple[Fraction, Fraction]:
    """Return the pieces of Amin, Curtis and Hayes-Gill: f(-x) = 1 - f(x), the slope that of |x|."""
    size = abs(x)
    if size < 1:
        slope, offset = Fraction("0.25"), Fraction("0.5")
    elif size < Fraction("2.375"):
        slope, offset = Fraction("0.125"), Fraction("0.625")
    elif size < 5:
        slope, offset = Fraction("0.03125"), Fraction("0.84375")
    else:
        slope, offset = Fraction(0), Fraction(1)
    value = slope * size + offset
    return (value if x >= 0 else 1 - value), slope


def _pwl(name: str, x: Fraction) -> tuple[Fraction, Fraction]:
    if name == "sigmoid":
        return _pwl_sigmoid(x)
    value, slope = _pwl_sigmoid(2 * x)
    return 2 * value - 1, 4 * slope


def pocket(x: int) -> tuple[int, int]:
    """Return PocketNN's tanh of a raw number and the reciprocal of its slope."""
    quarter = abs(x) // 4 * (-1 if x < 0 else 1)  # toward zero
    if x < -127:
        return -127, 127
    if x < -74:
        return quarter - 88, 8
    if x < -31:
        return x - 32, 2
    if x < 32:
        return 2 * x, 1
    if x < 75:
        return x + 32, 2
    if x < 128:
        return quarter + 88, 8
    return 127, 127


FORMS = {"table": _exact, "hard": _hard, "pwl": _pwl}


@cache
def _entry(name: str, form: str, raw: int, frac: int, fmt: Fmt, what: str) -> int:
    if form == "pocket":
        if frac or name != "tanh":
            raise ValueError("pocket is a tanh of raw numbers with no fraction bits")
        act, reciprocal = pocket(raw)
        value = Fraction(act) if what == "act" else Fraction(1, reciprocal)
    else:
        value = FORMS[form](name, raw / Fraction(2) ** frac)[what == "slope"]
    return rnd_sat(value, fmt)


def _file(path: str, raw: Raw, preact: Fmt) -> Raw:
    lines = [int(line) for line in Path(path).read_text(encoding="utf-8").split()]
    return each(lambda code: lines[code - limits(preact)[0]], raw)


def look_up(name: str, what: str, given: Num, preact: Fmt, fmt: Fmt, functions: dict[str, Any]) -> Num:
    """Return act or slope of every pre-activation, of tanh, sigmoid or linear."""
    if name == "linear":
        return Num(each(lambda code: rnd_sat(Fraction(code) / Fraction(2) ** given.frac, fmt), given.raw), fmt.frac)
    form = functions.get(name, "table")
    if form not in (*FORMS, "pocket"):
        return Num(_file(form if what == "act" else functions[f"{name}_slope"], given.raw, preact), fmt.frac)
    return Num(each(lambda code: _entry(name, form, code, given.frac, fmt, what), given.raw), fmt.frac)


def reciprocal_slope(name: str, given: Num, preact: Fmt, functions: dict[str, Any]) -> Raw:
    """Return the whole number d of `slope = "divide"` for every pre-activation."""
    form = functions[name]
    if form == "pocket":
        return each(lambda code: pocket(code)[1], given.raw)
    return _file(functions[f"{name}_slope"], given.raw, preact)
