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
    divide_round,
    overflow,
    random_round,
    shift_round,
)
from tests.fixed_statements import DETERMINISTIC, DIVIDING, ROUNDED_HALVES, brought, divided, rounded

# x / 8, rows as measured with ap_fixed, sc_fixed and APyTypes.
X = [-24, -20, -13, -12, -11, -9, -8, -7, -4, -1, 0, 1, 4, 7, 9, 11, 12, 13, 20]
ROUNDED = {
    "TRN": [-3, -3, -2, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2],
    "TRN_INF": [-3, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3],
    "TRN_ZERO": [-3, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2],
    "TRN_AWAY": [-3, -3, -2, -2, -2, -2, -1, -1, -1, -1, 0, 1, 1, 1, 2, 2, 2, 2, 3],
    "TRN_MAG": [-2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2],
    "RND": [-3, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3],
    "RND_MIN_INF": [-3, -3, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2],
    "RND_INF": [-3, -3, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3],
    "RND_ZERO": [-3, -2, -2, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2],
    "RND_CONV": [-3, -2, -2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2],
    "RND_CONV_ODD": [-3, -3, -2, -1, -1, -1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3],
    "JAM": [-3, -3, -1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1, 3],
    "JAM_UNBIASED": [-3, -3, -1, -1, -1, -1, -1, -1, -1, -1, 0, 1, 1, 1, 1, 1, 1, 1, 3],
}
# Results of 4 bits, measured with ap_fixed and sc_fixed (NUMERIC_STD: AP_WRAP with one saturation bit).
V = [-19, -17, -16, -9, -8, -7, 7, 8, 9, 15, 16, 19]
OVERFLOWN = {
    "WRAP": [-3, -1, 0, 7, -8, -7, 7, -8, -7, -1, 0, 3],
    "SAT": [-8, -8, -8, -8, -8, -7, 7, 7, 7, 7, 7, 7],
    "SAT_SYM": [-7, -7, -7, -7, -7, -7, 7, 7, 7, 7, 7, 7],
    "SAT_ZERO": [0, 0, 0, 0, -8, -7, 7, 0, 0, 0, 0, 0],
    "NUMERIC_STD": [-3, -1, -8, -1, -8, -7, 7, 0, 1, 7, 0, 3],
}
EXTREMES = [-(2**63), -(2**63) + 1, -(2**62) - 1, -(2**62), 2**62 - 1, 2**62, 2**62 + 1, 2**63 - 1]

compiled_or_not = pytest.mark.parametrize("compiled", [True, False], ids=["njit", "numpy"])


def rounder(compiled):
    """Return `shift_round` compiled, or its source on NumPy scalars (as the CUDA simulator)."""
    if compiled:
        return shift_round
    return lambda x, shift, mode, word: shift_round.py_func(np.int64(x), np.int64(shift), mode, np.uint32(word))


def by_fractions(x: int, shift: int, name: str) -> int:
    """State the modes a second time, on exact fractions: floor, ceiling and what happens at a tie."""
    exact = Fraction(x) * Fraction(2) ** -shift
    down, up = exact.__floor__(), exact.__ceil__()
    toward, away = (down, up) if exact >= 0 else (up, down)
    even = down if down % 2 == 0 else up
    tie = exact - down == Fraction(1, 2)
    near = down if exact - down < Fraction(1, 2) else up
    jammed = down if down % 2 else down + 1
    return {
        "TRN": down,
        "TRN_INF": up,
        "TRN_ZERO": toward,
        "TRN_AWAY": away,
        "TRN_MAG": down + (exact < 0 and shift > 0),
        "RND": up if tie else near,
        "RND_MIN_INF": down if tie else near,
        "RND_INF": away if tie else near,
        "RND_ZERO": toward if tie else near,
        "RND_CONV": even if tie else near,
        "RND_CONV_ODD": down + up - even if tie else near,
        "JAM": jammed if shift >= 0 else down,
        "JAM_UNBIASED": down if down == up else jammed,
    }[name]


def wrapped(x: int, lo: int, hi: int) -> int:
    return (x - lo) % (hi - lo + 1) + lo


