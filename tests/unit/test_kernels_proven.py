"""Registers of limited width at sizes of several tiles, panels and blocks, against additions one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fasim import kernels
from fasim.kernels import proven
from fasim.scalar.constants import ASCENDING
from fasim.scalar.rounding import OVERFLOWS
from tests.assembly import INTEGER_PATHS, X86, on_path
from tests.unit import test_kernels_sparse

MODES = tuple(OVERFLOWS)


def limits(bits: int, mode: str) -> tuple[int, int]:
    """Return the range of a signed register."""
    high = 2 ** (bits - 1) - 1
    return (-high if mode == "SAT_SYM" else -high - 1), high


def stated(factors: np.ndarray, sources: np.ndarray, start: np.ndarray, bits: int, mode: str) -> tuple[np.ndarray, int]:
    """Return the registers of ``factors @ sources`` [N, J], one k after the other, and how often one left its range."""
    lo, hi = limits(bits, mode)
    values, events = np.zeros((len(factors), sources.shape[1]), np.int64), 0

    def brought(value: np.ndarray) -> np.ndarray:
        nonlocal events
        outside = (value < lo) | (value > hi)
        events += int(outside.sum())
        match mode:
            case "WRAP":
                return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
            case "SAT_ZERO":
                return np.where(outside, 0, value)
            case "NUMERIC_STD":
                return value % 2 ** (bits - 1) - np.where(value < 0, 2 ** (bits - 1), 0)
        return np.clip(value, lo, hi)

    values = brought(values + start)
    for k in range(factors.shape[1]):
        values = brought(values + factors[:, k : k + 1].astype(np.int64) * sources[k].astype(np.int64))
    return values, events


def drawn(random: np.random.Generator, dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return numbers over the whole range of a type, some rows of it small."""
    info = np.iinfo(dtype)
    scale = random.choice([1, 16, 256], (shape[0], 1), p=[0.5, 0.25, 0.25])
    return (random.integers(info.min, info.max, shape, endpoint=True) // scale).astype(dtype)


def computed(
    name: str, factors: np.ndarray, sources: np.ndarray, bias: np.ndarray, wide: Any, bits: int, mode: str
) -> tuple[np.ndarray, int]:  # noqa: ANN401
    """Return what a kernel makes of it, biases being added by `dense_accumulate` alone."""
    out, counters = np.full((len(factors), sources.shape[1]), 77, np.int64), np.zeros(2, np.int64)
    how = 0, 0, *limits(bits, mode), OVERFLOWS[mode], 1
    registers = np.full((1, sources.shape[1]), 55, wide)
    match name:
        case "dense_accumulate":
            given: tuple[Any, ...] = factors, np.ascontiguousarray(sources.T), bias, 2, *how, ASCENDING, 1
        case "project_accumulate":
            given = factors, sources, *how, ASCENDING, 1
        case _:
            # units 2, 3, ...
            delta = np.ascontiguousarray(np.pad(factors, ((2, 0), (0, 0)), constant_values=3).T)
            given = delta, sources, 2, *how
    getattr(kernels, name)(*given, registers, out, counters)
    assert counters[0 if mode in ("WRAP", "NUMERIC_STD") else 1] == 0
    return out, int(counters.sum())


NAMES = ("dense_accumulate", "project_accumulate", "weight_gradient_accumulate")
# rows, terms, columns: around tiles of 4 and 8 rows, the 64 that are done at once, blocks of 32 terms, panels of 16 and 64
SIZES = ((1, 1, 1), (3, 33, 17), (9, 64, 64), (67, 95, 150), (5, 200, 33), (130, 31, 100), (2, 0, 3), (0, 5, 3))
WIDTHS = (
    *((np.int8, np.int32, bits) for bits in (14, 17, 21, 30)),
    *((np.int16, np.int64, bits) for bits in (31, 34, 37, 62)),
    (np.int8, np.int64, 18),
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_sums_are_additions_one_by_one(name: str, mode: str) -> None:
    random = np.random.default_rng(len(mode) + len(name))
    seen = []
    for rows, terms, columns in SIZES:
        for dtype, wide, bits in WIDTHS:
            factors, sources = drawn(random, dtype, rows, terms), drawn(random, dtype, max(terms, 1), columns)[:terms]
            bias = drawn(random, np.int16, 1, columns)[0]
            start = bias.astype(np.int64) << 2 if name == "dense_accumulate" else np.zeros(columns, np.int64)
            expected, events = stated(factors, sources, start, bits, mode)
            out, counted = computed(name, factors, sources, bias, wide, bits, mode)
            np.testing.assert_array_equal(out, expected, err_msg=f"{rows} {terms} {columns} {dtype} {bits}")
            assert counted == events, (rows, terms, columns, dtype, bits)
            seen.append(events / max(expected.size * terms, 1))
    # all, some and none of the additions leave the range
    assert min(seen) == 0
    assert max(seen) > 0.05


@pytest.mark.parametrize("wide", [np.int32, np.int64])
@pytest.mark.parametrize("by", [-1, 0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_peak_inside_of_a_block(sign: int, by: int, wide: Any) -> None:  # noqa: ANN401
    """Up by 8 x 100 and down again: the ends of the block say nothing, the range that it needs is hit to one."""
    factors = np.int8([[100 * sign] * 8 + [-100 * sign] * 8])
    sources = np.ones((16, 20), np.int8)
    lo, hi = -800 - by, 800 + by
    out, counters = np.empty((1, 20), np.int64), np.zeros(2, np.int64)
    registers = np.empty((1, 20), wide)
    kernels.project_accumulate(
        *(factors, sources, 0, 0, lo, hi, OVERFLOWS["SAT_SYM"], 1, ASCENDING, 1, registers, out, counters)
    )
    assert (out == min(by, 0) * sign).all()
    assert counters.tolist() == [20 if by < 0 else 0, 0]


@pytest.mark.parametrize("wide", [np.int32, np.int64])
def test_full_scale_of_every_type(wide: Any) -> None:  # noqa: ANN401
    """-2^7 * -2^7 and -2^15 * -2^15 again and again: no sum of a block leaves its lanes."""
    dtype = np.int8 if wide == np.int32 else np.int16
    for a, b in ((-1, -1), (-1, 1), (1, 1)):
        info = np.iinfo(dtype)
        ends = [int(info.min) if sign < 0 else int(info.max) for sign in (a, b)]
        factors, sources = np.full((3, 1000), ends[0], dtype), np.full((1000, 70), ends[1], dtype)
        for bits in (20, 30) if wide == np.int32 else (36, 62):
            expected, events = stated(factors, sources, np.zeros(70, np.int64), bits, "SAT")
            out, counted = computed("project_accumulate", factors, sources, np.empty(0), wide, bits, "SAT")
            np.testing.assert_array_equal(out, expected)
            assert counted == events


def test_columns_that_are_packed() -> None:
    """Panels of 4 vectors (2 without AVX-512), behind them one or two of one."""
    for columns in range(1, 200):
        packed = proven.padded.py_func(columns)
        assert columns <= packed < columns + proven.WIDTH
        assert packed % proven.LANES == 0


def test_what_is_proven_and_what_is_not() -> None:
    """Types that int16 does not hold, rounded products, other orders go the general way."""
    a, b = np.zeros((1, 1), np.int8), np.zeros((1, 1), np.uint16)
    serves = proven.provable
    assert serves(a, a, 0, 0, 1, ASCENDING)
    assert serves(a, a.astype(np.uint8), 0, 0, 1, ASCENDING)
    for refused in (b, a.astype(np.int32)):
        assert not serves(a, refused, 0, 0, 1, ASCENDING)
        assert not serves(refused, a, 0, 0, 1, ASCENDING)
    assert not serves(a, a, 1, 0, 1, ASCENDING)
    assert not serves(a, a, 0, 0, 0, ASCENDING)
    assert not serves(a, a, 0, 0, 1, ASCENDING + 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_other_types(dtype: Any) -> None:  # noqa: ANN401
    random = np.random.default_rng(8)
    factors = random.integers(0, 250, (5, 40)).astype(dtype)
    sources = random.integers(-128, 128, (40, 20)).astype(np.int8)
    expected, events = stated(factors, sources, np.zeros(20, np.int64), 17, "SAT")
    out, counted = computed("project_accumulate", factors, sources, np.empty(0), np.int64, 17, "SAT")
    np.testing.assert_array_equal(out, expected)
    assert counted == events > 0


def sums() -> None:
    for mode in ("SAT", "WRAP"):
        test_sums_are_additions_one_by_one("project_accumulate", mode)
    for wide in (np.int32, np.int64):
        test_full_scale_of_every_type(wide)
        test_a_peak_inside_of_a_block(1, -1, wide)
        test_kernels_sparse.test_a_few_rows_and_many_have_the_same_bits(37, 9, wide)


@X86
@pytest.mark.parametrize(("cpu", "target"), INTEGER_PATHS)
def test_the_same_on_every_path(cpu: str, target: str) -> None:
    assert on_path(sums, cpu, target) == []
