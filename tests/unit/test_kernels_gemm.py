"""Float GEMMs against exact integers: every chunk, up to the edge of the exact window, in slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fasim import kernels
from tests.kernel_checks import check, inside, names_of, new

N, I, J, K = 5, 13, 6, 4  # noqa: E741 - the letters of the docstrings
random = np.random.default_rng(72)


def raw(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return integers over the whole range of a type."""
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, shape, dtype, endpoint=True)


def exact(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.int64) for array in arrays]


def product_sum(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    a, b = exact(left, right)
    return a @ b


def cases(dtype: Any, chunk: int) -> dict[str, tuple[tuple[Any, ...], dict[int, Any]]]:  # noqa: ANN401
    """Return arguments without scratch, and what out must hold."""
    act, weight, bias = raw(dtype, N, I), raw(dtype, J, I), raw(np.int16, J)
    signal, matrix, delta = raw(dtype, N, K), raw(dtype, K, J), raw(dtype, N, J)
    wide = np.int32 if dtype == np.int8 else np.int64
    forward = 4 * product_sum(act, weight.T) + 8 * bias.astype(np.int64)
    return {
        "dense_forward_gemm": ((act, weight, bias, 2, 3, chunk, new(wide, N, J)), {6: forward}),
        "project_error_gemm": ((signal, matrix, chunk, new(wide, N, J)), {3: product_sum(signal, matrix)}),
        "weight_gradient_gemm": ((delta, act, 2, chunk, new(wide, 3, I)), {4: product_sum(delta.T[2:5], act)}),
    }


def with_scratch(kernel: Any, dtype: Any, rows: int = 6) -> Any:  # noqa: ANN401
    """Return the kernel with scratch before out, of which it must not read what lay there."""

    def call(*arguments: Any) -> None:  # noqa: ANN401
        scratch = [np.full(size, np.nan, dtype) for size in (J * I, J * I, rows * I)]
        kernel(*arguments[:-1], *scratch, arguments[-1])

    return call


NAMES = names_of("gemm")
# storage and float types; the chunks lie in the exact window
TYPES = [(np.int8, np.float32), (np.int8, np.float64), (np.int16, np.float64)]


def test_every_kernel_of_this_module_is_here() -> None:
    assert sorted(cases(np.int8, 1)) == NAMES


@pytest.mark.parametrize("chunk", [1, 2, 4, 5, 12, 13, 100])
@pytest.mark.parametrize(("dtype", "float_type"), TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_kernel_is_its_statement(name: str, dtype: Any, float_type: Any, chunk: int) -> None:  # noqa: ANN401
    check(with_scratch(getattr(kernels, name), float_type), *cases(dtype, chunk)[name])


@pytest.mark.parametrize("name", NAMES)
def test_kernel_inside_a_compiled_function(name: str) -> None:
    check(with_scratch(inside(getattr(kernels, name)), np.float32), *cases(np.int8, 5)[name])


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_gradient_of_a_few_units_at_once(rows: int) -> None:
    arguments, expected = cases(np.int8, 2)["weight_gradient_gemm"]
    check(with_scratch(kernels.weight_gradient_gemm, np.float32, rows), arguments, expected)


@pytest.mark.parametrize(
    ("dtype", "float_type", "chunk", "terms"),
    [(np.int8, np.float32, 1024, 1024), (np.int8, np.float32, 1024, 3000), (np.int16, np.float64, 2**14, 40000)],
)
def test_full_scale_at_the_edge_of_the_window(dtype: Any, float_type: Any, chunk: int, terms: int) -> None:  # noqa: ANN401
    """1024 * 128 * 128 is 2^24; one chunk more would be rounded, were it added in float32. The last term is odd."""
    low = np.iinfo(dtype).min
    act, weight = np.full((2, terms), low, dtype), np.full((3, terms), low, dtype)
    act[1, -1], weight[1, -1] = -1, -1
    expected = product_sum(act, weight.T)
    assert expected.max() == terms * low**2
    out = new(np.int64, 2, 3)
    sizes = (2 * chunk, 3 * chunk, 6)
    scratch = [np.empty(size, float_type) for size in sizes]
    kernels.dense_forward_gemm(act, weight, np.zeros(3, dtype), 0, 0, chunk, *scratch, out)
    np.testing.assert_array_equal(out, expected)


def test_the_window_matters() -> None:
    """Beyond it a float32 sum is wrong: what the caller's proof is for."""
    act = np.full((1, 1026), -128, np.int8)
    act[0, -1] = 1
    weight = np.full((1, 1026), -128, np.int8)
    weight[0, -1] = 1
    out, scratch = new(np.int64, 1, 1), [np.empty(1026, np.float32) for _ in range(3)]
    kernels.dense_forward_gemm(act, weight, np.zeros(1, np.int8), 0, 0, 1026, *scratch, out)
    assert out[0, 0] != 1025 * 2**14 + 1
    kernels.dense_forward_gemm(act, weight, np.zeros(1, np.int8), 0, 0, 1024, *scratch, out)
    assert out[0, 0] == 1025 * 2**14 + 1


@pytest.mark.parametrize("cuts", [(0, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)])
def test_slices(cuts: tuple[int, ...]) -> None:
    for name in ("dense_forward_gemm", "project_error_gemm"):
        (rows, *rest, out), expected = cases(np.int8, 3)[name]
        call = with_scratch(getattr(kernels, name), np.float32)
        for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
            call(rows[start:stop], *rest, out[start:stop])
        np.testing.assert_array_equal(out, expected[max(expected)])
    (delta, act, *_), _ = cases(np.int8, 3)["weight_gradient_gemm"]
    gradient = new(np.int32, 5, I)
    call = with_scratch(kernels.weight_gradient_gemm, np.float32)
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        call(delta, act, start, 3, gradient[start:stop])
    np.testing.assert_array_equal(gradient, product_sum(delta.T[:5], act))
