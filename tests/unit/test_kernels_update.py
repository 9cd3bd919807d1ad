"""Updates in fixed point against statements in Python integers."""

from __future__ import annotations

import numpy as np
import pytest

from fasim import kernels
from fasim.scalar.philox import random_word
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from tests.fixed_statements import DETERMINISTIC, DIVIDING, WRAPPING, brought, divided, rounded
from tests.kernel_checks import check, inside

SEED, SITE, FIRST = np.uint64(2**40 + 3), 0xCAFEBABE, 6
STEP = np.array([12])
HI = 2**13 - 1
random = np.random.default_rng(61)
P = 1500  # more than one block
PARAMETER = random.integers(-HI - 1, HI + 1, P).astype(np.int16)
# Ties, zeros, small and large sums
GRADIENT = np.concatenate([random.integers(-(2**20), 2**20, P - 300), 64 * random.integers(-9, 9, 300)]).astype(np.int32)
WORDS = random.integers(0, 2**32, P, np.uint32)
ALL = (*DETERMINISTIC, "STOCH", "STOCH_PSEUDO")


def lowest(mode: str) -> int:
    return -HI if mode == "SAT_SYM" else -HI - 1


def result(values: list[int], mode: str) -> tuple[list[int], list[int]]:
    """Return the parameters in range, and the counters, which had stood at 5 and 6."""
    pairs = [brought(value, lowest(mode), HI, mode) for value in values]
    outside = sum(was for _, was in pairs)
    return [value for value, _ in pairs], [5, 6 + outside] if mode in WRAPPING else [5 + outside, 6]


def shrunk(w: int, decay: int, rounding: str) -> int:
    return w if decay < 0 else w - rounded(w, decay, "RND" if rounding == "STOCH" else rounding)


@pytest.mark.parametrize("mode", OVERFLOWS)
@pytest.mark.parametrize("rounding", ALL)
def test_update_fixed(rounding, mode):
    for shift in (-70, -45, -3, 0, 1, 7, 20, 32):
        words = [int(random_word(SEED, SITE, 12, FIRST + p)) for p in range(P)] if rounding == "STOCH" else [0] * P
        values = [
            w - rounded(g, shift, rounding, word)
            for w, g, word in zip(PARAMETER.tolist(), GRADIENT.tolist(), words, strict=True)
        ]
        parameters, counters = result(values, mode)
        codes = ROUNDINGS[rounding], OVERFLOWS[mode]
        arguments = (PARAMETER, GRADIENT, shift - 3, np.array([3]), lowest(mode), HI, *codes, SEED, SITE, STEP, FIRST)
        check(kernels.update_fixed, (*arguments, np.array([5, 6])), {0: parameters, 12: counters})
    check(inside(kernels.update_fixed), (*arguments, np.array([5, 6])), {0: parameters, 12: counters})


@pytest.mark.parametrize("mode", ["SAT", "SAT_SYM"])
@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_steps_that_are_shifted_left(dtype, mode):
    """The largest numbers by every shift that 64 bits hold, and one more; sizes below and beside those of vectors."""
    info, most = np.iinfo(dtype), np.iinfo(np.int32)
    before = np.resize(np.array([info.min, -1, 0, 1, info.max, 77], dtype), 37)
    gradient = np.resize(np.array([most.min, most.max, 0, 1, -1], np.int32), 37)
    lo = info.min + (mode == "SAT_SYM")
    for shift in range(-32, 1):
        pairs = zip(before.tolist(), gradient.tolist(), strict=True)
        found = [brought(w - (g << -shift), lo, info.max, mode) for w, g in pairs]
        codes = ROUNDINGS["RND"], OVERFLOWS[mode]
        arguments = (before, gradient, shift - 3, np.array([3]), lo, info.max, *codes, SEED, SITE, STEP, FIRST)
        expected = [value for value, _ in found], [5 + sum(was for _, was in found), 6]
        check(kernels.update_fixed, (*arguments, np.array([5, 6])), {0: expected[0], 12: expected[1]})


