"""Sparse feedback on integers: exact, equal to the dense kernels on the same matrix, in slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fasim import kernels
from tests.kernel_checks import check, inside, names_of, new

N, J, K, WIDTH = 5, 6, 7, 3
random = np.random.default_rng(74)

# Per unit: WIDTH outputs for ELL; for CSR none, one, all and some
ELL_INDEX = np.sort(random.random((J, K)).argsort(1)[:, :WIDTH], axis=1).astype(np.int32)
COUNTS = (0, 1, K, 2, 0, 4)
CSR_INDEX = np.concatenate([np.sort(random.choice(K, count, replace=False)) for count in COUNTS]).astype(np.int32)
START = np.cumsum((0, *COUNTS)).astype(np.int32)
LABEL = np.array([0, 3, 6, 3, 5])


def cases(dtype: Any, wide: Any) -> dict[str, tuple[tuple[Any, ...], dict[int, Any]]]:  # noqa: ANN401
    """Return arguments, and what out must hold."""
    info = np.iinfo(dtype)
    signal = random.integers(info.min, info.max, (N, K), dtype, endpoint=True)
    in_ell = random.integers(info.min, -1, (J, WIDTH), dtype, endpoint=True)
    in_csr = random.integers(info.min, -1, len(CSR_INDEX), dtype, endpoint=True)
    by_ell, by_csr = np.zeros((K, J), np.int64), np.zeros((K, J), np.int64)
    by_ell[ELL_INDEX, np.arange(J)[:, None]] = in_ell
    by_csr[CSR_INDEX, np.repeat(np.arange(J), COUNTS)] = in_csr
    x = signal.astype(np.int64)
    out = new(wide, N, J)
    return {
        "project_csr_fixed": ((signal, in_csr, CSR_INDEX, START, out), {4: x @ by_csr}),
        "project_ell_fixed": ((signal, in_ell, ELL_INDEX, out), {3: x @ by_ell}),
        "project_target_csr_fixed": ((LABEL, in_csr, CSR_INDEX, START, out), {4: by_csr[LABEL]}),
        "project_target_ell_fixed": ((LABEL, in_ell, ELL_INDEX, out), {3: by_ell[LABEL]}),
    }


TYPES = [(np.int8, np.int32), (np.int16, np.int64)]
NAMES = names_of("integer_sparse")


def test_every_kernel_of_this_module_is_here() -> None:
    assert sorted(cases(*TYPES[0])) == NAMES


@pytest.mark.parametrize(("dtype", "wide"), TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_kernel_is_its_statement(name: str, dtype: Any, wide: Any) -> None:  # noqa: ANN401
    check(getattr(kernels, name), *cases(dtype, wide)[name])


@pytest.mark.parametrize("name", NAMES)
def test_kernel_inside_a_compiled_function(name: str) -> None:
    check(inside(getattr(kernels, name)), *cases(*TYPES[0])[name])


@pytest.mark.parametrize("cuts", [(0, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_rows_of_a_batch(name: str, cuts: tuple[int, ...]) -> None:
    (rows, *rest, out), expected = cases(*TYPES[0])[name]
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        getattr(kernels, name)(rows[start:stop], *rest, out[start:stop])
    np.testing.assert_array_equal(out, expected[max(expected)])
