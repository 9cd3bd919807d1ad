"""Softmax in base 2, of whole numbers alone."""

from __future__ import annotations

import numpy as np

from .fixed_numbers import Raw

LOG2_E = 47274  # / 2^15


_KNOWN: dict[int, list[int]] = {}


def powers(f: int) -> list[int]:
    """Return T[i] = floor(2^(15 + i / 2^f) + 1/2)."""
    if f not in _KNOWN:
        _KNOWN[f] = [round(2 ** (15 + i / 2**f)) for i in range(2**f)]
        for i, t in enumerate(_KNOWN[f]):  # the float is a guess, this is the definition
            n = 2**f
            if not (2 * t - 1) ** n <= 2 ** (16 * n + i) < (2 * t + 1) ** n:
                raise ArithmeticError(f"T[{i}] = {t} is wrong")
    return _KNOWN[f]


def softmax_row(row: list[int], frac: int, out_frac: int, f: int) -> list[int]:
    """Return the outputs of one sample, before SAT."""
    # t = floor(x * 47274 * 2^f / 2^(F + 15))
    places = frac + 15 - f
    t = [x * LOG2_E // 2**places if places >= 0 else x * LOG2_E * 2**-places for x in row]
    largest = max(t)
    table = powers(f)
    e = []
    for value in t:
        whole, part = divmod(value - largest, 2**f)
        e.append(table[part] >> min(-whole, 31))
    total = sum(e)
    scale = 2**out_frac
    return [(2 * each * scale + total) // (2 * total) for each in e]


def softmax(raw: Raw, frac: int, out_frac: int, f: int) -> Raw:
    """Return softmax of every row of (N, K)."""
    out = np.empty(raw.shape, dtype=object)
    for sample, row in enumerate(raw):
        out[sample] = softmax_row(list(row), frac, out_frac, f)
    return out