@pytest.mark.parametrize("mode", OVERFLOWS)
@pytest.mark.parametrize("rounding", ALL)
def test_update_scaled(rounding, mode):
    for shift, factor, decay in ((-60, 3, -1), (-1, 5, 3), (0, 1, 0), (9, 13, 4), (13, 181, 8), (30, 2**30, 70)):
        for bits, half in ((0, False), (5, True)) if rounding == "STOCH" else ((0, False),):
            values = [
                shrunk(w, decay, rounding) - rounded(g * factor, shift, rounding, word, bits, half)
                for w, g, word in zip(PARAMETER.tolist(), GRADIENT.tolist(), WORDS.tolist(), strict=True)
            ]
            parameters, counters = result(values, mode)
            numbers = (shift - 3, np.array([3]), np.array([factor]), lowest(mode), HI, ROUNDINGS[rounding], OVERFLOWS[mode])
            arguments = (PARAMETER, GRADIENT, *numbers, WORDS, bits, half, decay, np.array([5, 6]))
            check(kernels.update_scaled, arguments, {0: parameters, 13: counters})
    check(inside(kernels.update_scaled), arguments, {0: parameters, 13: counters})


@pytest.mark.parametrize("mode", OVERFLOWS)
def test_update_scaled_at_the_ends_of_64_bits(mode):
    """Products up to 2^63 - 1, weights of 63 bits: no difference may wrap unseen."""
    ends = [-(2**62), -(2**62) + 1, -1, 0, 1, 2**62 - 1]
    sums = [-(2**62), -1, 0, 1, 2**62, 2**63 - 1, -(2**63) + 1]
    pairs = [(w, g) for w in ends for g in sums]
    hi = 2**62 - 1
    lo = -hi if mode == "SAT_SYM" else -hi - 1
    for shift in (-63, -2, -1, 0, 1, 2, 63):
        stated = [brought(w - rounded(g, shift, "RND"), lo, hi, mode) for w, g in pairs]
        parameter, counters = np.array([w for w, _ in pairs]), np.zeros(2, np.int64)
        numbers = (shift, np.array([0]), np.array([1]), lo, hi, ROUNDINGS["RND"], OVERFLOWS[mode])
        gradient = np.array([g for _, g in pairs])
        kernels.update_scaled(parameter, gradient, *numbers, np.zeros(0, np.uint32), 0, False, -1, counters)
        assert parameter.tolist() == [value for value, _ in stated]
        assert counters.sum() == sum(was for _, was in stated)


@pytest.mark.parametrize("mode", OVERFLOWS)
@pytest.mark.parametrize("rounding", DIVIDING)
def test_update_divided(rounding, mode):
    for left, divisor, decay in ((0, 1, -1), (0, 1000, -1), (4, 7, 3), (20, 2**35 + 1, 0)):
        values = [
            shrunk(w, decay, rounding) - divided(g << left, divisor, rounding)
            for w, g in zip(PARAMETER.tolist(), GRADIENT.tolist(), strict=True)
        ]
        parameters, counters = result(values, mode)
        codes = ROUNDINGS[rounding], OVERFLOWS[mode]
        arguments = (PARAMETER, GRADIENT, left, np.array([divisor]), lowest(mode), HI, *codes, decay, np.array([5, 6]))
        check(kernels.update_divided, arguments, {0: parameters, 9: counters})
    check(inside(kernels.update_divided), arguments, {0: parameters, 9: counters})


@pytest.mark.parametrize("mode", OVERFLOWS)
def test_update_by_one(mode):
    for shift, bits in ((20, 0), (20, 12), (12, 16), (0, 4), (-80, 8), (25, 32), (90, 16), (21, 5)):
        width = bits or 16
        values = []
        for w, g, word in zip(PARAMETER.tolist(), GRADIENT.tolist(), WORDS.tolist(), strict=True):
            chance = min(abs(g) * 2 ** (width - shift) if shift <= width else abs(g) >> (shift - width), 2**width)
            sign = (g > 0) - (g < 0)
            values.append(w - (sign if chance >= word % 2**width else 0))
        parameters, counters = result(values, mode)
        arguments = (PARAMETER, GRADIENT, shift - 3, np.array([3]), lowest(mode), HI, OVERFLOWS[mode], WORDS, bits)
        check(kernels.update_by_one, (*arguments, np.array([5, 6])), {0: parameters, 9: counters})
    check(inside(kernels.update_by_one), (*arguments, np.array([5, 6])), {0: parameters, 9: counters})


