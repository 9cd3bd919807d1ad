"""Codes for the values of a feedback matrix: a sign, a sign or zero, a power of two.

Each spares the multiplier: a sign adds or subtracts, a ternary value may also do nothing, a power of two shifts.
"""

from __future__ import annotations

import math

import numpy as np

from fasim.feedback.dense import BASES

# Ternary: values below this share of the base's mean magnitude become 0 (of uniform values one in four does)
TERNARY_THRESHOLD = 0.5
# Powers of two: this many from the largest down, so that a sign and three bits of exponent hold every value
POW2_LEVELS = 8
CODE_BITS = {"sign": 1, "ternary": 2, "pow2": 4}


def code_limit(encoding: str, base: str, rms: float, limit: float) -> float:
    """Return the largest magnitude of coded values.

    Parameters
    ----------
    encoding : str
        ``dense`` (not coded), ``sign``, ``ternary`` or ``pow2``.
    base : str
        A base without ones.
    rms, limit : float
        Root mean square and largest magnitude of its values.
    """
    if encoding == "sign":
        return rms
    if encoding == "ternary":
        return rms / math.sqrt(_kept(base))
    if encoding == "pow2":
        return math.ldexp(1.0, round(math.log2(limit)))
    return limit


def code(values: np.ndarray, encoding: str, base: str, rms: float, limit: float) -> np.ndarray:
    """Return coded values.

    ``sign``: ``+-rms``, + for 0. ``ternary``: 0 where ``|b| < 0.5 mean|b|``, else ``+-s``; `s` keeps the rms of the base.
    ``pow2``: the power of two nearest to ``|b|`` in log2, at least 2^-7 of the largest, with b's sign.

    Parameters
    ----------
    values : float64[...]
    encoding, base, rms, limit
        As for :func:`code_limit`.

    Returns
    -------
    float64[...]
    """
    level = code_limit(encoding, base, rms, limit)
    if encoding == "sign":
        return np.copysign(level, values)
    if encoding == "ternary":
        threshold = TERNARY_THRESHOLD * rms * _mean_over_rms(base)
        return np.where(np.abs(values) < threshold, 0.0, np.copysign(level, values))
    if encoding == "pow2":
        smallest = math.ldexp(level, 1 - POW2_LEVELS)
        exponents = np.rint(np.log2(np.maximum(np.abs(values), smallest))).astype(np.int32)
        return np.copysign(np.ldexp(1.0, exponents), values)
    return values


def _mean_over_rms(base: str) -> float:
    """Return mean magnitude over root mean square."""
    return math.sqrt(2 / math.pi) if BASES[base].noise == "gaussian" else math.sqrt(3) / 2


def _kept(base: str) -> float:
    """Return the share of values that stay non-zero in ternary."""
    if BASES[base].noise == "gaussian":
        return math.erfc(TERNARY_THRESHOLD * _mean_over_rms(base) / math.sqrt(2))
    return 1 - TERNARY_THRESHOLD / 2
