"""Shifts and exponents of a step against Python's integers."""

from __future__ import annotations

import numpy as np
import pytest

from fasim.kernels import add_exponent, choose_exponent, clear

EDGES = sorted(
    {
        sign * (value + near)
        for value in (0, *(1 << b for b in range(1, 63)), *(int(2**0.5 * 2**b) for b in range(50)), (1 << 63) - 2)
        for near in (-1, 0, 1)
        for sign in (1, -1)
    }
    | {-(1 << 63)}
)


def chosen(largest, bits, nearest):
    """The definition, in numbers without end."""
    if not largest:
        return 0
    if nearest:
        return (largest * largest).bit_length() // 2 - bits
    return max(0, largest.bit_length() - bits)


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("bits", [1, 7, 15])
def test_exponents_at_every_edge(bits, nearest):
    out = np.full(1, 99, np.int64)
    for value in EDGES:
        choose_exponent(np.array([value], np.int64), bits, nearest, out)
        assert out[0] == chosen(abs(value), bits, nearest), value


def test_the_nearest_exponent_changes_at_the_root_of_two():
    out = np.zeros(1, np.int64)
    for length in range(2, 64):
        root = 2 * (1 << 2 * length - 1)
        below = int(np.floor(np.sqrt(float(root // 2))))
        while below * below >= 1 << 2 * length - 1:
            below -= 1
        while (below + 1) ** 2 < 1 << 2 * length - 1:
            below += 1
        found = []
        for value in (below, below + 1):
            choose_exponent(np.array([value], np.uint64).view(np.int64), 0, True, out)
            found.append(int(out[0]))
        if below + 1 < 1 << 63:
            assert found == [length - 1, length]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_the_largest_magnitude_decides(dtype):
    random, out = np.random.default_rng(0), np.zeros(1, np.int64)
    for size in (1, 2, 17, 1000):
        for top in (1, 5, 1 << 12, np.iinfo(dtype).max):
            source = random.integers(-top, top, size, dtype, endpoint=True)
            largest = max(abs(int(x)) for x in source)
            for nearest in (False, True):
                choose_exponent(source, 7, nearest, out)
                assert out[0] == chosen(largest, 7, nearest)


def test_signed_exponents_add_up():
    total = np.zeros(1, np.int64)
    add_exponent(5, -1, np.array([7], np.int64), total)
    assert total[0] == -2
    add_exponent(total[0], 1, np.array([40], np.int64), total)
    assert total[0] == 38


def test_clear():
    numbers = np.array([1.5, np.nan, -np.inf])
    clear(numbers)
    assert numbers.tolist() == [0.0, 0.0, 0.0]