def test_codes_and_names():
    assert list(ROUNDINGS.values()) == list(range(15))
    assert list(ROUNDINGS)[:4] == ["TRN", "RND", "RND_CONV", "STOCH"]
    assert set(ROUNDINGS) == {*DETERMINISTIC, "STOCH", "STOCH_PSEUDO"}
    assert OVERFLOWS == {"WRAP": 0, "SAT": 1, "SAT_SYM": 2, "SAT_ZERO": 3, "NUMERIC_STD": 4}
    assert (TRN, RND, RND_CONV, STOCH, WRAP, SAT) == (0, 1, 2, 3, 0, 1)


@compiled_or_not
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_worked_tables(name, compiled):
    function = rounder(compiled)
    assert [int(function(x, 3, ROUNDINGS[name], 0)) for x in X] == ROUNDED[name]
    assert [int(function(x, 1, ROUNDINGS[name], 0)) for x in (-5, -3, -1, 1, 3, 5)] == ROUNDED_HALVES[name]


@compiled_or_not
@pytest.mark.parametrize("name", OVERFLOWN)
def test_overflow_table(name, compiled):
    function = overflow if compiled else overflow.py_func
    lo = -7 if name == "SAT_SYM" else -8
    assert [int(function(v, lo, 7, OVERFLOWS[name])) for v in V] == OVERFLOWN[name]


@compiled_or_not
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_rounding_equals_fractions(name, compiled):
    rng = np.random.default_rng(11)
    function = rounder(compiled)
    numbers = [*range(-40, 40), *rng.integers(-(2**63), 2**63, 40).tolist(), *EXTREMES]
    # Counts from 64 on are undefined in machine code: the answer must still be Python's.
    for shift in [*range(9), 31, 32, 33, 61, 62, 63, 64, 65, 66, 70, 127, 128, 1000, 2**40]:
        for x in numbers:
            expected = by_fractions(x, min(shift, 200), name)
            assert int(function(x, shift, ROUNDINGS[name], 0)) == expected
            assert rounded(x, min(shift, 200), name) == expected


@compiled_or_not
def test_pseudo_random_rounding_is_its_statement(compiled):
    rng = np.random.default_rng(14)
    function = rounder(compiled)
    numbers = [*range(-300, 300), *rng.integers(-(2**63), 2**63, 40).tolist(), *EXTREMES]
    for shift in [*range(10), 15, 16, 31, 32, 33, 62, 63, 64, 65, 70, 125, 126, 127, 128, 129, 2**40]:
        for x in numbers:
            assert int(function(x, shift, ROUNDINGS["STOCH_PSEUDO"], 0)) == rounded(x, min(shift, 200), "STOCH_PSEUDO")


@compiled_or_not
def test_pseudo_random_rounding_by_hand(compiled):
    """Four bits are dropped, two decide against the two others: 0b0110 has 1 > 2 (no), 0b1001 has 2 > 1 (yes)."""
    function = rounder(compiled)
    for low, up in ((0b0110, 0), (0b1001, 1), (0b0101, 0), (0b1111, 0), (0b1100, 1), (0, 0)):
        assert int(function(32 + low, 4, ROUNDINGS["STOCH_PSEUDO"], 0)) == 2 + up
        assert int(function(-32 - low, 4, ROUNDINGS["STOCH_PSEUDO"], 0)) == -2 - up


@compiled_or_not
def test_stochastic_rounding_equals_its_statement(compiled):
    rng = np.random.default_rng(12)
    function = rounder(compiled)
    few = random_round if compiled else random_round.py_func
    numbers = [*range(-20, 20), *rng.integers(-(2**63), 2**63, 20).tolist(), *EXTREMES]
    words = [0, 1, 2**31, 2**32 - 1, *rng.integers(0, 2**32, 6).tolist()]
    for shift in [-3, 0, 1, 2, 5, 8, 31, 32]:
        for x in numbers:
            for word in words:
                expected = wrapped(rounded(x, shift, "STOCH", word), -(2**63), 2**63 - 1)
                assert int(function(x, shift, STOCH, word)) == expected
                assert int(few(np.int64(x), shift, np.int64(word), 0, False)) == expected
    for shift in [1, 2, 7, 8, 33, 62, 63, 64, 70, 130]:
        for bits, half in ((1, False), (2, True), (7, False), (16, True), (32, True)):
            if bits >= shift > 32:
                continue
            for x in numbers:
                for word in words:
                    found = few(np.int64(x), shift, np.int64(word), bits, half)
                    assert int(found) == rounded(x, shift, "STOCH", word, bits, half)


