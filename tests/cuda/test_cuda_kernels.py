"""Every CUDA kernel of single elements and rows against a statement in NumPy, on a grid that is no divisor of anything."""

from __future__ import annotations

from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest
from fasim_cuda import catalog
from fasim_cuda.replicas import Kernel

from fasim.scalar.philox import random_word
from tests.cuda_map_cases import CASES as MAPS
from tests.cuda_map_cases import MADE
from tests.cuda_runs import check

N, I, J, K = 3, 5, 4, 3  # noqa: E741 - the letters of the docstrings
F32 = np.float32
random = np.random.default_rng(51)


def real(*shape: int) -> np.ndarray:
    """Return float32 numbers in -2 .. 2."""
    return random.uniform(-2, 2, shape).astype(F32)


def raw(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return integers over the whole range of a narrow type."""
    info = np.iinfo(dtype)
    return random.integers(max(info.min, -(2**20)), min(info.max, 2**20), shape, dtype, endpoint=True)


def new(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return an array that a kernel must fill: its old entries must not shine through."""
    return np.full(shape, 77, dtype)


def number(value: int) -> np.ndarray:
    return np.array([value], np.int64)


CODES, ORDER, PLACE = raw(np.uint8, 9, I), random.integers(0, 9, 8), number(4)
ROWS = ORDER[4 : 4 + N]
LABELS = random.integers(0, K, 9)
LABEL, HOT = LABELS[ROWS], np.eye(K)[LABELS[ROWS]]
GAIN, OFFSET, MATRIX = real(I), real(I), real(K, J)
A, Z, Y, P = np.tanh(real(11)), 4 * real(11), real(11), real(11)
ZERO_ONE = np.array([-0.5, 0, 0.5], F32)
ZR, E = 4 * real(N, K), real(N, K)
G = real(N, J)
RATE, DECAY = np.array([0.25], F32), F32(0.125)
QA, QS, QZ, QE = raw(np.int16, 11), raw(np.int8, 11), raw(np.int8, 11), raw(np.int8, N, K)
QM, QD, TABLE = raw(np.int8, K, J), raw(np.int16, N, J), raw(np.int16, 256)
SUM = raw(np.int32, 11)
BIG = np.array([3, -(2**63), 2**62], np.int64)

M1, M2, MU = real(11), np.abs(real(11)), F32(0.9)
COUPLED, STEP, SEED, SITE = Y + 0.125 * P, number(12), 2**40 + 3, 0xCAFEBABE
KEPT = np.array([random_word(SEED, SITE, 12, p) >= 2**31 for p in range(11)])
# per unit 2 outputs for ELL; for CSR none, one, all and two
ELL = np.array([[0, 2], [1, 2], [0, 1], [1, 0]], np.int32)
CSR, START = np.array([1, 0, 1, 2, 0, 2], np.int32), np.array([0, 0, 1, 4, 6], np.int32)
EV, CV, QEV, QCV = real(J, 2), real(6), raw(np.int8, J, 2), raw(np.int8, 6)


def in_ell(values: np.ndarray) -> np.ndarray:
    matrix = np.zeros((K, J))
    for j in range(J):
        matrix[ELL[j], j] = values[j]
    return matrix


def in_csr(values: np.ndarray) -> np.ndarray:
    matrix = np.zeros((K, J))
    for j in range(J):
        matrix[CSR[START[j] : START[j + 1]], j] = values[START[j] : START[j + 1]]
    return matrix


# name -> (arguments, what each array that the kernel writes must hold, by position of the argument)
CASES: dict[str, tuple[tuple[Any, ...], dict[int, Any]]] = {
    "load_rows": ((CODES, ORDER, PLACE, F32(2.0**-8), new(F32, N, I)), {4: CODES[ROWS] / 256}),
    "load_standard_rows": ((CODES, ORDER, PLACE, GAIN, OFFSET, new(F32, N, I)), {5: CODES[ROWS] * GAIN + OFFSET}),
    "gather_rows": ((CODES, ORDER, PLACE, new(np.int16, N, I)), {3: CODES[ROWS]}),
    "load_labels": ((LABELS, ORDER, PLACE, new(np.int64, N)), {3: LABEL}),
    "project_target": ((LABEL, MATRIX, F32(0.3), new(F32, N, J)), {3: 0.3 * MATRIX[LABEL]}),
    "project_target_fixed": ((LABEL, QM, new(np.int32, N, J)), {2: QM[LABEL]}),
    "add_bias": ((Y[:J], G), {1: G + Y[:J]}),
    "bias_gradient": ((G, new(F32, J)), {1: G.sum(0)}),
    "bias_gradient_fixed": ((QD, new(np.int32, J)), {1: QD.sum(0)}),
    "tanh": ((Z, new(F32, 11)), {1: np.tanh(Z)}),
    "sigmoid": ((Z, new(F32, 11)), {1: 1 / (1 + np.exp(-Z))}),
    "relu": ((Z, new(F32, 11)), {1: np.maximum(Z, 0)}),
    "linear": ((Z, new(F32, 11)), {1: Z}),
    "softmax": ((ZR, new(F32, N, K)), {1: np.exp(ZR) / np.exp(ZR).sum(1, keepdims=True)}),
    "tanh_slope": ((A, new(F32, 11)), {1: 1 - A**2}),
    "sigmoid_slope": ((A, new(F32, 11)), {1: A * (1 - A)}),
    "relu_slope": ((ZERO_ONE, new(F32, 3)), {1: [0, 0, 1]}),
    "output_error": ((E, LABEL, new(F32, N, K)), {2: E - HOT}),
    "residual": ((Z, A, new(F32, 11)), {2: Z - A}),
    "sign": ((ZERO_ONE, new(F32, 3)), {1: [-1, 0, 1]}),
    "hidden_delta": ((Z, A, F32(0.3), new(F32, 11)), {3: 0.3 * Z * A}),
    "linear_delta": ((Z, F32(0.3), new(F32, 11)), {2: 0.3 * Z}),
    "mean_of_two": ((Z, A, new(F32, 11)), {2: (Z + A) / 2}),
    "mean_of_three": ((Z, A, Y, new(F32, 11)), {3: (Z + A + Y) / 3}),
    "clip": ((Z, F32(1), new(F32, 11)), {2: np.clip(Z, -1, 1)}),
    "perturb": ((A[:3], ZERO_ONE, F32(0.3), new(F32, 3)), {3: A[:3] + [-0.3, 0, 0.3]}),
    "sgd": ((P, Y, RATE, DECAY, 1), {0: P - 0.25 * Y - 0.125 * P}),
    "momentum": (
        (P, Y, M1, RATE, MU, DECAY, 2),
        {0: P - 0.25 * (0.9 * M1 + Y) - 0.25 * 0.125 * P, 2: 0.9 * M1 + Y},
    ),
    "nesterov": (
        (P, Y, M1, RATE, MU, DECAY, 0),
        {0: P - 0.25 * (COUPLED + 0.9 * (0.9 * M1 + COUPLED)), 2: 0.9 * M1 + COUPLED},
    ),
    "rmsprop": (
        (P, Y, M2, RATE, F32(0.99), F32(0.01), F32(1e-8), DECAY, 0),
        {
            0: P - 0.25 * COUPLED / (np.sqrt(0.99 * M2 + 0.01 * COUPLED**2) + 1e-8),
            2: 0.99 * M2 + 0.01 * COUPLED**2,
        },
    ),
    "adam_rates": (
        (RATE, STEP, 0.9, 0.999, new(F32, 2)),
        {4: [0.25 / (1 - 0.9**13), 1 / np.sqrt(1 - 0.999**13)]},
    ),
    "adam": (
        (P, Y, M1, M2, RATE, F32([0.3, 2]), MU, F32(0.1), F32(0.999), F32(0.001), F32(1e-8), F32(0), 0),
        {
            0: P - 0.3 * (0.9 * M1 + 0.1 * Y) / (2 * np.sqrt(0.999 * M2 + 0.001 * Y**2) + 1e-8),
            2: 0.9 * M1 + 0.1 * Y,
            3: 0.999 * M2 + 0.001 * Y**2,
        },
    ),
    "project_ell": ((E, EV, ELL, F32(0.3), new(F32, N, J)), {4: 0.3 * E @ in_ell(EV)}),
    "project_ell_fixed": ((QE, QEV, ELL, new(np.int32, N, J)), {3: QE @ in_ell(QEV)}),
    "project_csr": ((E, CV, CSR, START, F32(0.3), new(F32, N, J)), {5: 0.3 * E @ in_csr(CV)}),
    "project_csr_fixed": ((QE, QCV, CSR, START, new(np.int32, N, J)), {4: QE @ in_csr(QCV)}),
    "project_target_ell": ((LABEL, EV, ELL, F32(0.3), new(F32, N, J)), {4: 0.3 * in_ell(EV)[LABEL]}),
    "project_target_ell_fixed": ((LABEL, QEV, ELL, new(np.int32, N, J)), {3: in_ell(QEV)[LABEL]}),
    "project_target_csr": ((LABEL, CV, CSR, START, F32(0.3), new(F32, N, J)), {5: 0.3 * in_csr(CV)[LABEL]}),
    "project_target_csr_fixed": ((LABEL, QCV, CSR, START, new(np.int32, N, J)), {4: in_csr(QCV)[LABEL]}),
    "dropout": (
        (Z, 2**31, F32(2), SEED, SITE, STEP, new(F32, 11), new(F32, 11)),
        {6: KEPT, 7: 2 * KEPT * Z},
    ),
    "dropout_fixed": (
        (QA, SEED, SITE, STEP, 2**31, new(np.int8, 11), new(np.int16, 11)),
        {5: KEPT, 6: np.where(KEPT, QA, 0)},
    ),
    "look_up": ((QZ, TABLE, -128, new(np.int16, 11)), {3: TABLE[QZ.astype(int) + 128]}),
    "output_error_fixed": ((QE, LABEL, 128, new(np.int32, N, K)), {3: QE - 128 * HOT}),
    "residual_fixed": ((QA, QS, 2, 5, new(np.int32, 11)), {4: 4 * QA.astype(int) - 32 * QS.astype(int)}),
    "sign_fixed": ((np.array([-1, 0, 1], np.int8), new(np.int8, 3)), {1: [-1, 1, 1]}),
    "multiply_fixed": ((QA, QS, new(np.int32, 11)), {2: QA.astype(int) * QS}),
    "copy_fixed": ((QA, new(np.int32, 11)), {1: QA}),
    "relu_fixed": ((QA, new(np.int32, 11)), {1: np.maximum(QA, 0)}),
    "relu_mask": ((np.array([-1, 0, 1, 2, 3, 4], np.int8), 3, new(np.int8, 6)), {2: [0, 0, 1, 1, 0, 0]}),
    "mask_fixed": ((QA, QS // 64, new(np.int32, 11)), {2: np.where(QS // 64 != 0, QA, 0)}),
    "divide_by_fixed": ((QA, QS % 8 + 1, new(np.int16, 11)), {2: np.trunc(QA / (QS % 8 + 1))}),
    "mean_of_two_fixed": ((QA, QS, new(np.int32, 11)), {2: QA.astype(int) + QS}),
    "mean_of_three_fixed": ((QA, QS, QZ, new(np.int64, 11)), {3: (QA.astype(int) + QS + QZ) * 341}),
    "perturb_fixed": ((QA, QS // 64, 9, new(np.int32, 11)), {3: QA.astype(int) + 9 * np.sign(QS // 64)}),
    "clip_fixed": ((SUM, 2**18, new(np.int32, 11)), {2: np.clip(SUM, -(2**18), 2**18)}),
    "momentum_fixed": ((QA, SUM, 115, 2, 7, new(np.int64, 11)), {5: 4 * 115 * QA.astype(int) + 128 * SUM.astype(int)}),
    "add_exponent": ((number(7), -1, number(3), new(np.int64, 1)), {3: [4]}),
    "largest_magnitude": ((BIG, np.zeros(1, np.uint64)), {1: np.array([2**63], np.uint64)}),
    "advance": ((number(7), number(6), number(12), 4), {0: [8], 1: [7], 2: [16]}),
    "keep_rows": ((E, number(4), np.zeros((6, K), F32)), {2: np.concatenate([np.zeros((4, K)), E[:2]])}),
}
# stated beside this list, or in a file of their own
ELSEWHERE = {"choose_exponent", "divide_fixed", "requantize", "softmax_fixed", "update_by_one", "update_divided"}
ELSEWHERE |= {"update_fixed", "bias_gradient_accumulate", "dense_accumulate"}
ELSEWHERE |= {"project_accumulate", "weight_gradient_accumulate", *MAPS}
ELSEWHERE |= {"lfsr_words", "requantize_random", "update_scaled", "update_by_one_random", "squared_norm", "rescale"}
ELSEWHERE |= {"observe", "observe_float"}


def test_every_kernel_is_stated_and_in_the_catalog() -> None:
    made = {name for name in kernels.__all__ if isinstance(getattr(kernels, name), Kernel)}
    assert made == {*CASES, *ELSEWHERE} == set(catalog.ELEMENTS)
    products = {*vars(kernels.float_products()), *vars(kernels.integer_products("int32")), *MADE}
    assert products == {entry.name.split()[-1] for entry in catalog.entries()} - made


@pytest.mark.parametrize("name", CASES)
def test_kernel_is_its_statement(name: str) -> None:
    check(getattr(kernels, name), *CASES[name])


@pytest.mark.parametrize("name", ["bias_gradient_fixed", "hidden_delta", "largest_magnitude", "load_rows", "softmax"])
def test_any_grid_does_the_same(name: str) -> None:
    for blocks, threads in ((1, 1), (1, 32), (3, 2)):
        check(getattr(kernels, name), *CASES[name], blocks=blocks, threads=threads)


@pytest.mark.parametrize(("kind", "expected"), [(0, 0.5 - 0.25 * (2 + 0.0625)), (1, 0.5 - 0.5 - 0.0625), (2, -0.015625)])
def test_decays_of_gradient_descent(kind: int, expected: float) -> None:
    check(kernels.sgd, (F32([0.5]), F32([2]), RATE, DECAY, kind), {0: [expected]})


def test_relu_of_what_diverged_is_seen() -> None:
    check(kernels.relu, (F32([np.nan, -1, -0.0, 2]), new(F32, 4)), {1: F32([np.nan, 0, -0.0, 2])})


def test_a_diverged_weight_stays_what_it_is_without_decay() -> None:
    check(kernels.sgd, (F32([np.inf]), F32([2]), RATE, F32(0), 1), {0: [np.inf]})


@pytest.mark.parametrize(
    ("largest", "nearest", "expected"),
    [(0, False, 0), (127, False, 0), (128, False, 1), (2**63, False, 57), (90, True, -1), (91, True, 0), (2**63, True, 56)],
)
def test_exponents(largest: int, nearest: bool, expected: int) -> None:
    """sqrt(2) 2^6 = 90.5 lies between the two nearest powers."""
    arguments = np.array([largest], np.uint64), 7, nearest, new(np.int64, 1)
    check(kernels.choose_exponent, arguments, {0: [0], 3: [expected]})


def test_functions_far_out_are_exact_and_finite() -> None:
    z = np.array([-1e4, -200.0, 200.0, 1e4], F32)
    check(kernels.sigmoid, (z, new(F32, 4)), {1: [0, 0, 1, 1]})
    check(kernels.tanh, (z, new(F32, 4)), {1: [-1, -1, 1, 1]})
    check(kernels.softmax, (z.reshape(1, 4), new(F32, 1, 4)), {1: [[0, 0, 0, 1]]})
