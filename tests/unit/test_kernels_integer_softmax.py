"""Softmax in whole numbers against Python integers and against the exact function."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest

from fasim import kernels
from tests.kernel_checks import check, inside, names_of, new

random = np.random.default_rng(75)


def table(bits: int) -> np.ndarray:
    """Return ``floor(2^(15 + i / 2^bits) + 1/2)``, uint32[2^bits]."""
    powers = (Decimal(2) ** (15 + Decimal(i) / 2**bits) for i in range(2**bits))
    return np.array([int(power.quantize(Decimal(1), ROUND_HALF_UP)) for power in powers], np.uint32)


def statement(rows: list[list[int]], frac: int, bits: int, one_shift: int, highest: int) -> tuple[list[list[int]], int]:
    """Return the outputs and how many were above the highest, in Python integers and fractions of them."""
    entries, result, outside = table(bits).tolist(), [], 0
    for row in rows:
        up, down = 2 ** max(0, -(frac + 15 - bits)), 2 ** max(0, frac + 15 - bits)
        t = [x * 47274 * up // down for x in row]
        d = [each - max(t) for each in t]
        e = [entries[each % 2**bits] >> min(-(each // 2**bits), 31) for each in d]
        top, below = 2 ** max(0, one_shift), 2 ** max(0, -one_shift)
        exact = [(2 * each * top + sum(e) * below) // (2 * sum(e) * below) for each in e]
        outside += sum(each > highest for each in exact)
        result.append([min(each, highest) for each in exact])
    return result, outside


def run(rows: np.ndarray, frac: int, bits: int, one_shift: int, highest: int, kernel=kernels.softmax_fixed) -> None:  # noqa: ANN001
    expected, outside = statement(rows.tolist(), frac, bits, one_shift, highest)
    shift = np.array([frac + 15 - bits], np.int64)
    arguments = rows, shift, table(bits), bits, one_shift, highest, new(np.int32, *rows.shape), np.array([5, 6])
    check(kernel, arguments, {6: expected, 7: [5 + outside, 6]})


def test_every_kernel_of_this_module_is_here() -> None:
    assert names_of("integer_softmax") == ["softmax_fixed"]


@pytest.mark.parametrize("one_shift", [-9, -2, -1, 0, 1, 7, 8, 15])
@pytest.mark.parametrize("bits", [0, 1, 5, 8])
@pytest.mark.parametrize("frac", [-60, -30, -8, -7, -1, 0, 4, 6, 12, 40, 60])
def test_kernel_is_its_statement(frac: int, bits: int, one_shift: int) -> None:
    """From an output's binary point far left of the codes to far right of them; SAT one below 1.0."""
    rows = random.integers(-128, 127, (6, 10), np.int8, endpoint=True)
    rows[0], rows[1, :2], rows[2] = -128, 127, [-128] * 9 + [127]
    run(rows, frac, bits, one_shift, max(2**one_shift - 1, 0) if one_shift >= 0 else 0)


@pytest.mark.parametrize("frac", [-60, -5, 0, 20, 31])
def test_32_bit_codes(frac: int) -> None:
    rows = random.integers(-(2**31), 2**31 - 1, (5, 4), np.int32, endpoint=True)
    rows[0] = -(2**31), 2**31 - 1, 0, 1
    run(rows, frac, 8, 16, 2**16)


def test_kernel_inside_a_compiled_function() -> None:
    rows = random.integers(-128, 127, (3, 10), np.int8, endpoint=True)
    run(rows, 4, 5, 7, 127, inside(kernels.softmax_fixed))


def test_ones_saturate_and_are_counted() -> None:
    out, counters = new(np.int8, 2, 2), np.array([0, 0])
    kernels.softmax_fixed(np.array([[127, -128], [0, 0]], np.int8), np.array([11]), table(4), 4, 7, 127, out, counters)
    assert out.tolist() == [[127, 0], [64, 64]]
    assert counters.tolist() == [1, 0]


def test_near_the_exact_function() -> None:
    rows = random.integers(-128, 127, (50, 10), np.int8, endpoint=True)
    out = new(np.int32, 50, 10)
    kernels.softmax_fixed(rows, np.array([4 + 15 - 8]), table(8), 8, 16, 2**16, out, np.array([0, 0]))
    exact = np.array([[math.exp(x / 16) for x in row] for row in rows.tolist()])
    exact /= exact.sum(1, keepdims=True)
    # a step of the table is 1 / 2^8 in the exponent of 2: 0.27 %
    assert np.abs(out / 2**16 - exact).max() < 0.0028


@pytest.mark.parametrize("cuts", [(0, 5), (0, 1, 5), (0, 2, 3, 4, 5)])
def test_rows_of_a_batch_in_place(cuts: tuple[int, ...]) -> None:
    rows = random.integers(-128, 127, (5, 10), np.int8, endpoint=True)
    expected, outside = statement(rows.tolist(), 5, 4, 7, 60)
    counters = np.array([0, 0])
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        part = rows[start:stop]
        kernels.softmax_fixed(part, np.array([5 + 15 - 4]), table(4), 4, 7, 60, part, counters)
    assert rows.tolist() == expected
    assert counters.tolist() == [outside, 0]
    assert outside > 0
