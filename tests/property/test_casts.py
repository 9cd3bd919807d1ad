"""Every cast of small numbers, against golden integers and APyTypes; laws of the roundings on numbers of any size."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasim.kernels.requantize import requantize
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS, shift_round
from tests.fixed_statements import DETERMINISTIC, rounded

BY_ORACLE = ("WRAP", "SAT", "NUMERIC_STD")
WIDTHS = range(1, 11)
numbers = st.integers(-(2**40), 2**40)
drops = st.integers(1, 20)
PROPERTIES = settings(max_examples=200, deadline=None, derandomize=True)
ODD_SYMMETRIC = ("TRN_ZERO", "TRN_AWAY", "RND_INF", "RND_ZERO", "RND_CONV", "RND_CONV_ODD", "JAM_UNBIASED")
SHIFT_INVARIANT = ("TRN", "TRN_INF", "RND", "RND_MIN_INF")


def golden(x: np.ndarray, drop: int, bits: int, rounding: str, mode: str) -> np.ndarray:
    """State a cast with whole-array arithmetic that shares no idea with the kernels: by divisions and comparisons."""
    size = 2**drop
    quotient, rest = np.floor_divide(x, size), np.mod(x, size)
    odd, negative, positive = quotient % 2 == 1, x < 0, x > 0
    above, tie = 2 * rest > size, 2 * rest == size
    up = {
        "TRN": np.zeros(x.shape, bool),
        "TRN_INF": rest > 0,
        "TRN_ZERO": (rest > 0) & negative,
        "TRN_AWAY": (rest > 0) & positive,
        "TRN_MAG": negative & (drop > 0),
        "RND": above | tie & (drop > 0),
        "RND_MIN_INF": above,
        "RND_INF": above | tie & positive,
        "RND_ZERO": above | tie & negative,
        "RND_CONV": above | tie & odd,
        "RND_CONV_ODD": above | tie & ~odd,
        "JAM": ~odd,
        "JAM_UNBIASED": ~odd & (rest > 0),
    }[rounding]
    value = quotient + up
    half = 2 ** (bits - 1)
    if mode == "SAT":
        return np.clip(value, -half, half - 1)
    if mode == "WRAP":
        return (value + half) % (2 * half) - half
    return value % half - np.where(value < 0, half, 0)


def kernel(x: np.ndarray, drop: int, bits: int, rounding: str, mode: str) -> np.ndarray:
    out, codes = np.empty(x.size, np.int16), (ROUNDINGS[rounding], OVERFLOWS[mode])
    half = 2 ** (bits - 1)
    requantize(x, drop, -half, half - 1, *codes, np.uint64(0), 0, 0, 0, out, np.zeros(2, np.int64))
    return out


@pytest.mark.parametrize("rounding", DETERMINISTIC)
def test_all_casts_of_small_numbers(rounding):
    """All numbers of 1 to 10 bits, 0 to W + 1 bits dropped, into 2 to 8 bits, three overflows: 2.4 million in all."""
    cases = 0
    for width in WIDTHS:
        x = np.arange(-(2 ** (width - 1)), 2 ** (width - 1))
        for drop, bits, mode in product(range(width + 2), range(2, 9), BY_ORACLE):
            np.testing.assert_array_equal(kernel(x, drop, bits, rounding, mode), golden(x, drop, bits, rounding, mode))
            cases += x.size
    assert cases * len(DETERMINISTIC) >= 2_400_000


@pytest.mark.parametrize("rounding", DETERMINISTIC)
def test_all_casts_of_small_numbers_equal_apytypes(rounding):
    apytypes = pytest.importorskip("apytypes")
    for width in WIDTHS:
        x = np.arange(-(2 ** (width - 1)), 2 ** (width - 1))
        source = apytypes.APyFixedArray(x.tolist(), bits=width, int_bits=0)
        for drop, bits, mode in product(range(width + 2), range(2, 9), BY_ORACLE):
            cast = source.cast(
                int_bits=bits - width + drop,
                frac_bits=width - drop,
                quantization=getattr(apytypes.QuantizationMode, rounding),
                overflow=getattr(apytypes.OverflowMode, mode),
            )
            codes = np.array(cast.to_bits())
            half = 2 ** (bits - 1)
            np.testing.assert_array_equal(kernel(x, drop, bits, rounding, mode), (codes + half) % (2 * half) - half)


@PROPERTIES
@given(numbers, drops)
def test_symmetry_and_shift_invariance(x, drop):
    def cast(number: int, name: str) -> int:
        return shift_round(number, drop, ROUNDINGS[name], 0)

    for name in ODD_SYMMETRIC:
        assert cast(-x, name) == -cast(x, name)
    for name in SHIFT_INVARIANT:
        assert cast(x + 2**drop, name) == cast(x, name) + 1
    assert cast(x, "RND_MIN_INF") == -cast(-x, "RND")
    assert cast(x, "TRN_INF") == -cast(-x, "TRN")


@PROPERTIES
@given(numbers, numbers, drops)
def test_error_bound_order_and_exact_numbers(x, y, drop):
    for name in DETERMINISTIC:
        code = ROUNDINGS[name]
        near = shift_round(x, drop, code, 0)
        bound = 2 ** (drop - 1) if name.startswith("RND") else 2**drop
        assert abs(near * 2**drop - x) <= bound
        assert near == rounded(x, drop, name)
        assert shift_round(min(x, y), drop, code, 0) <= shift_round(max(x, y), drop, code, 0)
        if name not in ("TRN_MAG", "JAM"):
            assert shift_round(x * 2**drop, drop, code, 0) == x


@PROPERTIES
@given(numbers, drops, st.integers(2, 12))
def test_which_roundings_may_follow_one_another(x, first, second):
    def twice(one: str, two: str) -> int:
        return shift_round(shift_round(x, first, ROUNDINGS[one], 0), second, ROUNDINGS[two], 0)

    assert twice("TRN", "TRN") == rounded(x, first + second, "TRN")
    assert twice("JAM_UNBIASED", "RND_CONV") == rounded(x, first + second, "RND_CONV")


def test_rounding_twice_is_not_rounding_once():
    for name in ("RND", "RND_CONV"):
        code = ROUNDINGS[name]
        twice = [shift_round(shift_round(x, 2, code, 0), 2, code, 0) for x in range(-64, 64)]
        assert twice != [shift_round(x, 4, code, 0) for x in range(-64, 64)]