@pytest.mark.parametrize(("bits", "bias"), [(1, -0.248), (2, -0.123), (4, -0.029), (6, -0.006)])
def test_few_random_bits_are_biased_and_half_repairs_it(bits, bias):
    """All residues of 8 dropped bits with all words: exact means, as published."""
    for half, expected in ((False, bias), (True, 0.002)):
        errors = [random_round(x, 8, word, bits, half) - x / 256 for x in range(256) for word in range(2**bits)]
        assert np.mean(errors) == pytest.approx(expected, abs=0.0005)


def test_stochastic_rounding_is_unbiased_and_leaves_exact_numbers():
    rng = np.random.default_rng(15)
    words = rng.integers(0, 2**32, 4000).tolist()
    for residue in range(16):
        for x in (48 + residue, -80 + residue):
            found = [shift_round(x, 4, STOCH, word) for word in words]
            chance = residue / 16
            spread = (chance * (1 - chance) / len(words)) ** 0.5
            assert abs(np.mean(found) - x / 16) <= 5 * spread


@compiled_or_not
@pytest.mark.parametrize("name", ROUNDINGS)
def test_negative_shift_is_an_exact_left_shift(name, compiled):
    function = rounder(compiled)
    for x in (-37, -1, 0, 1, 123456):
        for left in (1, 7, 40):
            assert int(function(x, -left, ROUNDINGS[name], 5)) == x << left
        for left in (60, 63, 64, 65, 200, 2**40):
            low_bits = wrapped(x << min(left, 200), -(2**63), 2**63 - 1)
            assert int(function(x, -left, ROUNDINGS[name], 5)) == low_bits


@compiled_or_not
@pytest.mark.parametrize("name", DIVIDING)
def test_division_by_any_number(name, compiled):
    function = divide_round if compiled else divide_round.py_func
    rng = np.random.default_rng(16)
    numbers = [*range(-25, 25), *rng.integers(-(2**63), 2**63, 20).tolist(), *EXTREMES[1:]]
    for divisor in (1, 2, 3, 4, 6, 10, 784, 1000, 2**31 + 1, 2**62 - 1, 2**62 + 2, 2**63 - 1):
        for x in (*numbers, divisor // 2, -divisor // 2, divisor - 1):
            assert int(function(np.int64(x), np.int64(divisor), ROUNDINGS[name])) == divided(x, divisor, name)


@compiled_or_not
def test_overflow_of_any_number_into_any_range(compiled):
    function = overflow if compiled else overflow.py_func
    rng = np.random.default_rng(13)
    numbers = [*range(-20, 20), *rng.integers(-(2**63), 2**63, 30).tolist(), *EXTREMES]
    ranges = [(-(2 ** (b - 1)), 2 ** (b - 1) - 1) for b in (1, 2, 3, 8, 16, 32, 33, 63)]
    ranges += [(0, 2**b - 1) for b in (1, 2, 8, 16, 32, 33, 62, 63)]
    for lo, hi in ranges:
        for name, code in OVERFLOWS.items():
            low = -hi if name == "SAT_SYM" and lo else lo
            for x in numbers:
                assert int(function(np.int64(x), low, hi, code)) == brought(x, low, hi, name)[0]


def test_round_comes_before_overflow():
    assert shift_round(2047, 4, RND, 0) == 128
    assert overflow(shift_round(2047, 4, RND, 0), -128, 127, SAT) == 127
    assert overflow(shift_round(2047, 4, RND, 0), -128, 127, WRAP) == -128


def test_corners_of_8_bits():
    """-128 has no negative of 8 bits: clamped it is 127, wrapped -128 again."""
    assert overflow(-np.int64(-128), -128, 127, SAT) == 127
    assert overflow(-np.int64(-128), -128, 127, WRAP) == -128
    assert overflow(-128, -127, 127, OVERFLOWS["SAT_SYM"]) == -127
    assert overflow(shift_round(-128 * -128, 7, RND, 0), -128, 127, SAT) == 127
    assert shift_round(-128, 8, RND, 0) == 0
    assert shift_round(-128, 8, ROUNDINGS["RND_INF"], 0) == -1
