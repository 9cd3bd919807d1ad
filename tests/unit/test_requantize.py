"""The array kernel against a statement in Python integers."""

from __future__ import annotations

import numpy as np
import pytest

from fasim.fixedpoint import Fixed
from fasim.fixedpoint.cast import limits
from fasim.kernels.requantize import divide_fixed, requantize, requantize_random
from fasim.scalar.philox import random_word
from fasim.scalar.rounding import JAM, OVERFLOWS, RND, ROUNDINGS, SAT, STOCH
from tests.fixed_statements import DIVIDING, WRAPPING, brought, divided, rounded
from tests.kernel_checks import check, inside

SEED, SITE, STEP = np.uint64(2**40 + 3), 0xCAFEBABE, 12
# Every pair of element types is compiled anew: int32 goes to all of these, the others to two.
FORMATS = [Fixed(8, 7), Fixed(4, 3), Fixed(8, 8, signed=False), Fixed(16, 15), Fixed(33, 0)]


def cast(raw, shift, fmt, rounding, mode, *, first=0, out=None, counters=None):
    """Call the kernel by names; return what it wrote and what it counted."""
    out = np.empty(raw.size, fmt.dtype) if out is None else out
    counters = np.zeros(2, np.int64) if counters is None else counters
    codes = ROUNDINGS[rounding], OVERFLOWS[mode]
    requantize(raw, shift, *limits(fmt, mode), *codes, SEED, SITE, STEP, first, out, counters)
    return out, counters


def stated(x: int, shift: int, fmt: Fixed, rounding: str, mode: str, index: int):
    """Return the number after the cast, and whether it was outside of the range."""
    word = int(random_word(SEED, SITE, STEP, index)) if rounding == "STOCH" else 0
    return brought(rounded(x, shift, rounding, word), *limits(fmt, mode), mode)


def counted(outside: int, mode: str) -> list[int]:
    return [0, outside] if mode in WRAPPING else [outside, 0]


@pytest.mark.parametrize("mode", OVERFLOWS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_kernel_equals_the_statement(dtype, rounding, mode):
    rng = np.random.default_rng(31)
    info = np.iinfo(dtype)
    near = rng.integers(max(info.min, -3000), min(info.max, 3000), 41, endpoint=True)
    far = rng.integers(info.min, info.max, 41, endpoint=True, dtype=dtype)
    small = range(max(info.min, -9), 9)
    ends = np.array([info.min, info.min + 1, *small, info.max - 1, info.max], dtype)
    raw = np.concatenate([ends, near.astype(dtype), far, ends])  # vectors first, then a rest
    for fmt in FORMATS if dtype is np.int32 else FORMATS[:2]:
        for shift in (-70, -64, -63, -40, -9, -1, 0, 1, 2, 7, 8, 15, 31, 32, 33, 63, 64, 70):
            if rounding == "STOCH" and shift > 32:
                continue
            out, counters = cast(raw, shift, fmt, rounding, mode, first=5)
            expected = [stated(x, shift, fmt, rounding, mode, 5 + i) for i, x in enumerate(raw.tolist())]
            assert out.tolist() == [number for number, _ in expected]
            outside = sum(outside for _, outside in expected)
            assert counters.tolist() == counted(outside, mode)


def test_wide_formats():
    raw = np.array([-(2**63), -(2**62) - 1, -(2**62), -1, 0, 2**62 - 1, 2**62, 2**63 - 1])
    for fmt in (Fixed(63, 0), Fixed(63, 0, signed=False)):
        for mode in OVERFLOWS:
            for shift in (-1, 0, 1):
                out, _ = cast(raw, shift, fmt, "RND", mode)
                expected = [stated(x, shift, fmt, "RND", mode, 0)[0] for x in raw.tolist()]
                assert out.tolist() == expected


@pytest.mark.parametrize("first", [0, 1, 2, 3, 4, 2**34 - 3])
def test_a_slice_draws_what_the_whole_draws(first):
    rng = np.random.default_rng(32)
    raw = rng.integers(-40_000, 40_000, 5000, dtype=np.int32)
    fmt = Fixed(8, 0)
    whole, counted = cast(raw, 8, fmt, "STOCH", "SAT", first=first)
    for cuts in ([0, 1, 2, 5, 1027, 5000], [0, 2500, 5000], [0, 4999, 5000]):
        counters = np.zeros(2, np.int64)
        out = np.empty_like(whole)
        for start, end in zip(cuts[:-1], cuts[1:], strict=True):
            part = raw[start:end], 8, fmt, "STOCH", "SAT"
            cast(*part, first=first + start, out=out[start:end], counters=counters)
        np.testing.assert_array_equal(out, whole)
        np.testing.assert_array_equal(counters, counted)
    for i in (0, 1, 1023, 1024, 1025, 4999):
        assert whole[i] == stated(int(raw[i]), 8, fmt, "STOCH", "SAT", first + i)[0]


def test_counters_accumulate():
    raw = np.array([127, 128, -129, -128, 500], np.int32)
    counters = np.array([10, 20])
    cast(raw, 0, Fixed(8, 0), "RND", "SAT", counters=counters)
    assert counters.tolist() == [13, 20]
    cast(raw, 0, Fixed(8, 0), "RND", "WRAP", counters=counters)
    assert counters.tolist() == [13, 23]
    cast(raw, 8, Fixed(8, 0), "RND", "WRAP", counters=counters)
    assert counters.tolist() == [13, 23]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_in_place_and_empty(rounding):
    raw = np.random.default_rng(33).integers(-9999, 9999, 3000, dtype=np.int16)
    fmt = Fixed(16, 0)
    apart, _ = cast(raw, 4, fmt, rounding, "SAT")
    same = raw.copy()
    cast(same, 4, fmt, rounding, "SAT", out=same)
    np.testing.assert_array_equal(same, apart)
    out, counters = cast(raw[:0], 4, fmt, rounding, "SAT")
    assert out.size == 0
    assert counters.tolist() == [0, 0]


def test_refusals():
    raw, out, counters = np.zeros(3, np.int32), np.zeros(3, np.int8), np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="at most 32 bits"):
        requantize(raw, 33, -128, 127, STOCH, SAT, SEED, 0, 0, 0, out, counters)
    with pytest.raises(ValueError, match="as many elements"):
        requantize(raw, 1, -128, 127, STOCH, SAT, SEED, 0, 0, 0, out[:2], counters)
    for codes in ((-1, SAT), (15, SAT), (STOCH, 5), (STOCH, -1)):
        with pytest.raises(ValueError, match="unknown rounding or overflow"):
            requantize(raw, 1, -128, 127, *codes, SEED, 0, 0, 0, out, counters)