def test_update_by_one_of_the_lowest_sum():
    parameter = np.array([3], np.int8)
    lowest_sum = np.array([-(2**63)])
    kernels.update_by_one(parameter, lowest_sum, 0, np.array([0]), -8, 7, 1, WORDS[:1], 0, np.zeros(2, np.int64))
    assert parameter.tolist() == [4]


def test_momentum_fixed():
    velocity, gradient = PARAMETER, GRADIENT
    stated = [(115 * v << 2) + (g << 7) for v, g in zip(velocity.tolist(), gradient.tolist(), strict=True)]
    for call in (kernels.momentum_fixed, inside(kernels.momentum_fixed)):
        check(call, (velocity, gradient, 115, 2, 7, np.full(P, 7, np.int64)), {5: stated})


@pytest.mark.parametrize("cuts", [(0, 1, 2, 3, P), (0, 1023, 1025, P), (0, 4, 4, 700, P)])
def test_slices_make_the_same_update(cuts):
    def update(parts):
        made, counters = [], np.zeros(2, np.int64)
        for start, stop in parts:
            mine = PARAMETER[start:stop].copy()
            codes = -HI - 1, HI, ROUNDINGS["STOCH"], OVERFLOWS["SAT"]
            step = GRADIENT[start:stop], 3, np.array([4])
            kernels.update_fixed(mine, *step, *codes, SEED, SITE, STEP, FIRST + start, counters)
            made.append(mine)
        return np.concatenate(made), counters

    whole, counted = update([(0, P)])
    parts, parts_counted = update(zip(cuts[:-1], cuts[1:], strict=True))
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(parts_counted, counted)
    assert counted[0] > 0


def test_truncation_drifts_where_rounding_does_not():
    """W -= g >> 8 loses one at every negative g, however small: -1000 after 1000 steps of -77 / 256."""
    for rounding, expected in (("TRN", 1000), ("RND", 0), ("TRN_ZERO", 0)):
        weight = np.zeros(1, np.int32)
        for step in range(1000):
            codes = -(2**20), 2**20, ROUNDINGS[rounding], OVERFLOWS["SAT"]
            place = SEED, SITE, np.array([step]), 0, np.zeros(2, np.int64)
            kernels.update_fixed(weight, np.array([-77]), 0, np.array([8]), *codes, *place)
        assert weight.tolist() == [expected]


def test_refusals():
    w, g, words, counters, one = PARAMETER[:3].copy(), GRADIENT[:3], WORDS[:3], np.zeros(2, np.int64), np.array([1])
    stream = SEED, SITE, STEP, 0, counters
    for codes in ((15, 1), (-1, 1), (0, 5), (0, -1)):
        with pytest.raises(ValueError, match="unknown rounding or overflow"):
            kernels.update_fixed(w, g, 3, one, -8, 7, *codes, *stream)
        with pytest.raises(ValueError, match="unknown rounding or overflow"):
            kernels.update_scaled(w, g, 3, one, one, -8, 7, *codes, words, 0, False, -1, counters)
    with pytest.raises(ValueError, match="at most 32 bits"):
        kernels.update_fixed(w, g, 32, one, -8, 7, ROUNDINGS["STOCH"], 1, *stream)
    with pytest.raises(ValueError, match="a word for each"):
        kernels.update_scaled(w, g, 3, one, one, -8, 7, ROUNDINGS["STOCH"], 1, words[:2], 0, False, -1, counters)
    with pytest.raises(ValueError, match="32 bits"):
        kernels.update_scaled(w, g, 32, one, one, -8, 7, ROUNDINGS["STOCH"], 1, words, 0, False, -1, counters)
    for rounding in ("JAM", "STOCH"):
        with pytest.raises(ValueError, match="cannot divide"):
            kernels.update_divided(w, g, 0, one, -8, 7, ROUNDINGS[rounding], 1, -1, counters)
    for left, divisor in ((0, 0), (-1, 3)):
        with pytest.raises(ValueError, match="divisor of 1"):
            kernels.update_divided(w, g, left, np.array([divisor]), -8, 7, 1, 1, -1, counters)
    with pytest.raises(ValueError, match="unknown overflow"):
        kernels.update_by_one(w, g, 0, one, -8, 7, 5, words, 0, counters)
    for drawn, bits in ((words[:2], 0), (words, 33)):
        with pytest.raises(ValueError, match="a word for each"):
            kernels.update_by_one(w, g, 0, one, -8, 7, 1, drawn, bits, counters)
