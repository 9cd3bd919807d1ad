"""The kernels that observe a tensor, against Python's own integers and floats."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fasim import kernels
from tests.kernel_checks import check, inside, names_of

INT64 = np.iinfo(np.int64)
random = np.random.default_rng(77)


def start(count):
    return np.zeros(count, np.int64), np.array([INT64.max, INT64.min, 0, 0])


def start_float():
    return np.zeros(128, np.int64), np.array([math.inf, -math.inf, 0, 0, 0])


def counted(numbers, bins, extremes):
    """What `observe` must leave."""
    bins, numbers = list(bins), [int(x) for x in numbers]
    for x in numbers:
        bins[min(abs(x).bit_length(), 63)] += 1
    low, high, zeros, elements = (int(x) for x in extremes)
    return bins, [min([low, *numbers]), max([high, *numbers]), zeros + numbers.count(0), elements + len(numbers)]


def counted_float(numbers, bins, extremes):
    bins, numbers = list(bins), [float(x) for x in numbers]
    finite = [x for x in numbers if math.isfinite(x)]
    for x in filter(None, finite):
        size = next((i for i in range(128) if abs(x) < 2.0 ** (i - 63)), 127)
        bins[size] += 1
    low, high, zeros, elements, others = extremes
    low, high = min([low, *finite]), max([high, *finite])
    return bins, [low, high, zeros + finite.count(0), elements + len(numbers), others + len(numbers) - len(finite)]


CASES = {
    name: np.r_[[info.min, info.max, 0, 1, 0], random.integers(info.min, info.max, 50, endpoint=True)].astype(name)
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
    for info in [np.iinfo(name)]
}
FLOAT = np.float32(
    [
        0,
        -0.0,
        1,
        -1,
        0.99999994,
        0.5,
        2.0**-64,
        2.0**-65,
        1e-45,
        3e38,
        2.0**63,
        2.0**64,
        -(2.0**70),
        math.nan,
        math.inf,
        -math.inf,
    ]
)


@pytest.mark.parametrize("wrap", [lambda kernel: kernel, inside])
@pytest.mark.parametrize("name", CASES)
def test_integers(name, wrap):
    bins, extremes = start(64)
    given = (CASES[name], bins, extremes)
    check(wrap(kernels.observe), given, dict(zip((1, 2), counted(*given), strict=True)))


@pytest.mark.parametrize("wrap", [lambda kernel: kernel, inside])
def test_floats(wrap):
    bins, extremes = start_float()
    numbers = np.r_[FLOAT, random.standard_normal(50).astype(np.float32)]
    expected = counted_float(numbers, bins, extremes)
    wrap(kernels.observe_float)(numbers, bins, extremes)
    assert bins.tolist() == expected[0]
    assert extremes.tolist() == expected[1]


def test_counts_add_up_over_calls_and_slices():
    numbers = CASES["int16"]
    whole, parts = start(64), start(64)
    kernels.observe(numbers, *whole)
    for part in (numbers[:20], numbers[20:20], numbers[20:]):
        kernels.observe(part, *parts)
    for one, other in zip(whole, parts, strict=True):
        assert one.tolist() == other.tolist()
    assert whole[0].sum() == whole[1][3] == len(numbers)
    assert whole[0][0] == whole[1][2] == 2
    both = start_float()
    for part in (FLOAT[:7], FLOAT[7:]):
        kernels.observe_float(part, *both)
    assert both[1].tolist()[:2] == [-(2.0**70), float(np.float32(3e38))]
    assert both[0].sum() + both[1][2] + both[1][4] == both[1][3] == len(FLOAT)


def test_nothing_beside_the_arrays_is_touched():
    numbers = random.standard_normal(9).astype(np.float32)
    bins, extremes = start_float()
    expected = counted_float(numbers, bins, extremes)
    check(kernels.observe_float, (numbers, bins, extremes), {1: expected[0], 2: np.array(expected[1])})


def test_every_kernel_of_the_module_is_checked_here():
    assert names_of("observe") == ["observe", "observe_float"]
