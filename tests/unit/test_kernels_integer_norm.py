"""Batch normalisation by shifts against Python integers, in slices, and near the exact normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fasim import kernels
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from tests.kernel_checks import check, inside, names_of, new

M, C, FRAC = 11, 6, 4
GAIN_FRAC, DELTA_FRAC, OUT_FRAC = 6, 7, 5
random = np.random.default_rng(76)

# channels: constant, of a few codes, of the whole range, at its edge
X = random.integers(-128, 127, (M, C), np.int8, endpoint=True)
X[:, 0], X[:, 1], X[:, 5] = 7, X[:, 1] // 32, np.where(X[:, 5] < 0, -128, 127)
DELTA = random.integers(-128, 127, (M, C), np.int8, endpoint=True)
GAIN, SHIFT = (random.integers(-128, 127, C, np.int8, endpoint=True) for _ in range(2))
FORMS = [("RND", "SAT"), ("TRN", "WRAP"), ("RND_CONV", "SAT_SYM"), ("TRN_ZERO", "NUMERIC_STD"), ("JAM", "SAT_ZERO")]


def modes(rounding: str, overflow: str, bits: int = 8) -> tuple[int, ...]:
    low = -(2 ** (bits - 1)) + (overflow == "SAT_SYM")
    return low, 2 ** (bits - 1) - 1, ROUNDINGS[rounding], OVERFLOWS[overflow]


def cast(x: int, shift: int, rounding: str, overflow: str, bits: int = 8) -> tuple[int, int]:
    """Return a number after its cast, and whether it was outside."""
    if shift <= 0:
        value = x * 2**-shift | (rounding == "JAM" and shift == 0)
    else:
        quotient, rest = divmod(x, 2**shift)
        up = {
            "RND": 2 * rest >= 2**shift,
            "TRN": False,
            "RND_CONV": 2 * rest > 2**shift or (2 * rest == 2**shift and quotient % 2 == 1),
            "TRN_ZERO": rest > 0 and x < 0,
            "JAM": quotient % 2 == 0,
        }[rounding]
        value = quotient + up
    low, high = modes(rounding, overflow, bits)[:2]
    if low <= value <= high:
        return value, 0
    size = 2 ** (bits - 1)
    return {
        "SAT": min(max(value, low), high),
        "SAT_SYM": min(max(value, low), high),
        "SAT_ZERO": 0,
        "WRAP": (value + size) % (2 * size) - size,
        "NUMERIC_STD": value % size - (size if value < 0 else 0),
    }[overflow], 1


def mean(values: list[int]) -> int:
    return (2 * sum(values) + len(values)) // (2 * len(values))


def statistics(x: np.ndarray) -> tuple[list[int], list[int], list[int]]:
    """Return mean, variance and exponent of each channel."""
    columns = x.T.tolist()
    means = [mean(column) for column in columns]
    var = [sum((x - m) ** 2 for x in column) // len(column) for column, m in zip(columns, means, strict=True)]
    return means, var, [v.bit_length() // 2 for v in var]


def casts(values: np.ndarray, shifts: list[int], form: tuple[str, str], bits: int = 8) -> tuple[np.ndarray, int]:
    """Return the casts of rows of channels, and how many were outside."""
    results = [[cast(x, s, *form, bits) for x, s in zip(row, shifts, strict=True)] for row in values.tolist()]
    return np.array([[r for r, _ in row] for row in results]), sum(outside for row in results for _, outside in row)


def counted(outside: int, overflow: str) -> list[int]:
    return [5, 6 + outside] if overflow in ("WRAP", "NUMERIC_STD") else [5 + outside, 6]


def backward(form: tuple[str, str], part: slice) -> tuple[list[list[int]], np.ndarray, int]:
    """Return both means and the deltas before the normalisation of some channels, and how many were outside."""
    d, t = DELTA.astype(int)[:, part], NORMAL.astype(int)[:, part]
    means = [[mean(column) for column in each.T.tolist()] for each in (d, d * t)]
    drift = (t * means[1] + 2 ** (2 * FRAC - 1)) // 2 ** (2 * FRAC)
    value = GAIN.astype(int)[part] * (d - means[0] - drift)
    return means, *casts(value, [BACK_SHIFT + e for e in EXPONENT.tolist()[part]], form)


MEAN, VAR, EXPONENT = (np.array(each) for each in statistics(X))
NORMAL, _ = casts(X.astype(int) - MEAN, [e - FRAC for e in EXPONENT.tolist()], ("RND", "SAT"))
NORMAL = NORMAL.astype(np.int8)
RUNNING_MEAN, RUNNING_VAR = random.integers(-(2**15), 2**15, C), random.integers(0, 2**22, C)
BACK_SHIFT = GAIN_FRAC + DELTA_FRAC - FRAC - OUT_FRAC


def moved(running: np.ndarray, batch: np.ndarray) -> list[int]:
    return [r + (256 * b - r + 4) // 8 for r, b in zip(running.tolist(), batch.tolist(), strict=True)]


def cases(form: tuple[str, str] = ("RND", "SAT")) -> dict[str, tuple[tuple[Any, ...], dict[int, Any]]]:
    """Return arguments, and what each array that the kernel writes must hold, by position of the argument."""
    normal, outside = casts(X.astype(int) - MEAN, [e - FRAC for e in EXPONENT.tolist()], form)
    d, t = DELTA.astype(int), NORMAL.astype(int)
    part = slice(1, 5)
    sliced = new(np.int64, M, C)
    means, sliced[:, part], beyond = backward(form, part)
    return {
        "norm_statistics_fixed": (
            (X, 2, new(np.int64, 3), new(np.int64, 3), new(np.int64, 3)),
            {2: MEAN[2:5], 3: VAR[2:5], 4: EXPONENT[2:5]},
        ),
        "norm_running_fixed": (
            (MEAN, VAR, RUNNING_MEAN, RUNNING_VAR),
            {2: moved(RUNNING_MEAN, MEAN), 3: moved(RUNNING_VAR, VAR)},
        ),
        "norm_recall_fixed": (
            (RUNNING_MEAN, RUNNING_VAR, new(np.int64, C), new(np.int64, C)),
            {
                2: [(m + 128) // 256 for m in RUNNING_MEAN.tolist()],
                3: [(v // 256).bit_length() // 2 for v in RUNNING_VAR.tolist()],
            },
        ),
        "norm_normal_fixed": (
            (X, MEAN, EXPONENT, FRAC, *modes(*form), new(np.int8, M, C), np.array([5, 6])),
            {8: normal, 9: counted(outside, form[1])},
        ),
        "norm_scale_fixed": (
            (NORMAL, GAIN, SHIFT, 2, 3, new(np.int32, M, C)),
            {5: 4 * t * GAIN + 8 * SHIFT.astype(int)},
        ),
        "norm_backward_fixed": (
            (
                *(DELTA, NORMAL, GAIN, EXPONENT, 1, FRAC, BACK_SHIFT, *modes(*form)),
                *(new(np.int64, 2, 4), new(np.int8, M, C), np.array([5, 6])),
            ),
            {11: means, 12: sliced, 13: counted(beyond, form[1])},
        ),
        "gain_gradient_fixed": ((DELTA, NORMAL, 1, new(np.int32, 4)), {3: (d * t).sum(0)[part]}),
    }


NAMES = names_of("integer_norm")


def test_every_kernel_of_this_module_is_here() -> None:
    assert sorted(cases()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_kernel_is_its_statement(name: str) -> None:
    check(getattr(kernels, name), *cases()[name])


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("name", ["norm_normal_fixed", "norm_backward_fixed"])
def test_casts_in_every_mode(name: str, form: tuple[str, str]) -> None:
    check(getattr(kernels, name), *cases(form)[name])


@pytest.mark.parametrize("name", NAMES)
def test_kernel_inside_a_compiled_function(name: str) -> None:
    check(inside(getattr(kernels, name)), *cases()[name])


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("frac", [40, 55, 62, 70, 140])
def test_left_shifts_out_of_64_bits(form: tuple[str, str], frac: int) -> None:
    """A constant channel has the exponent 0: all fraction bits are added, however many there are."""
    x = np.array([[2**31 - 1, -(2**31), 1, -1, 0]], np.int32)
    zero = np.zeros(5, np.int64)
    expected, outside = casts(x.astype(int), [-frac] * 5, form, 32)
    out, counters = new(np.int64, 1, 5), np.array([5, 6])
    kernels.norm_normal_fixed(x, zero, zero, frac, *modes(*form, 32), out, counters)
    np.testing.assert_array_equal(out, expected)
    assert counters.tolist() == counted(outside, form[1])


@pytest.mark.parametrize("cuts", [(0, 6), (0, 1, 6), (0, 2, 3, 6)])
def test_channels_of_a_layer(cuts: tuple[int, ...]) -> None:
    _, back, outside = backward(("RND", "SAT"), slice(C))
    found, counters, statistic = new(np.int8, M, C), np.array([0, 0]), new(np.int64, 3, C)
    gradient = new(np.int32, C)
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        kernels.norm_statistics_fixed(X, start, *statistic[:, start:stop])
        arguments = DELTA, NORMAL, GAIN, EXPONENT, start, FRAC, BACK_SHIFT, *modes("RND", "SAT")
        kernels.norm_backward_fixed(*arguments, new(np.int64, 2, stop - start), found, counters)
        kernels.gain_gradient_fixed(DELTA, NORMAL, start, gradient[start:stop])
    np.testing.assert_array_equal(statistic, [MEAN, VAR, EXPONENT])
    np.testing.assert_array_equal(found, back)
    np.testing.assert_array_equal(gradient, (DELTA.astype(int) * NORMAL).sum(0))
    assert counters.tolist() == [outside, 0]


@pytest.mark.parametrize("cuts", [(0, 11), (0, 1, 11), (0, 4, 5, 11)])
def test_rows_of_a_batch(cuts: tuple[int, ...]) -> None:
    normal, scaled, counters = new(np.int8, M, C), new(np.int32, M, C), np.array([0, 0])
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        part = slice(start, stop)
        kernels.norm_normal_fixed(X[part], MEAN, EXPONENT, FRAC, *modes("RND", "SAT"), normal[part], counters)
        kernels.norm_scale_fixed(normal[part], GAIN, SHIFT, 0, 0, scaled[part])
    np.testing.assert_array_equal(normal, NORMAL)
    np.testing.assert_array_equal(scaled, NORMAL.astype(int) * GAIN + SHIFT)


def test_near_the_exact_normalisation() -> None:
    """2^e is within a factor of sqrt(2) of the deviation, so normal numbers deviate by 0.7 to 1.42, and have no mean."""
    x = random.normal(20, 1, (400, 8)) * 2.0 ** np.linspace(3, 9, 8)
    x = np.rint(x).astype(np.int16)
    mean_, var, exponent = (np.zeros(8, np.int64) for _ in range(3))
    kernels.norm_statistics_fixed(x, 0, mean_, var, exponent)
    normal = new(np.int32, 400, 8)
    kernels.norm_normal_fixed(x, mean_, exponent, 12, *modes("RND", "SAT", 24), normal, np.array([0, 0]))
    deviation = (normal / 2**12).std(0)
    assert (deviation > 0.69).all()
    assert (deviation < 1.43).all()
    assert np.abs((normal / 2**12).mean(0)).max() < 0.07
