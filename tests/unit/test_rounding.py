"""Rounding and overflow of single numbers against tables, fractions and APyTypes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fasim.scalar.rounding import (
    OVERFLOWS,
    RND,
    RND_CONV,
    ROUNDINGS,
    SAT,
    STOCH,
    TRN,
    WRAP,
    overflow,
    shift_round,
)

# x / 8, rows as measured with ap_fixed, sc_fixed and APyTypes.
X = [-24, -20, -13, -12, -11, -9, -8, -7, -4, -1, 0, 1, 4, 7, 9, 11, 12, 13, 20]
ROUNDED = {
    TRN: [-3, -3, -2, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2],
    RND: [-3, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3],
    RND_CONV: [-3, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2],
}
# Results of 4 bits, measured with ap_fixed and sc_fixed.
V = [-19, -17, -16, -9, -8, -7, 7, 8, 9, 15, 16, 19]
OVERFLOWN = {
    WRAP: [-3, -1, 0, 7, -8, -7, 7, -8, -7, -1, 0, 3],
    SAT: [-8, -8, -8, -8, -8, -7, 7, 7, 7, 7, 7, 7],
}
EXTREMES = [-(2**63), -(2**63) + 1, -(2**62) - 1, -(2**62), 2**62 - 1, 2**62, 2**62 + 1, 2**63 - 1]

compiled_or_not = pytest.mark.parametrize("compiled", [True, False], ids=["njit", "numpy"])


def rounder(compiled):
    """Return `shift_round` compiled, or its source on NumPy scalars (as the CUDA simulator)."""
    if compiled:
        return shift_round
    return lambda x, shift, mode, word: shift_round.py_func(np.int64(x), np.int64(shift), mode, np.uint32(word))


def by_fractions(x: int, shift: int, mode: int, word: int = 0) -> int:
    """State the modes on exact fractions."""
    exact = Fraction(x) * Fraction(2) ** -shift
    if mode == TRN:
        return exact.__floor__()
    if mode == RND:
        return (exact + Fraction(1, 2)).__floor__()
    if mode == RND_CONV:
        return round(exact)  # Fraction rounds ties to even
    if shift <= 0:
        return exact.__floor__()
    return (exact + Fraction(word % 2**shift, 2**shift)).__floor__()


def wrapped(x: int, lo: int, hi: int) -> int:
    return (x - lo) % (hi - lo + 1) + lo


def test_codes_and_names():
    assert ROUNDINGS == {"TRN": 0, "RND": 1, "RND_CONV": 2, "STOCH": 3}
    assert OVERFLOWS == {"WRAP": 0, "SAT": 1}
    assert (TRN, RND, RND_CONV, STOCH, WRAP, SAT) == (0, 1, 2, 3, 0, 1)


@compiled_or_not
@pytest.mark.parametrize("mode", ROUNDED)
def test_rounding_table(mode, compiled):
    assert [int(rounder(compiled)(x, 3, mode, 0)) for x in X] == ROUNDED[mode]


@compiled_or_not
@pytest.mark.parametrize("mode", OVERFLOWN)
def test_overflow_table(mode, compiled):
    function = overflow if compiled else overflow.py_func
    assert [int(function(v, -8, 7, mode)) for v in V] == OVERFLOWN[mode]


@compiled_or_not
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (TRN, [-3, -2, -1, 0, 1, 2]),
        (RND, [-2, -1, 0, 1, 2, 3]),
        (RND_CONV, [-2, -2, 0, 0, 2, 2]),
    ],
)
def test_halves(mode, expected, compiled):
    assert [int(rounder(compiled)(x, 1, mode, 0)) for x in (-5, -3, -1, 1, 3, 5)] == expected


@compiled_or_not
@pytest.mark.parametrize("mode", [TRN, RND, RND_CONV])
def test_rounding_equals_fractions(mode, compiled):
    rng = np.random.default_rng(11)
    function = rounder(compiled)
    numbers = [*range(-70, 70), *rng.integers(-(2**63), 2**63, 40).tolist(), *EXTREMES]
    # Counts from 64 on are undefined in machine code: the answer must still be Python's.
    for shift in [*range(9), 31, 32, 33, 61, 62, 63, 64, 65, 127, 128, 1000, 2**40]:
        for x in numbers:
            assert int(function(x, shift, mode, 0)) == by_fractions(x, min(shift, 200), mode)


@compiled_or_not
def test_stochastic_rounding_equals_fractions(compiled):
    rng = np.random.default_rng(12)
    function = rounder(compiled)
    numbers = [*range(-20, 20), *rng.integers(-(2**63), 2**63, 20).tolist(), *EXTREMES]
    words = [0, 1, 2**31, 2**32 - 1, *rng.integers(0, 2**32, 6).tolist()]
    for shift in [0, 1, 2, 5, 8, 31, 32]:
        for x in numbers:
            for word in words:
                assert int(function(x, shift, STOCH, word)) == by_fractions(x, shift, STOCH, word)


@compiled_or_not
@pytest.mark.parametrize("mode", list(ROUNDINGS.values()))
def test_negative_shift_is_an_exact_left_shift(mode, compiled):
    function = rounder(compiled)
    for x in (-37, -1, 0, 1, 123456):
        for left in (1, 7, 40):
            assert int(function(x, -left, mode, 5)) == x << left
        for left in (60, 63, 64, 65, 200, 2**40):
            low_bits = wrapped(x << min(left, 200), -(2**63), 2**63 - 1)
            assert int(function(x, -left, mode, 5)) == low_bits


@compiled_or_not
def test_overflow_of_any_number_into_any_range(compiled):
    function = overflow if compiled else overflow.py_func
    rng = np.random.default_rng(13)
    numbers = [*range(-20, 20), *rng.integers(-(2**63), 2**63, 30).tolist(), *EXTREMES]
    ranges = [(-(2 ** (b - 1)), 2 ** (b - 1) - 1) for b in (1, 2, 3, 8, 16, 32, 33, 63)]
    ranges += [(0, 2**b - 1) for b in (1, 2, 8, 16, 32, 33, 62, 63)]
    for lo, hi in ranges:
        for x in numbers:
            value = np.int64(x)
            assert int(function(value, lo, hi, WRAP)) == wrapped(x, lo, hi)
            assert int(function(value, lo, hi, SAT)) == min(max(x, lo), hi)


def test_round_comes_before_overflow():
    assert shift_round(2047, 4, RND, 0) == 128
    assert overflow(shift_round(2047, 4, RND, 0), -128, 127, SAT) == 127
    assert overflow(shift_round(2047, 4, RND, 0), -128, 127, WRAP) == -128


@pytest.mark.parametrize("width", range(1, 8))
@pytest.mark.parametrize("rounding", ["TRN", "RND", "RND_CONV"])
@pytest.mark.parametrize("mode", ["WRAP", "SAT"])
def test_every_cast_of_small_numbers_equals_apytypes(width, rounding, mode):
    apytypes = pytest.importorskip("apytypes")
    numbers = range(-(2 ** (width - 1)), 2 ** (width - 1))
    source = apytypes.APyFixedArray(list(numbers), bits=width, int_bits=0)
    for drop in range(width + 2):
        for bits in range(1, 7):
            frac = width - drop
            cast = source.cast(
                int_bits=bits - frac,
                frac_bits=frac,
                quantization=getattr(apytypes.QuantizationMode, rounding),
                overflow=getattr(apytypes.OverflowMode, mode),
            )
            lo, hi = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
            expected = [wrapped(code, lo, hi) for code in cast.to_bits()]
            got = [overflow(shift_round(x, drop, ROUNDINGS[rounding], 0), lo, hi, OVERFLOWS[mode]) for x in numbers]
            assert got == expected
