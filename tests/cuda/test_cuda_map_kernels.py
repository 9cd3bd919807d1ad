"""CUDA kernels of maps against the references: single elements, sums over rows, and convolutions in the stated order."""

from __future__ import annotations

from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest
from fasim_cuda import Tile

from tests.cuda_map_cases import BACKS, CASES, INTO, C, H, J, N, W, new, outside, raw, real
from tests.cuda_runs import check, launched
from tests.reference import maps

TILES = [Tile(1, 4, 8), Tile(2, 1, 3), Tile(2, 2, 5)]
# side of the window, stride, padding: the way back of the last has phases that no tap meets
WINDOWS = [(3, 1, 1), (3, 2, 1), (2, 3, 0)]


@pytest.mark.parametrize("name", CASES)
def test_kernel_of_elements(name: str) -> None:
    check(getattr(kernels, name), *CASES[name])


@pytest.mark.parametrize("name", ["copy_deltas", "max_unpool", "norm_backward_fixed"])
def test_any_grid_does_the_same(name: str) -> None:
    for blocks, threads in ((1, 1), (3, 5)):
        check(getattr(kernels, name), *CASES[name], blocks=blocks, threads=threads)


def test_casts_of_the_cases_leave_their_range() -> None:
    assert 0 < outside(INTO) < 7 * C
    assert 0 < outside(BACKS) < 7 * C


