"""Kernels of convolution and pooling against NumPy: alone, inside a compiled function, in any shape, in slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fasim import kernels
from fasim.kernels.micro import FUSED
from tests.kernel_checks import check, inside, names_of, new

N, H, W, C, J = 3, 7, 6, 3, 5
SIDE, STRIDE, PADDING = 3, 2, 1
P, Q = 4, 3
POOLED = 3, 2
F32 = np.float32

random = np.random.default_rng(53)


def real(*shape: int) -> np.ndarray:
    """Return float32 numbers in -2 .. 2."""
    return random.uniform(-2, 2, shape).astype(F32)


def windows(act: np.ndarray, side: int, stride: int, padding: int = 0) -> np.ndarray:
    """Return the window of every output pixel, float64[N, P, Q, R, S, C]."""
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(act.astype(np.float64), around)
    view = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))
    return view[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def put_back(parts: np.ndarray, stride: int, padding: int, height: int, width: int) -> np.ndarray:
    """Add the parts [N, P, Q, R, S, C] of all windows up in a map [N, H, W, C], (p, q) ascending, in the parts' type."""
    samples, rows, columns, side, _, channels = parts.shape
    padded = np.zeros((samples, height + 2 * padding, width + 2 * padding, channels), parts.dtype)
    for p in range(rows):
        for q in range(columns):
            top, left = p * stride, q * stride
            padded[:, top : top + side, left : left + side] += parts[:, p, q]
    return padded[:, padding : padding + height, padding : padding + width]


def marked(index: np.ndarray, side: int) -> np.ndarray:
    """Return 1 where an index points, float64[N, P, Q, R, S, C]."""
    hot = index[..., None] == np.arange(side * side)
    return np.moveaxis(hot, -1, 3).reshape(*index.shape[:3], side, side, index.shape[3]).astype(np.float64)


ACT, WEIGHT, BIAS, DELTA = real(N, H, W, C), real(J, SIDE, SIDE, C), real(J), real(N, P, Q, J)
# few values, so that most windows hold their largest one more than once
STEPS = random.integers(-2, 3, (N, H, W, C)).astype(F32)
POOL = windows(STEPS, SIDE, STRIDE)
PLACES = POOL.reshape(N, *POOLED, SIDE * SIDE, C)
INDEX = PLACES.argmax(3)
SIGNAL = real(N, *POOLED, C)

# name -> (arguments, what each array that the kernel writes must hold, by position of the argument)
CASES: dict[str, tuple[tuple[Any, ...], dict[int, Any]]] = {
    "conv_forward": (
        (ACT, WEIGHT, BIAS, STRIDE, PADDING, new(F32, N, P, Q, J)),
        {5: np.einsum("npqrsc,jrsc->npqj", windows(ACT, SIDE, STRIDE, PADDING), WEIGHT) + BIAS},
    ),
    "conv_input_gradient": (
        (DELTA, WEIGHT, F32(0.3), STRIDE, PADDING, new(F32, N, H, W, C)),
        {5: 0.3 * put_back(np.einsum("npqj,jrsc->npqrsc", DELTA.astype(np.float64), WEIGHT), STRIDE, PADDING, H, W)},
    ),
    "conv_weight_gradient": (
        (DELTA, ACT, 0, STRIDE, PADDING, new(F32, J, SIDE, SIDE, C)),
        {5: np.einsum("npqj,npqrsc->jrsc", DELTA, windows(ACT, SIDE, STRIDE, PADDING))},
    ),
    "max_pool": (
        (STEPS, SIDE, STRIDE, new(F32, N, *POOLED, C), new(np.uint8, N, *POOLED, C)),
        {3: POOL.max((3, 4)), 4: INDEX},
    ),
    "max_pool_value": ((STEPS, SIDE, STRIDE, new(F32, N, *POOLED, C)), {3: POOL.max((3, 4))}),
    "max_unpool": (
        (SIGNAL, INDEX.astype(np.uint8), SIDE, STRIDE, new(F32, N, H, W, C)),
        {4: put_back(marked(INDEX, SIDE) * SIGNAL[:, :, :, None, None], STRIDE, 0, H, W)},
    ),
    "average_pool": ((ACT, SIDE, STRIDE, new(F32, N, *POOLED, C)), {3: windows(ACT, SIDE, STRIDE).mean((3, 4))}),
    "average_unpool": (
        (SIGNAL, SIDE, STRIDE, new(F32, N, H, W, C)),
        {3: put_back(np.ones_like(POOL) * SIGNAL[:, :, :, None, None] / 9, STRIDE, 0, H, W)},
    ),
}


def test_every_kernel_of_these_modules_is_here() -> None:
    assert sorted(CASES) == names_of("conv", "pool")


