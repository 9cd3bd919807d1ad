"""Products of matrices on the device: exact in integers, in the stated order in float32, the same bits for any tile."""

from __future__ import annotations

from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest
from fasim_cuda import Tile

from tests.cuda_runs import launched

# letters as in the docstrings; no size is a multiple of a tile
N, I, J = 5, 7, 6  # noqa: E741
TILES = [Tile(2, 4, 8), Tile(2, 1, 1), Tile(3, 2, 5), Tile(2, 1, 16)]
random = np.random.default_rng(7)


def grid(tile: Tile, rows: int, columns: int) -> dict[str, Any]:
    return {"blocks": (-(-columns // tile.side), -(-rows // tile.side)), "threads": (tile.threads, tile.threads)}


def real(*shape: int) -> np.ndarray:
    return random.uniform(-2, 2, shape).astype(np.float32)


def ascending(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """State ``left @ right``: terms in ascending order, each added with one rounding."""
    total = np.zeros((left.shape[0], right.shape[1]), np.float32)
    for k in range(left.shape[1]):
        # a product of two float32 is exact in float64; rounding their sum twice is seen to change nothing here
        total = (total + left[:, k, None].astype(np.float64) * right[k].astype(np.float64)).astype(np.float32)
    return total


ACT, WEIGHT, BIAS, DELTA = real(N, I), real(J, I), real(J), real(N, J)
SCALE = np.float32(0.5)
FLOATS: dict[str, tuple[tuple[Any, ...], np.ndarray]] = {
    "dense_forward": ((ACT, WEIGHT, BIAS), ascending(ACT, WEIGHT.T) + BIAS),
    "project_error": ((DELTA, WEIGHT, SCALE), SCALE * ascending(DELTA, WEIGHT)),
    "project_up": ((ACT, WEIGHT, SCALE), SCALE * ascending(ACT, WEIGHT.T)),
    "weight_gradient": ((DELTA, ACT), ascending(DELTA.T, ACT)),
}


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("name", FLOATS)
def test_float_products_are_added_in_ascending_order(name: str, tile: Tile) -> None:
    arguments, expected = FLOATS[name]
    out = np.full(expected.shape, 77, np.float32)
    *_, found = launched(getattr(kernels.float_products(tile), name), (*arguments, out), **grid(tile, *expected.shape))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize(("stored", "sums"), [(np.int8, "int32"), (np.int16, "int64")])
def test_integer_products_are_exact(stored: Any, sums: str, tile: Tile) -> None:  # noqa: ANN401
    info = np.iinfo(stored)
    act, weight, delta = (
        random.integers(info.min, info.max, shape, stored, endpoint=True) for shape in ((N, I), (J, I), (N, J))
    )
    act[0], weight[0] = info.min, info.min  # the largest sums of all
    bias = random.integers(info.min, info.max, J, stored, endpoint=True)
    a, w, d = (array.astype(np.int64) for array in (act, weight, delta))
    stated: dict[str, tuple[tuple[Any, ...], np.ndarray]] = {
        "dense_forward_fixed": ((act, weight, bias, 2, 3), 4 * (a @ w.T) + 8 * bias.astype(np.int64)),
        "project_error_fixed": ((delta, weight), d @ w),
        "project_up_fixed": ((act, weight), a @ w.T),
        "weight_gradient_fixed": ((delta, act), d.T @ a),
    }
    made = vars(kernels.integer_products(sums, tile))
    assert made.keys() == stated.keys()
    for name, (arguments, expected) in stated.items():
        out = np.full(expected.shape, 77, sums)
        *_, found = launched(made[name], (*arguments, out), **grid(tile, *expected.shape))
        np.testing.assert_array_equal(found, expected, err_msg=name)