WORDS = np.random.default_rng(34).integers(0, 2**32, 2100, np.uint32)
RAW = np.random.default_rng(35).integers(-(2**20), 2**20, 2100, np.int32)


@pytest.mark.parametrize("mode", OVERFLOWS)
def test_words_of_the_caller(mode):
    fmt = Fixed(8, 0)
    for shift, bits, half in ((-2, 0, False), (0, 4, False), (9, 0, False), (12, 4, False), (12, 4, True), (40, 3, True)):
        results = [
            brought(rounded(x, shift, "STOCH", w, bits, half), *limits(fmt, mode), mode)
            for x, w in zip(RAW.tolist(), WORDS.tolist(), strict=True)
        ]
        expected = {8: [value for value, _ in results], 9: counted(sum(was for _, was in results), mode)}
        arguments = (RAW, shift, *limits(fmt, mode), OVERFLOWS[mode], WORDS, bits, half, np.full(2100, 77, np.int8))
        check(requantize_random, (*arguments, np.zeros(2, np.int64)), expected)
    check(inside(requantize_random), (*arguments, np.zeros(2, np.int64)), expected)


@pytest.mark.parametrize("mode", OVERFLOWS)
@pytest.mark.parametrize("rounding", DIVIDING)
def test_division(rounding, mode):
    fmt = Fixed(8, 0)
    codes = ROUNDINGS[rounding], OVERFLOWS[mode]
    for divisor, shift in ((1, 0), (6, 0), (784, -3), (10_000, -8), (2**40, -20)):
        results = [brought(divided(x << -shift, divisor, rounding), *limits(fmt, mode), mode) for x in RAW.tolist()]
        expected = {7: [value for value, _ in results], 8: counted(sum(was for _, was in results), mode)}
        arguments = (RAW, divisor, shift, *limits(fmt, mode), *codes, np.full(2100, 77, np.int8), np.zeros(2, np.int64))
        check(divide_fixed, arguments, expected)
    check(inside(divide_fixed), arguments, expected)


def test_refusals_of_the_other_casts():
    raw, out, counters, words = np.zeros(3, np.int32), np.zeros(3, np.int8), np.zeros(2, np.int64), WORDS[:3]
    with pytest.raises(ValueError, match="as many elements"):
        requantize_random(raw, 3, -128, 127, SAT, words[:2], 0, False, out, counters)
    with pytest.raises(ValueError, match="unknown overflow"):
        requantize_random(raw, 3, -128, 127, 5, words, 0, False, out, counters)
    with pytest.raises(ValueError, match="32 bits"):
        requantize_random(raw, 33, -128, 127, SAT, words, 0, False, out, counters)
    with pytest.raises(ValueError, match="as many elements"):
        divide_fixed(raw, 3, 0, -128, 127, RND, SAT, out[:2], counters)
    for codes in ((JAM, SAT), (STOCH, SAT), (14, SAT), (13, SAT), (15, SAT), (RND, 5)):
        with pytest.raises(ValueError, match="cannot divide"):
            divide_fixed(raw, 3, 0, -128, 127, *codes, out, counters)
    for divisor, shift in ((0, 0), (-3, 0), (3, 1)):
        with pytest.raises(ValueError, match="divisor of 1 or more"):
            divide_fixed(raw, divisor, shift, -128, 127, RND, SAT, out, counters)
