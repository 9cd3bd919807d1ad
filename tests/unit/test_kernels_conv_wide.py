"""Convolutions of 16 bits with sums in int64: exact whatever their numbers, whether int32 holds their sums or not."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from fasim import kernels
from tests.assembly import X86, on_path
from tests.kernel_checks import check, new
from tests.unit.test_kernels_integer_maps import back, forward, gradient

# N, H, W, C, J, side, stride, padding; samples are taken four at a time
SHAPES = (
    (1, 9, 8, 3, 5, 3, 1, 1),
    (4, 6, 5, 1, 33, 5, 1, 2),
    (5, 8, 7, 5, 16, 3, 2, 1),
    (9, 6, 7, 35, 40, 2, 3, 0),
)
TYPES = ((np.int16, np.int16, np.int16), (np.uint8, np.int16, np.int16), (np.int16, np.int8, np.int16))
FEW = 300
ALL = 2**15


def drawn(dtype: Any, most: int, shape: tuple[int, ...], seed: int) -> np.ndarray:  # noqa: ANN401
    """Return numbers of a type up to a magnitude, the ends among them."""
    info = np.iinfo(dtype)
    low, high = max(info.min, -most), min(info.max, most)
    numbers = np.random.default_rng([seed, most, *shape]).integers(low, high, shape, dtype, endpoint=True)
    numbers.flat[0] = low
    return numbers


def arrays(types: tuple[Any, ...], most: int, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Return maps, weights and deltas."""
    samples, height, width, channels, units, side, stride, padding = shape
    p, q = ((size + 2 * padding - side) // stride + 1 for size in (height, width))
    sizes = (samples, height, width, channels), (units, side, side, channels), (samples, p, q, units)
    return tuple(drawn(dtype, most, size, seed) for seed, (dtype, size) in enumerate(zip(types, sizes, strict=True)))


def assert_exact(act: np.ndarray, weight: np.ndarray, delta: np.ndarray, stride: int, padding: int) -> None:
    """Hold all three kernels against statements in int64."""
    window, side, bias = (stride, padding), weight.shape[1], np.int16(np.arange(len(weight)) - 3)
    exact = 4 * forward(act, weight, *window) + 8 * bias.astype(np.int64)
    check(kernels.conv_forward_fixed, (act, weight, bias, 2, 3, *window, new(np.int64, *delta.shape)), {7: exact})
    exact = back(delta, weight, *window, *act.shape[1:3])
    check(kernels.conv_input_gradient_fixed, (delta, weight, *window, new(np.int64, *act.shape)), {4: exact})
    first = len(weight) // 2
    exact = gradient(delta, act, side, *window)[first:]
    check(kernels.conv_weight_gradient_fixed, (delta, act, first, *window, new(np.int64, *exact.shape)), {5: exact})


@pytest.mark.parametrize("types", TYPES, ids=[np.dtype(first).name + np.dtype(other).name for first, other, _ in TYPES])
@pytest.mark.parametrize("most", [FEW, 5000, ALL])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_are_exact(shape: tuple[int, ...], most: int, types: tuple[Any, ...]) -> None:
    assert_exact(*arrays(types, most, shape), *shape[6:])


@pytest.mark.parametrize("sample", range(9))
def test_a_sample_of_large_numbers_leaves_the_others_as_they_are(sample: int) -> None:
    shape = SHAPES[3]
    (act, _, delta), (_, weight, _) = arrays(TYPES[0], FEW, shape), arrays(TYPES[0], ALL, shape)
    most = np.abs(weight.astype(np.int64)).sum((1, 2, 3)).max()
    assert FEW * most < 2**31 < ALL * most
    act[sample], delta[sample] = (np.where(x[sample] % 2, ALL - 1, -ALL) for x in (act, delta))
    assert_exact(act, weight, delta, *shape[6:])


@pytest.mark.parametrize(("first", "other"), [(-ALL, -ALL), (-ALL, ALL - 1), (ALL - 1, ALL - 1)])
def test_sums_about_the_end_of_int32(first: int, other: int) -> None:
    """Two products: the sum is 2^31, which int32 does not hold, or a little less in magnitude, which it does."""
    pair = np.int16([first, first])
    act, weight = pair.reshape(1, 1, 1, 2), np.int16([other, other]).reshape(1, 1, 1, 2)
    assert_exact(act, weight, np.int16([[[[first]]]]), 1, 0)
    assert_exact(np.int16([[[[other]]]]), pair.reshape(2, 1, 1, 1), np.int16([other, other]).reshape(1, 1, 1, 2), 1, 0)
    act, delta = pair.reshape(1, 1, 2, 1), np.int16([other, other]).reshape(1, 1, 2, 1)
    assert_exact(act, np.int16([[[[other]]]]), delta, 1, 0)


def test_a_gradient_adds_up_over_samples_and_pixels() -> None:
    """Each product fits, and 4 x 64 of them, but not those of all samples."""
    act, delta = np.full((12, 8, 8, 1), 2000, np.int16), np.full((12, 8, 8, 2), 4000, np.int16)
    assert 256 * 2000 * 4000 < 2**31 < 768 * 2000 * 4000
    assert_exact(act, np.full((2, 1, 1, 1), 3, np.int16), delta, 1, 0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("pairs", [48, 24, 12, 6, 3, 2, 1])
def test_parts_of_a_window(pairs: int, more: int, stride: int) -> None:
    """Sums over so many pairs of each of three rows of the window just fit, or just do not; all pairs of a row are 48."""
    largest = ALL - 1
    of_weight = (2**31 - 1) // (3 * 2 * pairs * largest) + more
    weight = np.full((32, 3, 3, 32), -of_weight, np.int16)
    weight[::3] = of_weight - 1
    act, delta = np.full((2, 7, 7, 32), largest, np.int16), np.full((2, 7 // stride, 7 // stride, 32), largest, np.int16)
    act[1], delta[1] = 3, 1
    assert_exact(act, weight, delta, stride, 1 if stride == 1 else 0)


@pytest.mark.parametrize("of_weight", [-ALL, ALL - 1, 128 - ALL, 255])
@pytest.mark.parametrize("largest", [-ALL, ALL - 1])
@pytest.mark.parametrize(("side", "channels"), [(3, 56), (2, 128), (3, 57), (1, 1), (1, 3)])
def test_halves_of_weights(side: int, channels: int, largest: int, of_weight: int) -> None:
    """Sums of 512 products of 16 bits and of halves about fill int32: 504 do not, 512 do, of -2^15 and -2^7."""
    act = np.full((2, side, side, channels), largest, np.int16)
    weight = np.full((channels, side, side, channels), of_weight, np.int16)
    size = 2 * side - 1
    act[1] = 3
    assert_exact(act, weight, np.full((2, size, size, channels), largest, np.int16), 1, side - 1)


def test_a_window_too_tall_for_halves() -> None:
    """A sum over one pair of 256 rows of the window is 2^31: plain loops."""
    act, weight = np.full((1, 256, 256, 1), -ALL, np.int16), np.full((1, 256, 256, 1), -ALL, np.int16)
    assert_exact(act, weight, np.int16([[[[-ALL]]]]), 1, 0)


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9, 21])
def test_a_gradient_takes_the_rows_that_int32_holds(rows: int, more: int) -> None:
    """Sums over so many rows of 8 pixels just fit, or just do not; a sample has 8 rows."""
    largest = ALL - 1
    act = np.full((4, 8, 8, 2), largest, np.int16)
    delta = np.full((4, 8, 8, 3), -((2**31 - 1) // (8 * rows * largest)) - more, np.int16)
    assert_exact(act, np.full((3, 1, 1, 2), 3, np.int16), delta, 1, 0)


def digest() -> str:
    """Return a hash of the results of all kernels, of small numbers and of large ones."""
    found = hashlib.sha256()
    for shape in SHAPES:
        for most in (FEW, ALL):
            act, weight, delta = arrays(TYPES[0], most, shape)
            window = shape[6:]
            out, maps, sums = (np.empty(x.shape, np.int64) for x in (delta, act, weight))
            kernels.conv_forward_fixed(act, weight, weight[:, 0, 0, 0], 2, 3, *window, out)
            kernels.conv_input_gradient_fixed(delta, weight, *window, maps)
            kernels.conv_weight_gradient_fixed(delta, act, 0, *window, sums)
            for one in (out, maps, sums):
                found.update(one.tobytes())
    return found.hexdigest()


@X86
@pytest.mark.parametrize(("cpu", "target"), [("haswell", "avx2"), ("skylake-avx512", "avx512"), ("generic", "portable")])
def test_same_bits_on_every_path(cpu: str, target: str) -> None:
    assert on_path(digest, cpu, target) == [digest()]
