"""Casts and updates on the device against statements in Python integers: every rounding, every overflow, every end."""

from __future__ import annotations

from itertools import product
from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest

from fasim.kernels import softmax_fixed
from fasim.scalar.philox import random_word
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from tests.cuda_runs import check, launched
from tests.fixed_statements import DETERMINISTIC, DIVIDING, WRAPPING, brought, divided, rounded

SEED, SITE = 2**40 + 3, 0xCAFEBABE
STEP = np.array([12])
ALL = (*DETERMINISTIC, "STOCH", "STOCH_PSEUDO")
HI = 2**6 - 1
RAW = np.array([0, 1, -1, 7, -8, 12, -12, 2**20, -(2**20), 2**62, -(2**63), 2**63 - 1, 96, -96, 100, 31], np.int64)
random = np.random.default_rng(61)
PARAMETER = random.integers(-HI - 1, HI + 1, 12).astype(np.int16)
GRADIENT = np.concatenate([random.integers(-(2**12), 2**12, 8), 64 * random.integers(-9, 9, 4)]).astype(np.int32)


def lowest(mode: str) -> int:
    return -HI if mode == "SAT_SYM" else -HI - 1


def number(value: int) -> np.ndarray:
    return np.array([value], np.int64)


def words(rounding: str, size: int) -> list[int]:
    return [int(random_word(SEED, SITE, 12, p)) for p in range(size)] if rounding == "STOCH" else [0] * size


def result(values: list[int], mode: str) -> tuple[list[int], list[int]]:
    """Return the numbers in range, and the counters, which had stood at 5 and 6."""
    pairs = [brought(value, lowest(mode), HI, mode) for value in values]
    outside = sum(was for _, was in pairs)
    return [value for value, _ in pairs], [5, 6 + outside] if mode in WRAPPING else [5 + outside, 6]


@pytest.mark.parametrize("rounding", ALL)
def test_requantize(rounding: str) -> None:
    for number_of, (mode, shift) in enumerate(product(OVERFLOWS, (-70, -3, 0, 1, 3, 32))):
        bits, half = ((0, False), (4, True))[number_of % 2]
        drawn = words(rounding, len(RAW))
        stated = [rounded(x, shift, rounding, word, bits, half) for x, word in zip(RAW.tolist(), drawn, strict=True)]
        values, counters = result(stated, mode)
        codes = ROUNDINGS[rounding], OVERFLOWS[mode]
        place = SEED, SITE, STEP, bits, half
        arguments = RAW, number(shift), lowest(mode), HI, *codes, *place, np.full(len(RAW), 77, np.int8), np.array([5, 6])
        check(kernels.requantize, arguments, {11: values, 12: counters})


def test_a_cast_in_place_and_on_any_grid() -> None:
    drawn = words("STOCH", len(RAW))
    values, counters = result([rounded(x, 3, "STOCH", word) for x, word in zip(RAW.tolist(), drawn, strict=True)], "SAT")
    codes = -HI - 1, HI, ROUNDINGS["STOCH"], OVERFLOWS["SAT"]
    for blocks, threads in ((1, 1), (3, 2), (1, 16)):
        given, counted, step, shift = (
            kernels.cuda.to_device(a[None]) for a in (RAW.copy(), np.array([5, 6]), STEP, number(3))
        )
        kernels.requantize[blocks, threads](given, shift, *codes, SEED, SITE, step, 0, False, given, counted)
        assert given.copy_to_host()[0].tolist() == values
        assert counted.copy_to_host()[0].tolist() == counters


@pytest.mark.parametrize("mode", OVERFLOWS)
def test_divide_fixed(mode: str) -> None:
    raw = RAW[np.abs(RAW.astype(float)) < 2**40]
    for rounding, (divisor, left) in product(DIVIDING, ((7, 0), (48, 4))):
        values, counters = result([divided(x << left, divisor, rounding) for x in raw.tolist()], mode)
        arguments = raw, divisor, -left, lowest(mode), HI, ROUNDINGS[rounding], OVERFLOWS[mode]
        check(
            kernels.divide_fixed, (*arguments, np.full(len(raw), 77, np.int8), np.array([5, 6])), {7: values, 8: counters}
        )


def shrunk(w: int, decay: int, rounding: str) -> int:
    return w if decay < 0 else w - rounded(w, decay, "RND" if rounding == "STOCH" else rounding)