def test_the_first_samples_start_from_nothing() -> None:
    (parts, _, out), _ = CASES["add_samples"]
    check(kernels.add_samples, (parts, 0, out), {2: parts.sum(0)})
    (parts, _, out), _ = CASES["add_samples_fixed"]
    check(kernels.add_samples_fixed, (parts, 0, out), {2: parts.sum(0)})


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("stretches", [1, 3, 4])
def test_sums_over_rows(dtype: str, stretches: int) -> None:
    """Seven rows in stretches of seven, three and two; stretches are added one after the other."""
    x, y = (raw(np.int16, 7, C), raw(np.int16, 7, C)) if dtype == "int64" else (real(7, C), real(7, C))
    sums, each = kernels.row_sums(dtype), -(-7 // stretches)
    mean = x.mean(0).astype(dtype)
    exact, other = x.astype(np.float64), y.astype(np.float64)
    empty = new(dtype, stretches, C)

    def parts(terms: np.ndarray) -> np.ndarray:
        return np.array([terms[b * each : (b + 1) * each].sum(0) for b in range(stretches)])

    check(sums.sum_rows, (x, empty), {1: parts(exact)})
    check(sums.sum_products, (x, y, empty), {2: parts(exact * other)})
    check(sums.sum_squares, (x, mean, empty), {2: parts((exact - mean) ** 2)})
    given = parts(exact).astype(dtype)
    check(sums.add_parts, (given, new(dtype, C)), {1: given.sum(0)})


def in_order(products: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Add products (..., K), exact in float64, one after the other with one rounding to float32 each."""
    total = start.astype(np.float32) + np.zeros(products.shape[:-1], np.float32)
    for k in range(products.shape[-1]):
        total = (total.astype(np.float64) + products[..., k]).astype(np.float32)
    return total


def padded(act: np.ndarray, padding: int) -> np.ndarray:
    return np.pad(act.astype(np.float64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def read(act: np.ndarray, side: int, stride: int, padding: int) -> np.ndarray:
    """Return (N, P, Q, R S C): the windows."""
    wide = np.lib.stride_tricks.sliding_window_view(padded(act, padding), (side, side), axis=(1, 2))
    return wide[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3).reshape(*_size(side, stride, padding), -1)


def _size(side: int, stride: int, padding: int) -> tuple[int, int, int]:
    return N, (H + 2 * padding - side) // stride + 1, (W + 2 * padding - side) // stride + 1


def sent(delta: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Return (N, H, W, C, P Q J): the products of the way back, 0 where a window does not hold the pixel."""
    side, (_, high, wide, _) = weight.shape[1], delta.shape
    out = np.zeros((N, H, W, C, high, wide, J))
    for p, q, r, s in np.ndindex(high, wide, side, side):
        h, w = p * stride + r - padding, q * stride + s - padding
        if 0 <= h < H and 0 <= w < W:
            out[:, h, w, :, p, q] = delta[:, p, q, None, :].astype(np.float64) * weight[:, r, s].T
    return out.reshape(N, H, W, C, -1)


def blocks(tile: Tile, pixels: int, channels: int) -> dict[str, Any]:
    return {"blocks": (-(-pixels // tile.side), -(-channels // tile.side)), "threads": (tile.threads, tile.threads)}


def phases(stride: int, padding: int) -> list[tuple[int, int, int]]:
    """Return every pair of phases, and how many pixels of all samples it has."""

    def rows(size: int, phase: int) -> int:
        return len([h for h in range(size) if (h + padding) % stride == phase])

    pairs = [(down, across) for down in range(stride) for across in range(stride)]
    return [(down, across, N * rows(H, down) * rows(W, across)) for down, across in pairs]


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize(("side", "stride", "padding"), WINDOWS)
def test_float_convolutions_are_added_in_the_stated_order(side: int, stride: int, padding: int, tile: Tile) -> None:
    act, weight, bias = real(N, H, W, C), real(J, side, side, C), real(J)
    delta, scale = real(*_size(side, stride, padding), J), np.float32(0.5)
    made, window = kernels.float_convolutions(tile), (stride, padding)
    patches = read(act, side, stride, padding)
    expected = in_order(patches[..., None, :] * weight.reshape(J, -1), bias)
    out = new(np.float32, *expected.shape)
    *_, found = launched(made.conv_forward, (act, weight, bias, *window, out), **blocks(tile, out.size // J, J))
    np.testing.assert_array_equal(found, expected)
    found = new(np.float32, N, H, W, C)
    for down, across, pixels in phases(stride, padding):
        arguments = delta, weight, scale, *window, down, across, found
        *_, found = launched(made.conv_input_gradient, arguments, **blocks(tile, pixels, C))
    np.testing.assert_array_equal(found, scale * in_order(sent(delta, weight, stride, padding), np.zeros(1)))
    gradient = kernels.float_gradients(tile).conv_weight_gradient
    out, tiles = new(np.float32, 1, J, side * side * C), -(-J // tile.side)
    *_, found = launched(gradient, (delta, act, 1, side, *window, out), **blocks(tile, tiles * tile.side, out.shape[2]))
    products = delta[1].reshape(-1, J, 1).astype(np.float64) * patches[1].reshape(-1, 1, out.shape[2])
    np.testing.assert_array_equal(found[0], in_order(np.moveaxis(products, 0, -1), np.zeros(1)))


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize(("stored", "sums"), [(np.int8, "int32"), (np.int16, "int64")])
@pytest.mark.parametrize(("side", "stride", "padding"), WINDOWS)
def test_integer_convolutions_are_exact(
    side: int,
    stride: int,
    padding: int,
    stored: Any,  # noqa: ANN401
    sums: str,
    tile: Tile,
) -> None:
    most = np.iinfo(stored).max
    act, weight, bias = (raw(stored, *shape, most=most) for shape in ((N, H, W, C), (J, side, side, C), (J,)))
    act[0], weight[0] = -most - 1, -most - 1  # the largest sums of all
    delta, window = raw(stored, *_size(side, stride, padding), J, most=most), (stride, padding)
    made = kernels.integer_convolutions(sums, tile)
    a, w, d = (array.astype(np.float64) for array in (act, weight, delta))
    expected = 4 * maps.conv_forward(a, w, np.zeros(J), *window) + 8.0 * bias
    out = new(sums, *expected.shape)
    arguments = act, weight, bias, 2, 3, *window, out
    *_, found = launched(made.conv_forward_fixed, arguments, **blocks(tile, out.size // J, J))
    np.testing.assert_array_equal(found, expected)
    found = new(sums, N, H, W, C)
    for down, across, pixels in phases(stride, padding):
        arguments = delta, weight, *window, down, across, found
        *_, found = launched(made.conv_input_gradient_fixed, arguments, **blocks(tile, pixels, C))
    np.testing.assert_array_equal(found, maps.conv_input_gradient(d, w, (H, W), *window))
    gradient, tiles = kernels.integer_gradients(sums, tile).conv_weight_gradient_fixed, -(-J // tile.side)
    out = new(sums, N, J, side * side * C)
    grid = blocks(tile, N * tiles * tile.side, out.shape[2])
    *_, found = launched(gradient, (delta, act, 0, side, *window, out), **grid)
    expected = maps.conv_weight_gradient(d, a, (side, side), *window)
    np.testing.assert_array_equal(found.sum(0).reshape(expected.shape), expected)
