"""Convolution and pooling on integers against exact statements: any shape, any storage type, in slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fasim import kernels
from tests.kernel_checks import check, inside, names_of, new

N, H, W, C, J = 3, 7, 6, 3, 5
SIDE, STRIDE, PADDING = 3, 2, 1
P, Q = 4, 3
POOLED = 3, 2
random = np.random.default_rng(73)


def raw(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return integers over the whole range of a type."""
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, shape, dtype, endpoint=True)


def windows(act: np.ndarray, side: int, stride: int, padding: int = 0) -> np.ndarray:
    """Return the window of every output pixel, int64[N, P, Q, R, S, C]."""
    padded = np.pad(act.astype(np.int64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))
    return view[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def put_back(parts: np.ndarray, stride: int, padding: int, height: int, width: int) -> np.ndarray:
    """Add the parts [N, P, Q, R, S, C] of all windows up in a map, int64[N, H, W, C]."""
    samples, rows, columns, side, _, channels = parts.shape
    padded = np.zeros((samples, height + 2 * padding, width + 2 * padding, channels), np.int64)
    for p, q in np.ndindex(rows, columns):
        top, left = p * stride, q * stride
        padded[:, top : top + side, left : left + side] += parts[:, p, q]
    return padded[:, padding : padding + height, padding : padding + width]


def forward(act: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    return np.einsum("npqrsc,jrsc->npqj", windows(act, weight.shape[1], stride, padding), weight.astype(np.int64))


def back(delta: np.ndarray, weight: np.ndarray, stride: int, padding: int, height: int, width: int) -> np.ndarray:
    parts = np.einsum("npqj,jrsc->npqrsc", delta.astype(np.int64), weight.astype(np.int64))
    return put_back(parts, stride, padding, height, width)


def gradient(delta: np.ndarray, act: np.ndarray, side: int, stride: int, padding: int) -> np.ndarray:
    return np.einsum("npqj,npqrsc->jrsc", delta.astype(np.int64), windows(act, side, stride, padding))


def cases(dtype: Any, wide: Any) -> dict[str, tuple[tuple[Any, ...], dict[int, Any]]]:  # noqa: ANN401
    """Return arguments, and what each array that the kernel writes must hold, by position of the argument."""
    act, weight, bias = raw(dtype, N, H, W, C), raw(dtype, J, SIDE, SIDE, C), raw(np.int16, J)
    delta = raw(dtype, N, P, Q, J)
    # few values, so that most windows hold their largest one more than once
    steps = random.integers(-2, 3, (N, H, W, C)).astype(dtype)
    pool = windows(steps, SIDE, STRIDE)
    index = pool.reshape(N, *POOLED, SIDE * SIDE, C).argmax(3)
    hot = (index[:, :, :, None] == np.arange(SIDE * SIDE)[:, None]).reshape(pool.shape)
    signal = raw(dtype, N, *POOLED, C)
    spread = signal.astype(np.int64)[:, :, :, None, None]
    window = SIDE, STRIDE
    return {
        "conv_forward_fixed": (
            (act, weight, bias, 2, 3, STRIDE, PADDING, new(wide, N, P, Q, J)),
            {7: 4 * forward(act, weight, STRIDE, PADDING) + 8 * bias.astype(np.int64)},
        ),
        "conv_input_gradient_fixed": (
            (delta, weight, STRIDE, PADDING, new(wide, N, H, W, C)),
            {4: back(delta, weight, STRIDE, PADDING, H, W)},
        ),
        "conv_weight_gradient_fixed": (
            (delta, act, 1, STRIDE, PADDING, new(wide, 3, SIDE, SIDE, C)),
            {5: gradient(delta, act, SIDE, STRIDE, PADDING)[1:4]},
        ),
        "max_pool_fixed": (
            (steps, *window, new(dtype, N, *POOLED, C), new(np.uint8, N, *POOLED, C)),
            {3: pool.max((3, 4)), 4: index},
        ),
        "max_pool_value_fixed": ((steps, *window, new(dtype, N, *POOLED, C)), {3: pool.max((3, 4))}),
        "max_unpool_fixed": (
            (signal, index.astype(np.uint8), *window, new(wide, N, H, W, C)),
            {4: put_back(hot * spread, STRIDE, 0, H, W)},
        ),
        "window_sum_fixed": ((act, *window, new(wide, N, *POOLED, C)), {3: windows(act, SIDE, STRIDE).sum((3, 4))}),
        "window_spread_fixed": (
            (signal, *window, new(wide, N, H, W, C)),
            {3: put_back(np.ones_like(pool) * spread, STRIDE, 0, H, W)},
        ),
    }


TYPES = [(np.int8, np.int32), (np.int16, np.int64)]
NAMES = names_of("integer_maps", "integer_conv")


def test_every_kernel_of_these_modules_is_here() -> None:
    assert sorted(cases(*TYPES[0])) == NAMES


@pytest.mark.parametrize(("dtype", "wide"), TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_kernel_is_its_statement(name: str, dtype: Any, wide: Any) -> None:  # noqa: ANN401
    check(getattr(kernels, name), *cases(dtype, wide)[name])


@pytest.mark.parametrize("name", NAMES)
def test_kernel_inside_a_compiled_function(name: str) -> None:
    check(inside(getattr(kernels, name)), *cases(*TYPES[0])[name])


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
    p, q = ((size + 2 * padding - side) // stride + 1 for size in (height, width))
    act, weight = raw(np.uint8, N, height, width, channels), raw(np.int8, units, side, side, channels)
    delta = raw(np.int8, N, p, q, units)
    window = stride, padding
    check(
        kernels.conv_forward_fixed,
        (act, weight, np.zeros(units, np.int16), 0, 0, *window, new(np.int32, N, p, q, units)),
        {7: forward(act, weight, *window)},
    )
    check(
        kernels.conv_input_gradient_fixed,
        (delta, weight, *window, new(np.int32, N, height, width, channels)),
        {4: back(delta, weight, *window, height, width)},
    )
    check(
        kernels.conv_weight_gradient_fixed,
        (delta, act, 0, *window, new(np.int32, units, side, side, channels)),
        {5: gradient(delta, act, side, *window)},
    )


# more units, channels and pixels than a tile has, in every remainder; several blocks of rows; padding beyond the kernel
LARGE_SHAPES = [
    (12, 12, 3, 33, 5, 1, 2),
    (10, 11, 17, 50, 3, 2, 1),
    (8, 8, 35, 64, 3, 2, 2),
    (7, 7, 32, 16, 3, 1, 4),
    (6, 6, 2, 5, 1, 3, 3),
    (43, 4, 40, 32, 2, 1, 0),
]
# of map, weights and deltas: by fours, by pairs, by loops
OPERANDS = [
    (np.int8, np.int8, np.int8, np.int32),
    (np.uint8, np.int8, np.int8, np.int32),
    (np.int16, np.int8, np.int16, np.int32),
    (np.uint8, np.int16, np.int8, np.int32),
    (np.int16, np.int16, np.int16, np.int64),
]


def modulo(exact: np.ndarray, dtype: Any) -> np.ndarray:  # noqa: ANN401
    """Return what two's complement of a type keeps of a sum, which is what the kernels add in."""
    return exact.astype(dtype)


@pytest.mark.parametrize("types", OPERANDS, ids=lambda types: "-".join(np.dtype(t).name for t in types))
@pytest.mark.parametrize("shape", LARGE_SHAPES, ids=str)
def test_convolution_beyond_a_tile(shape: tuple[int, ...], types: tuple[Any, ...]) -> None:
    height, width, channels, units, side, *window = shape
    of_map, of_weight, of_delta, wide = types
    p, q = ((size + 2 * window[1] - side) // window[0] + 1 for size in (height, width))
    act, weight = raw(of_map, 2, height, width, channels), raw(of_weight, units, side, side, channels)
    delta, bias = raw(of_delta, 2, p, q, units), raw(np.int16, units)
    out = new(wide, 2, p, q, units)
    kernels.conv_forward_fixed(act, weight, bias, 3, 5, *window, out)
    expected = 8 * forward(act, weight, *window) + 32 * bias.astype(np.int64)
    np.testing.assert_array_equal(out, modulo(expected, wide))
    out = new(wide, 2, height, width, channels)
    kernels.conv_input_gradient_fixed(delta, weight, *window, out)
    np.testing.assert_array_equal(out, modulo(back(delta, weight, *window, height, width), wide))
    out = new(wide, units - 2, side, side, channels)
    kernels.conv_weight_gradient_fixed(delta, act, 1, *window, out)
    np.testing.assert_array_equal(out, modulo(gradient(delta, act, side, *window)[1:-1], wide))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_extreme_numbers(dtype: Any) -> None:  # noqa: ANN401
    other = np.int16 if dtype == np.int16 else np.int8
    few = 1 if dtype == np.int16 else 7
    for left in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        for right in (np.iinfo(other).min, np.iinfo(other).max):
            act, weight = np.full((1, 1, few, 1), left, dtype), np.full((3, 1, 1, 1), right, other)
            out = new(np.int32, 1, 1, few, 3)
            kernels.conv_forward_fixed(act, weight, np.zeros(3, np.int8), 0, 0, 1, 0, out)
            assert (out == left * right).all()
            delta = np.full((1, 1, few, 3), right, other)
            out = new(np.int32, 3, 1, 1, 1)
            kernels.conv_weight_gradient_fixed(delta, act, 0, 1, 0, out)
            assert (out == few * left * right).all()
            if dtype == other:
                out = new(np.int32, 1, 1, few, 1)
                kernels.conv_input_gradient_fixed(delta, weight, 1, 0, out)
                assert (out == modulo(np.int64(3 * right * right), np.int32)).all()


def test_a_result_that_fits_is_exact_though_its_parts_do_not() -> None:
    out = new(np.int32, 1, 1, 1, 1)
    act, weight = np.full((1, 3, 3, 1), -(2**15), np.int16), np.zeros((1, 3, 3, 1), np.int16)
    weight[0, 0] = -(2**15)
    kernels.conv_forward_fixed(act, weight, np.int16([-(2**15)]), 0, 16, 1, 0, out)
    assert out.item() == 3 * 2**30 - 2**31


def test_sums_beyond_32_bits() -> None:
    act, weight = np.full((1, 3, 3, 2), -(2**15), np.int16), np.full((1, 3, 3, 2), -(2**15), np.int16)
    out = new(np.int64, 1, 1, 1, 1)
    kernels.conv_forward_fixed(act, weight, np.ones(1, np.int8), 3, 40, 1, 0, out)
    assert out[0, 0, 0, 0] == 18 * 2**33 + 2**40


@pytest.mark.parametrize("cuts", [(0, 3), (0, 1, 3), (0, 1, 2, 3)])
def test_slices(cuts: tuple[int, ...]) -> None:
    """Rows of a batch; units of a gradient."""
    for name, ((rows, *rest), expected) in cases(*TYPES[0]).items():
        by_rows = name != "conv_weight_gradient_fixed"
        rest = [np.copy(a) if isinstance(a, np.ndarray) else a for a in rest]
        written = {position - 1: result for position, result in expected.items()}
        for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
            part = slice(start, stop)
            if by_rows:
                sliced = {*written, *([0] if name == "max_unpool_fixed" else [])}
                getattr(kernels, name)(rows[part], *(a[part] if i in sliced else a for i, a in enumerate(rest)))
            else:
                kernels.conv_weight_gradient_fixed(rows, rest[0], rest[1] + start, *rest[2:-1], rest[-1][part])
        for position, result in written.items():
            np.testing.assert_array_equal(rest[position], result, err_msg=name)
