"""The activation tables: what a layer's function and its slope are in fixed point."""

from __future__ import annotations

import decimal
import functools
import math
import re
import zlib
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasim.errors import FormatError
from fasim.files import user_path
from fasim.fixedpoint import functions
from fasim.fixedpoint.format import Fixed
from fasim.fixedpoint.options import FORMS, MAX_SOFTMAX_BITS

FUNCTIONS = ("tanh", "sigmoid", "linear")
MAX_DIVISOR = 2**31 - 1
_WHOLE = re.compile(r"[+-]?\d{1,20}")


def act_table(function: str, preact: Fixed, act: Fixed, form: str = "table") -> NDArray[Any]:
    """Return ``f(raw * 2^-frac)`` for every raw pre-activation from ``preact.lo`` to ``preact.hi``.

    An entry is floor(f * 2^F + 1/2), then SAT, of the exact real number f: the same on every
    machine, whatever its mathematical library. Built once per process.

    Parameters
    ----------
    function : str
        "tanh", "sigmoid" or "linear".
    preact, act : Fixed
        Formats of the address and of the entry.
    form : str
        "table" (the function itself), "hard", "pwl", "pocket", or the path of a file with one raw
        entry a line, from the lowest code up. A linear layer has no other form than "table".

    Returns
    -------
    read-only ndarray of act.dtype, shape (preact.hi - preact.lo + 1,)

    Raises
    ------
    FormatError
        If the function has no table or no such form, or the file does not hold it.
    """
    _check(function)
    if form not in FORMS:
        return _from_file(form, preact, act.lo, act.hi, act.dtype)
    return _build(function, "act", preact, act, form)


def slope_table(function: str, preact: Fixed, slope: Fixed, form: str = "table") -> NDArray[Any]:
    """Return ``f'(raw * 2^-frac)`` for every raw pre-activation, like `act_table`.

    Parameters
    ----------
    function : str
        "tanh" or "sigmoid".
    preact, slope : Fixed
        Formats of the address and of the entry.
    form : str
        As in `act_table`.

    Returns
    -------
    read-only ndarray of slope.dtype, shape (preact.hi - preact.lo + 1,)

    Raises
    ------
    FormatError
        As `act_table`; "linear" has no slope table, its slope is no factor at all.
    """
    _check_slope(function)
    if form not in FORMS:
        return _from_file(form, preact, slope.lo, slope.hi, slope.dtype)
    return _build(function, "slope", preact, slope, form)


def inverse_slope_table(function: str, preact: Fixed, form: str) -> NDArray[np.int32]:
    """Return the whole number d of every raw pre-activation, for a datapath that divides by d where others multiply by f'.

    Parameters
    ----------
    function : str
        "tanh" or "sigmoid".
    preact : Fixed
    form : str
        "pocket", or the path of a file with one number of at least 1 a line, from the lowest code up.

    Returns
    -------
    read-only ndarray of int32, shape (preact.hi - preact.lo + 1,)

    Raises
    ------
    FormatError
        If the form has no such numbers, or the file does not hold them.
    """
    _check_slope(function)
    if form == functions.POCKET:
        return _kept(functions.divisors(function, range(preact.lo, preact.hi + 1), preact.frac), np.dtype(np.int32))
    if form in FORMS:
        raise FormatError(
            f'slope = "divide" needs whole numbers, and {form} has none: write {function} = "pocket" or two files, '
            'or leave slope = "divide" out'
        )
    return _from_file(form, preact, 1, MAX_DIVISOR, np.dtype(np.int32))


@functools.cache
def softmax_table(bits: int) -> NDArray[np.uint32]:
    """Return ``T[i] = floor(2^(15 + i / 2^bits) + 1/2)``, the powers of two from which softmax is made.

    Parameters
    ----------
    bits : int
        Fraction bits of an exponent, 0 to 8.

    Returns
    -------
    read-only ndarray of uint32, shape (2^bits,)

    Raises
    ------
    FormatError
        If there are more bits.
    """
    if not 0 <= bits <= MAX_SOFTMAX_BITS:
        raise FormatError(f"softmax_bits = {bits}: 0 to {MAX_SOFTMAX_BITS} are possible")
    with decimal.localcontext(prec=functions.DIGITS):
        half, count = Decimal("0.5"), 1 << bits
        entries = [math.floor(Decimal(2) ** (15 + Decimal(i) / count) + half) for i in range(count)]
    return _kept(entries, np.dtype(np.uint32))


def _check(function: str) -> None:
    if function not in FUNCTIONS:
        raise FormatError(f"activation {function!r} is not available in fixed point: use tanh, sigmoid or linear")


def _check_slope(function: str) -> None:
    _check(function)
    if function == "linear":
        raise FormatError("a linear layer has no slope table: leave its slope factor of 1 out")


@functools.cache
def _build(function: str, kind: str, preact: Fixed, fmt: Fixed, form: str) -> NDArray[Any]:
    codes = range(preact.lo, preact.hi + 1)
    if function == "linear":
        unit = Fraction(2) ** -preact.frac
        entries = [functions.rounded(code * unit, fmt.frac) for code in codes]
    else:
        entries = functions.entries(function, kind, form, codes, preact.frac, fmt.frac)
    return _kept([min(max(entry, fmt.lo), fmt.hi) for entry in entries], fmt.dtype)


def checksum(path: str) -> int:
    """Return the CRC-32 of what a file of a table holds now.

    Raises
    ------
    FormatError
        If it cannot be read.
    """
    return zlib.crc32(_text(path).encode())


def _text(path: str) -> str:
    try:
        return user_path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise FormatError(
            f"table {path!r} cannot be read: {reason}; give a file of whole numbers, or {', '.join(FORMS)}"
        ) from None


def _from_file(path: str, preact: Fixed, lo: int, hi: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the raw entries of a file; read anew each time, as it may have been changed."""
    lines = _text(path).splitlines()
    codes = preact.hi - preact.lo + 1
    if len(lines) != codes:
        raise FormatError(f"table {path} has {len(lines)} lines: preact {preact} needs {codes}, one entry for each code")
    for number, line in enumerate(lines, 1):
        if not _WHOLE.fullmatch(line.strip()) or not lo <= int(line) <= hi:
            raise FormatError(f"table {path}, line {number}: {line.strip()[:40]!r}, write a whole number from {lo} to {hi}")
    return _kept([int(line) for line in lines], dtype)


def _kept(entries: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    table = np.array(entries, dtype=dtype)
    table.setflags(write=False)
    return table
