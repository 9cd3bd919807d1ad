"""The array kernel against a statement in Python integers."""

from __future__ import annotations

import numpy as np
import pytest

from fasim.fixedpoint import Fixed
from fasim.kernels.requantize import requantize
from fasim.scalar.philox import random_word
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS, SAT, STOCH

SEED, SITE, STEP = np.uint64(2**40 + 3), 0xCAFEBABE, 12
# Every pair of element types is compiled anew: int32 goes to all of these, the others to two.
FORMATS = [Fixed(8, 7), Fixed(4, 3), Fixed(8, 8, signed=False), Fixed(16, 15), Fixed(33, 0)]


def cast(raw, shift, fmt, rounding, mode, *, first=0, out=None, counters=None):
    """Call the kernel by names; return what it wrote and what it counted."""
    out = np.empty(raw.size, fmt.dtype) if out is None else out
    counters = np.zeros(2, np.int64) if counters is None else counters
    codes = ROUNDINGS[rounding], OVERFLOWS[mode]
    requantize(raw, shift, fmt.lo, fmt.hi, *codes, SEED, SITE, STEP, first, out, counters)
    return out, counters


def stated(x: int, shift: int, fmt: Fixed, rounding: str, mode: str, index: int):
    """Return the number after the cast, and whether it was outside of the range."""
    if shift <= 0:
        rounded = x << -shift
    elif rounding == "TRN":
        rounded = x >> shift
    elif rounding == "RND":
        rounded = (x + (1 << (shift - 1))) >> shift
    elif rounding == "RND_CONV":
        rounded, rest = divmod(x, 1 << shift)
        rounded += 2 * rest > 1 << shift or (2 * rest == 1 << shift and rounded & 1)
    else:
        word = int(random_word(SEED, SITE, STEP, index))
        rounded = (x + word % (1 << shift)) >> shift
    outside = not fmt.lo <= rounded <= fmt.hi
    if mode == "SAT":
        return min(max(rounded, fmt.lo), fmt.hi), outside
    return (rounded - fmt.lo) % (fmt.hi - fmt.lo + 1) + fmt.lo, outside


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
    raw = np.concatenate([near.astype(dtype), far, ends])
    for fmt in FORMATS if dtype is np.int32 else FORMATS[:2]:
        for shift in (-70, -64, -63, -40, -9, -1, 0, 1, 2, 7, 8, 15, 31, 32, 33, 63, 64, 70):
            if rounding == "STOCH" and shift > 32:
                continue
            out, counters = cast(raw, shift, fmt, rounding, mode, first=5)
            expected = [stated(x, shift, fmt, rounding, mode, 5 + i) for i, x in enumerate(raw.tolist())]
            assert out.tolist() == [number for number, _ in expected]
            outside = sum(outside for _, outside in expected)
            assert counters.tolist() == ([outside, 0] if mode == "SAT" else [0, outside])


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
    for codes in ((-1, SAT), (4, SAT), (STOCH, 2), (STOCH, -1)):
        with pytest.raises(ValueError, match="unknown rounding or overflow"):
            requantize(raw, 1, -128, 127, *codes, SEED, 0, 0, 0, out, counters)
