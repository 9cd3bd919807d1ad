"""The kernels of sparse feedback against NumPy: alone, inside a compiled function, in slices, at full density."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from fasim import kernels

N, J, K, WIDTH = 5, 6, 7, 3
F32 = np.float32

random = np.random.default_rng(52)

# Per unit: WIDTH outputs for ELL; for CSR none, one, all and some
ELL_INDEX = np.sort(random.random((J, K)).argsort(1)[:, :WIDTH], axis=1).astype(np.int32)
COUNTS = (0, 1, K, 2, 0, 4)
CSR_INDEX = np.concatenate([np.sort(random.choice(K, count, replace=False)) for count in COUNTS]).astype(np.int32)
START = np.cumsum((0, *COUNTS)).astype(np.int32)
LABEL = np.array([0, 3, 6, 3, 5])

REAL = random.uniform(-2, 2, (N, K)).astype(F32)
BYTES = random.integers(-128, 127, (N, K), np.int8, endpoint=True)
SHORTS = random.integers(-(2**15), 2**15 - 1, (N, K), np.int16, endpoint=True)


def values(like: np.ndarray, *shape: int) -> np.ndarray:
    """Return values of the type of a signal over its whole range, none of them 0."""
    if like.dtype == F32:
        return random.uniform(0.5, 2, shape).astype(F32)
    info = np.iinfo(like.dtype)
    return random.integers(info.min, -1, shape, like.dtype, endpoint=True)


def ell_matrix(entries: np.ndarray) -> np.ndarray:
    matrix = np.zeros((K, J), np.float64 if entries.dtype == F32 else np.int64)
    for j in range(J):
        for place, k in enumerate(ELL_INDEX[j]):
            matrix[k, j] = entries[j, place]
    return matrix


def csr_matrix(entries: np.ndarray) -> np.ndarray:
    matrix = np.zeros((K, J), np.float64 if entries.dtype == F32 else np.int64)
    for j in range(J):
        for place in range(START[j], START[j + 1]):
            matrix[CSR_INDEX[place], j] = entries[place]
    return matrix


def cases(signal: np.ndarray, out_type: Any, scale: Any) -> dict[str, tuple[tuple[Any, ...], np.ndarray]]:  # noqa: ANN401
    """Return arguments, out last, and what out must hold."""
    in_ell, in_csr = values(signal, J, WIDTH), values(signal, len(CSR_INDEX))
    by_ell, by_csr = ell_matrix(in_ell), csr_matrix(in_csr)
    x = signal.astype(by_ell.dtype)
    out = np.full((N, J), 77, out_type)
    return {
        "project_ell": ((signal, in_ell, ELL_INDEX, scale, out), scale * (x @ by_ell)),
        "project_csr": ((signal, in_csr, CSR_INDEX, START, scale, out), scale * (x @ by_csr)),
        "project_target_ell": ((LABEL, in_ell, ELL_INDEX, scale, out), scale * by_ell[LABEL]),
        "project_target_csr": ((LABEL, in_csr, CSR_INDEX, START, scale, out), scale * by_csr[LABEL]),
    }


FLOAT = cases(REAL, F32, F32(0.3))
FIXED = {
    "s8": cases(BYTES, np.int32, 1),
    "s16": cases(SHORTS, np.int64, 1),
}


def check(call: Callable[..., None], arguments: tuple[Any, ...], expected: np.ndarray) -> None:
    given = tuple(np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments)
    call(*given)
    for argument, before in zip(given[:-1], arguments[:-1], strict=True):
        np.testing.assert_array_equal(argument, before, err_msg="an input was written")
    if given[-1].dtype == F32:
        np.testing.assert_allclose(given[-1], expected, rtol=2e-5, atol=2e-6)
    else:
        np.testing.assert_array_equal(given[-1], expected)


def test_every_sparse_kernel_is_here() -> None:
    assert sorted(FLOAT) == sorted(n for n in kernels.__all__ if getattr(kernels, n).__module__ == "fasim.kernels.sparse")


@pytest.mark.parametrize("name", FLOAT)
def test_kernel_is_its_statement(name: str) -> None:
    check(getattr(kernels, name), *FLOAT[name])


@pytest.mark.parametrize("name", FLOAT)
@pytest.mark.parametrize("datapath", FIXED)
def test_kernel_is_exact_on_integers(datapath: str, name: str) -> None:
    check(getattr(kernels, name), *FIXED[datapath][name])


@pytest.mark.parametrize("name", FLOAT)
def test_kernel_inside_a_compiled_function(name: str) -> None:
    kernel = getattr(kernels, name)

    @njit
    def function(*arguments):
        kernel(*arguments)

    check(function, *FLOAT[name])


@pytest.mark.parametrize("cuts", [(0, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)])
@pytest.mark.parametrize("name", FLOAT)
def test_rows_of_a_batch(name: str, cuts: tuple[int, ...]) -> None:
    """Bit for bit, although in float32: the order of summation does not know the batch."""
    kernel, (rows, *rest, _) = getattr(kernels, name), FLOAT[name][0]
    whole, parts = np.empty((N, J), F32), np.empty((N, J), F32)
    kernel(rows, *rest, whole)
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        kernel(rows[start:stop], *rest, parts[start:stop])
    np.testing.assert_array_equal(parts, whole)


def test_sums_are_float32_in_ascending_order() -> None:
    """2^24 + 1 + 1 is 2^24 in float32 from the left, 2^24 + 2 from the right or in float64."""
    signal, index = np.ones((1, 3), F32), np.array([[0, 1, 2]], np.int32)
    entries = np.array([[2.0**24, 1, 1]], F32)
    out = np.empty((1, 1), F32)
    kernels.project_ell(signal, entries, index, F32(1), out)
    assert out[0, 0] == 2**24
    kernels.project_csr(signal, entries[0], index[0], np.array([0, 3], np.int32), F32(1), out)
    assert out[0, 0] == 2**24


def test_full_density_equals_the_dense_kernels() -> None:
    """With whole numbers every sum is exact in float32, so the order of BLAS does not matter."""
    signal, matrix = BYTES.astype(F32), random.integers(-128, 127, (K, J)).astype(F32)
    index = np.tile(np.arange(K, dtype=np.int32), (J, 1))
    start = np.arange(0, J * K + 1, K, dtype=np.int32)
    entries = np.ascontiguousarray(matrix.T)
    dense, ell, csr = (np.empty((N, J), F32) for _ in range(3))
    scale = F32(0.5)
    kernels.project_error(signal, matrix, scale, dense)
    kernels.project_ell(signal, entries, index, scale, ell)
    kernels.project_csr(signal, entries.ravel(), index.ravel(), start, scale, csr)
    assert dense.tobytes() == ell.tobytes() == csr.tobytes()
    kernels.project_target(LABEL, matrix, scale, dense)
    kernels.project_target_ell(LABEL, entries, index, scale, ell)
    kernels.project_target_csr(LABEL, entries.ravel(), index.ravel(), start, scale, csr)
    assert dense.tobytes() == ell.tobytes() == csr.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
@pytest.mark.parametrize("units", [1, 16, 37])
def test_a_few_rows_and_many_have_the_same_bits(units: int, rows: int, dtype: type) -> None:
    """A vector of units at a time from 4 rows on; sums in the stated order, one rounding a product and a sum."""
    draw, outputs, scale = np.random.default_rng(units), 12, dtype(3)
    counts = draw.integers(0, 6, units)
    lists = [np.sort(draw.choice(outputs, count, replace=False)) for count in counts]
    start, index = np.cumsum([0, *counts]).astype(np.int32), np.concatenate(lists).astype(np.int32)
    ell = np.array([np.sort(draw.choice(outputs, 3, replace=False)) for _ in range(units)], np.int32)
    signal = draw.integers(-1000, 1000, (rows, outputs)).astype(dtype)
    values, entries = (draw.integers(-1000, 1000, size).astype(dtype) for size in ((units, 3), len(index)))
    if dtype == np.float32:
        signal, values, entries = (array / np.float32(7) for array in (signal, values, entries))
    label = draw.integers(0, outputs, rows)

    def stated(n: int, wired: np.ndarray, numbers: np.ndarray) -> tuple[object, object]:
        total, found = dtype(0), dtype(0)
        for k, number in zip(wired, numbers, strict=True):
            total = dtype(total + signal[n, k] * number)
            found = number if k == label[n] else found
        return scale * total, scale * found

    by_unit = [(entries[a:b], index[a:b]) for a, b in zip(start[:-1], start[1:], strict=True)]
    for name, given, pairs in (
        ("ell", (values, ell), list(zip(ell, values, strict=True))),
        ("csr", (entries, index, start), [(wired, numbers) for numbers, wired in by_unit]),
    ):
        expected = np.array([[stated(n, *pair) for pair in pairs] for n in range(rows)], dtype)
        for kernel, first, place in ((f"project_{name}", signal, 0), (f"project_target_{name}", label, 1)):
            out = np.full((rows, units), 77, dtype)
            getattr(kernels, kernel)(first, *given, scale, out)
            np.testing.assert_array_equal(out, expected[..., place], err_msg=kernel)