@pytest.mark.parametrize("name", CASES)
def test_kernel_is_its_statement(name: str) -> None:
    check(getattr(kernels, name), *CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_kernel_inside_a_compiled_function(name: str) -> None:
    check(inside(getattr(kernels, name)), *CASES[name])


# --- convolution --------------------------------------------------------------------------------

# H, W, C, J, side, stride, padding: every remainder of pixels, window and units by four; windows that leave gaps or edges
SHAPES = [
    (5, 4, 4, 8, 3, 1, 1),
    (3, 3, 1, 1, 3, 1, 0),
    (4, 5, 2, 6, 1, 1, 0),
    (6, 7, 1, 7, 5, 1, 2),
    (8, 5, 3, 2, 2, 3, 0),
    (9, 8, 2, 4, 2, 2, 1),
    (1, 6, 5, 3, 1, 2, 0),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolution_of_any_shape(shape: tuple[int, ...]) -> None:
    height, width, channels, units, side, stride, padding = shape
    act, weight, bias = real(2, height, width, channels), real(units, side, side, channels), real(units)
    seen = windows(act, side, stride, padding)
    delta = real(*seen.shape[:3], units)
    forward = np.einsum("npqrsc,jrsc->npqj", seen, weight) + bias
    check(kernels.conv_forward, (act, weight, bias, stride, padding, new(F32, *delta.shape)), {5: forward})
    back = put_back(np.einsum("npqj,jrsc->npqrsc", delta.astype(np.float64), weight), stride, padding, height, width)
    check(kernels.conv_input_gradient, (delta, weight, F32(1), stride, padding, new(F32, *act.shape)), {5: back})
    gradient = np.einsum("npqj,npqrsc->jrsc", delta, seen)
    check(kernels.conv_weight_gradient, (delta, act, 0, stride, padding, new(F32, *weight.shape)), {5: gradient})


def whole(*shape: int) -> np.ndarray:
    """Return whole numbers, whose sums are exact."""
    return random.integers(-4, 5, shape).astype(F32)


# more units, channels and pixels than a tile has, in every remainder; several blocks of rows; padding beyond the kernel
LARGE_SHAPES = [
    (12, 12, 3, 33, 5, 1, 2),
    (10, 11, 17, 50, 3, 2, 1),
    (8, 8, 35, 64, 3, 2, 2),
    (7, 7, 32, 16, 3, 1, 4),
    (6, 6, 2, 5, 1, 3, 3),
    (31, 4, 40, 32, 2, 1, 0),
    (9, 9, 1, 1, 4, 5, 3),
]


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("shape", LARGE_SHAPES, ids=str)
def test_convolution_beyond_a_tile(shape: tuple[int, ...], samples: int) -> None:
    """Whole numbers: every sum is exact, in whatever order."""
    height, width, channels, units, side, stride, padding = shape
    act, weight, bias = whole(samples, height, width, channels), whole(units, side, side, channels), whole(units)
    seen = windows(act, side, stride, padding)
    delta = whole(*seen.shape[:3], units)
    arrays = new(F32, *delta.shape), new(F32, *act.shape), new(F32, *weight.shape)
    kernels.conv_forward(act, weight, bias, stride, padding, arrays[0])
    np.testing.assert_array_equal(arrays[0], np.einsum("npqrsc,jrsc->npqj", seen, weight) + bias)
    kernels.conv_input_gradient(delta, weight, F32(0.5), stride, padding, arrays[1])
    parts = np.einsum("npqj,jrsc->npqrsc", delta.astype(np.float64), weight)
    np.testing.assert_array_equal(arrays[1], 0.5 * put_back(parts, stride, padding, height, width))
    kernels.conv_weight_gradient(delta, act, 0, stride, padding, arrays[2])
    np.testing.assert_array_equal(arrays[2], np.einsum("npqj,npqrsc->jrsc", delta, seen))


def fused(total: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return ``total + x y`` of float32, rounded once where this CPU can.

    A product is exact in float64 and its sum with a float32 is rounded to 53 bits first: the second rounding differs from a
    fused one only at a tie, which these numbers do not have.
    """
    if not FUSED:
        return total + x * y
    return (total.astype(np.float64) + x.astype(np.float64) * y.astype(np.float64)).astype(F32)


def test_convolution_sums_in_the_stated_order() -> None:
    """Bit for bit, as NumPy adds: no vector unit and no tile reorders a sum."""
    seen = windows(ACT, SIDE, STRIDE, PADDING).astype(F32)
    forward = np.broadcast_to(BIAS, DELTA.shape).copy()
    for r, s, c in np.ndindex(SIDE, SIDE, C):
        forward = fused(forward, seen[:, :, :, r, s, c, None], WEIGHT[:, r, s, c])
    found = new(F32, N, P, Q, J)
    kernels.conv_forward(ACT, WEIGHT, BIAS, STRIDE, PADDING, found)
    np.testing.assert_array_equal(found, forward)

    back = np.zeros(ACT.shape, F32)
    for h, w, p, q in np.ndindex(H, W, P, Q):
        r, s = h + PADDING - p * STRIDE, w + PADDING - q * STRIDE
        if 0 <= r < SIDE and 0 <= s < SIDE:
            for j in range(J):
                back[:, h, w] = fused(back[:, h, w], DELTA[:, p, q, j, None], WEIGHT[j, r, s])
    found = new(F32, N, H, W, C)
    kernels.conv_input_gradient(DELTA, WEIGHT, F32(0.3), STRIDE, PADDING, found)
    np.testing.assert_array_equal(found, F32(0.3) * back)

    gradient = np.zeros(WEIGHT.shape, F32)
    for n in range(N):
        of_sample = np.zeros(WEIGHT.shape, F32)
        for p, q in np.ndindex(P, Q):
            of_sample = fused(of_sample, DELTA[n, p, q, :, None, None, None], seen[n, p, q])
        gradient += of_sample
    for first in (0, 1):
        found = new(F32, *WEIGHT[first:].shape)
        kernels.conv_weight_gradient(DELTA, ACT, first, STRIDE, PADDING, found)
        np.testing.assert_array_equal(found, gradient[first:])


BY_SAMPLE = (
    "average_pool",
    "average_unpool",
    "conv_forward",
    "conv_input_gradient",
    "max_pool",
    "max_pool_value",
    "max_unpool",
)


@pytest.mark.parametrize("name", BY_SAMPLE)
def test_samples_of_a_batch(name: str) -> None:
    """Bit for bit: the order of summation does not know the batch."""
    arguments, expected = CASES[name]
    kernel = getattr(kernels, name)
    whole = [np.copy(a) if position in expected else a for position, a in enumerate(arguments)]
    kernel(*whole)
    for n in range(N):
        part = [
            np.copy(a[n : n + 1]) if isinstance(a, np.ndarray) and a.ndim == 4 and len(a) == N else a for a in arguments
        ]
        kernel(*part)
        for position in expected:
            np.testing.assert_array_equal(part[position][0], whole[position][n])


# --- pooling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("index_type", [np.uint8, np.uint16])
@pytest.mark.parametrize(("side", "stride"), [(1, 1), (2, 2), (2, 1), (3, 1), (2, 3), (5, 2)])
def test_pooling_of_any_window(side: int, stride: int, index_type: Any) -> None:  # noqa: ANN401
    seen = windows(STEPS, side, stride)
    shape = (*seen.shape[:3], C)
    index = seen.reshape(*shape[:3], side * side, C).argmax(3)
    arguments = STEPS, side, stride, new(F32, *shape), new(index_type, *shape)
    check(kernels.max_pool, arguments, {3: seen.max((3, 4)), 4: index})
    check(kernels.max_pool_value, arguments[:4], {3: seen.max((3, 4))})
    check(kernels.average_pool, arguments[:4], {3: seen.mean((3, 4))})
    signal = real(*shape)
    spread = signal.astype(np.float64)[:, :, :, None, None]
    back = put_back(marked(index, side) * spread, stride, 0, H, W)
    check(kernels.max_unpool, (signal, index.astype(index_type), side, stride, new(F32, N, H, W, C)), {4: back})
    back = put_back(np.ones_like(seen) * spread / side**2, stride, 0, H, W)
    check(kernels.average_unpool, (signal, side, stride, new(F32, N, H, W, C)), {3: back})


def test_index_of_a_window_beyond_uint8() -> None:
    act = np.zeros((1, 17, 17, 1), F32)
    act[0, 16, 15] = 1
    out, index = new(F32, 1, 1, 1, 1), new(np.uint16, 1, 1, 1, 1)
    kernels.max_pool(act, 17, 17, out, index)
    assert (out.item(), index.item()) == (1, 16 * 17 + 15)
    back = new(F32, 1, 17, 17, 1)
    kernels.max_unpool(out, index, 17, 17, back)
    np.testing.assert_array_equal(back, act)


def test_pooling_of_numbers_below_zero_and_of_infinities() -> None:
    act = np.array([[-3, -2, -np.inf, -np.inf]], F32).reshape(1, 2, 2, 1)
    out, index = new(F32, 1, 1, 1, 1), new(np.uint8, 1, 1, 1, 1)
    kernels.max_pool(act, 2, 2, out, index)
    assert (out.item(), index.item()) == (-2, 1)
    act[:] = -np.inf
    kernels.max_pool(act, 2, 2, out, index)
    assert (out.item(), index.item()) == (-np.inf, 0)


def test_an_index_that_no_window_has_writes_nowhere() -> None:
    arguments = SIGNAL, np.full(SIGNAL.shape, 200, np.uint8), SIDE, STRIDE, new(F32, N, H, W, C)
    check(kernels.max_unpool, arguments, {4: np.zeros((N, H, W, C))})
