"""The activation tables: what a layer's function and its slope are in fixed point."""

from __future__ import annotations

import decimal
import functools
import math
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasim.errors import FormatError
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.quantize import quantize

FUNCTIONS = ("tanh", "sigmoid", "linear")


@functools.cache
def act_table(function: str, preact: Fixed, act: Fixed) -> NDArray[Any]:
    """Return ``f(raw * 2^-frac)`` for every raw pre-activation from ``preact.lo`` to ``preact.hi``.

    An entry is floor(f * 2^F + 1/2), then SAT, of the exact real number f: the same on every
    machine, whatever its mathematical library. Built once per process.

    Parameters
    ----------
    function : str
        "tanh", "sigmoid" or "linear".
    preact, act : Fixed
        Formats of the address and of the entry.

    Returns
    -------
    read-only ndarray of act.dtype, shape (2^preact.bits,)

    Raises
    ------
    FormatError
        If the function has no table.
    """
    _check(function)
    if function == "linear":
        codes = np.arange(preact.lo, preact.hi + 1, dtype=np.float64)
        table = quantize(np.ldexp(codes, -preact.frac), act)
        table.setflags(write=False)
        return table
    return _build(function, "act", preact, act)


@functools.cache
def slope_table(function: str, preact: Fixed, slope: Fixed) -> NDArray[Any]:
    """Return ``f'(raw * 2^-frac)`` for every raw pre-activation, like `act_table`.

    Parameters
    ----------
    function : str
        "tanh" or "sigmoid".
    preact, slope : Fixed
        Formats of the address and of the entry.

    Returns
    -------
    read-only ndarray of slope.dtype, shape (2^preact.bits,)

    Raises
    ------
    FormatError
        If the function has no table; "linear" has none, its slope is no factor at all.
    """
    _check(function)
    if function == "linear":
        raise FormatError("a linear layer has no slope table: leave its slope factor of 1 out")
    return _build(function, "slope", preact, slope)


def _check(function: str) -> None:
    if function not in FUNCTIONS:
        raise FormatError(f"activation {function!r} is not available in fixed point: use tanh, sigmoid or linear")


def _exact(function: str, kind: str, x: Decimal) -> Decimal:
    """Return f(x) or f'(x) of tanh or sigmoid; t <= 1, so that nothing overflows or cancels."""
    t = (-abs(x) * (2 if function == "tanh" else 1)).exp()
    if kind == "slope":
        return t * (4 if function == "tanh" else 1) / (1 + t) ** 2
    if function == "tanh":
        return ((1 - t) / (1 + t)).copy_sign(x)
    return (t if x < 0 else Decimal(1)) / (1 + t)


def _build(function: str, kind: str, preact: Fixed, fmt: Fixed) -> NDArray[Any]:
    # 60 digits are far more than any format holds: no rounding can fall differently.
    with decimal.localcontext(prec=60):
        step, scale, half = Decimal(2) ** -preact.frac, Decimal(2) ** fmt.frac, Decimal("0.5")
        entries = [
            math.floor(_exact(function, kind, code * step) * scale + half) for code in range(preact.lo, preact.hi + 1)
        ]
    table = np.array([min(max(entry, fmt.lo), fmt.hi) for entry in entries], dtype=fmt.dtype)
    table.setflags(write=False)
    return table