@pytest.mark.parametrize("rounding", ALL)
def test_update_fixed(rounding: str) -> None:
    cases = ((-70, 1, -1), (-3, 5, 3), (0, 1, 0), (1, 1, -1), (7, 13, 4), (20, 2**10, 70))
    for mode, (shift, factor, decay) in zip([*OVERFLOWS, "SAT"], cases, strict=True):
        values = [
            shrunk(w, decay, rounding) - rounded(g * factor, shift, rounding, word)
            for w, g, word in zip(PARAMETER.tolist(), GRADIENT.tolist(), words(rounding, 12), strict=True)
        ]
        parameters, counters = result(values, mode)
        codes = lowest(mode), HI, ROUNDINGS[rounding], OVERFLOWS[mode]
        rate = number(shift - 3), number(3), number(factor)
        arguments = PARAMETER, GRADIENT, *rate, *codes, SEED, SITE, STEP, 0, False, decay, np.array([5, 6])
        check(kernels.update_fixed, arguments, {0: parameters, 15: counters})


@pytest.mark.parametrize("mode", OVERFLOWS)
def test_update_fixed_at_the_ends_of_64_bits(mode: str) -> None:
    """Products up to 2^63 - 1, weights of 63 bits: no difference may wrap unseen."""
    ends, sums = [-(2**62), -1, 0, 2**62 - 1], [-(2**62), 1, 2**63 - 1, -(2**63) + 1]
    pairs = list(product(ends, sums))
    hi = 2**62 - 1
    lo = -hi if mode == "SAT_SYM" else -hi - 1
    for shift in (-63, -1, 0, 1, 63):
        stated = [brought(w - rounded(g, shift, "RND"), lo, hi, mode) for w, g in pairs]
        codes = lo, hi, ROUNDINGS["RND"], OVERFLOWS[mode]
        given = np.array([w for w, _ in pairs]), np.array([g for _, g in pairs]), number(shift), number(0), number(1)
        found = launched(kernels.update_fixed, (*given, *codes, 0, 0, STEP, 0, False, -1, np.zeros(2, np.int64)))
        assert found[0].tolist() == [value for value, _ in stated]
        assert found[15].sum() == sum(was for _, was in stated)


@pytest.mark.parametrize("mode", OVERFLOWS)
def test_update_divided(mode: str) -> None:
    for rounding, (left, divisor, decay) in product(DIVIDING, ((0, 1000, -1), (4, 7, 3))):
        values = [
            shrunk(w, decay, rounding) - divided(g << left, divisor, rounding)
            for w, g in zip(PARAMETER.tolist(), GRADIENT.tolist(), strict=True)
        ]
        parameters, counters = result(values, mode)
        codes = lowest(mode), HI, ROUNDINGS[rounding], OVERFLOWS[mode]
        arguments = PARAMETER, GRADIENT, left, number(divisor), *codes, decay, np.array([5, 6])
        check(kernels.update_divided, arguments, {0: parameters, 9: counters})


@pytest.mark.parametrize("mode", OVERFLOWS)
def test_update_by_one(mode: str) -> None:
    drawn = words("STOCH", 12)
    for shift, bits in ((20, 0), (12, 16), (8, 12), (0, 4), (-80, 8), (25, 32), (90, 16)):
        width = bits or 16
        values = []
        for w, g, word in zip(PARAMETER.tolist(), GRADIENT.tolist(), drawn, strict=True):
            chance = min(abs(g) * 2 ** (width - shift) if shift <= width else abs(g) >> (shift - width), 2**width)
            values.append(w - ((g > 0) - (g < 0) if chance >= word % 2**width else 0))
        parameters, counters = result(values, mode)
        codes = lowest(mode), HI, OVERFLOWS[mode], SEED, SITE, STEP, bits
        arguments = PARAMETER, GRADIENT, number(shift - 3), number(3), *codes, np.array([5, 6])
        check(kernels.update_by_one, arguments, {0: parameters, 11: counters})


@pytest.mark.parametrize(
    ("log_shift", "one_shift", "highest"), [(13, 7, 127), (-30, 15, 2**15), (40, -1, 127), (12, 8, 200)]
)
def test_softmax_is_that_of_the_cpu(log_shift: int, one_shift: int, highest: int) -> None:
    """Which tests/unit/test_kernels_integer_softmax.py states in exact fractions."""
    preact: Any = random.integers(-(2**12), 2**12, (4, 3)).astype(np.int16)
    preact[0] = 5
    table = np.array([int(2 ** (15 + i / 256) + 0.5) for i in range(256)], np.uint32)
    out, counters = np.full((4, 3), 77, np.int32), np.array([5, 6])
    softmax_fixed(preact, number(log_shift), table, 8, one_shift, highest, out, counters)
    given = preact, number(log_shift), table, 8, one_shift, highest, np.full((4, 3), 77, np.int32), np.array([5, 6])
    check(kernels.softmax_fixed, given, {6: out, 7: counters})
