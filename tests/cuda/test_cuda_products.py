"""Products of matrices on the device: exact in integers, in the stated order in float32, the same bits for any tile."""

from __future__ import annotations

from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest
from fasim_cuda import Tile
from fasim_cuda.words import dot_twin, flip, packed

from tests.cuda_runs import check, launched, quick_switches

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


MMA_TILE = Tile(8, 2, 8)
# of each type, rows, terms and columns: words that are not full, slices that are not full, several blocks, no terms at all
BYTE_CASES = [
    ("dp4a", Tile(2, 2, 2), (5, 7, 6)),
    ("dp4a", Tile(1, 1, 1), (2, 9, 3)),
    ("dp4a", Tile(3, 2, 5), (7, 41, 5)),
    ("dp4a", Tile(2, 2, 2), (3, 0, 2)),
    ("mma", MMA_TILE, (17, 37, 9)),
    ("mma", Tile(8, 4, 8), (20, 35, 30)),
]


@pytest.mark.parametrize(("left", "right"), [("int8", "int8"), ("uint8", "int8"), ("int8", "uint8")])
@pytest.mark.parametrize(("way", "tile", "sizes"), BYTE_CASES, ids=str)
def test_products_of_bytes_are_exact(way: str, tile: Tile, sizes: tuple[int, ...], left: str, right: str) -> None:
    rows, terms, columns = sizes
    one, other = (
        random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        for dtype, shape in ((left, (rows, terms)), (right, (terms, columns)))
    )
    one[0], other[:, 0] = np.iinfo(left).min, np.iinfo(right).min
    one[1], other[:, 1] = np.iinfo(left).max, np.iinfo(right).max
    product = one.astype(np.int64) @ other.astype(np.int64)
    bias = random.integers(-128, 127, columns, np.int8, endpoint=True)
    stated: dict[str, tuple[tuple[Any, ...], np.ndarray]] = {
        "dense_forward_fixed": ((one, other.T, bias, 2, 3), 4 * product + 8 * bias.astype(np.int64)),
        "project_error_fixed": ((one, other), product),
        "project_up_fixed": ((one, other.T), product),
        "weight_gradient_fixed": ((one.T, other), product),
    }
    made = vars(kernels.byte_products(way, left, right, tile))
    assert made.keys() == stated.keys() == vars(kernels.integer_products("int32")).keys()
    for name, (arguments, expected) in stated.items():
        out = np.full(expected.shape, 77, np.int32)
        check(made[name], (*arguments, out), {len(arguments): expected}, **grid(tile, rows, columns))


def test_a_replica_of_its_own_bytes_is_its_own_product() -> None:
    act, weight = (random.integers(-128, 127, shape, np.int8) for shape in ((3, N, I), (1, J, I)))
    given = [kernels.cuda.to_device(array) for array in (act, weight, np.zeros((3, N, J), np.int32))]
    tile = Tile(2, 4, 2)
    with quick_switches():
        kernels.byte_products("dp4a", tile=tile).project_up_fixed[(1, 1, 3), (2, 2)](*given)
    np.testing.assert_array_equal(given[2].copy_to_host(), act.astype(int) @ weight[0].T.astype(int))


def test_fragments_need_a_tile_that_holds_them() -> None:
    fitting = {
        tile: kernels.fits_mma(tile) for tile in (MMA_TILE, Tile(16, 4, 16), Tile(8, 1, 8), Tile(2, 8, 8), Tile(8, 2, 4))
    }
    assert list(fitting.values()) == [True, True, False, False, False]
    with pytest.raises(ValueError, match="has no place for fragments of 16 x 8"):
        kernels.byte_products("mma", tile=Tile(2, 2, 4))


@pytest.mark.parametrize(("left", "right"), [("int8", "int8"), ("uint8", "int8"), ("int8", "uint8")])
def test_the_twin_of_dp4a_is_what_the_manual_says_of_it(left: str, right: str) -> None:
    """PTX: four bytes of each word are taken by their types and multiplied, the products are added to the 32-bit number."""
    x, y = (
        random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (50, 4), dtype, endpoint=True) for dtype in (left, right)
    )
    for one, other in zip(x, y, strict=True):
        words = [packed(*four) for four in (one, other)]
        assert words == [int(np.frombuffer(four.tobytes(), "<i4")[0]) for four in (one, other)]
        expected = 7 + int(one.astype(int) @ other.astype(int))
        assert dot_twin(np.int32(7), *words, flip(left), flip(right)) == expected
