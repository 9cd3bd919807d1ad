"""Every public kernel against a statement in NumPy, alone, inside another's compiled function, and in slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from fasim import kernels
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS, SAT

N, I, J, K = 5, 7, 6, 4  # noqa: E741 - the letters of the docstrings
SEED, SITE = 2**40 + 3, 0xCAFEBABE
STEP = np.array([12], np.int64)
RATE = np.array([0.25])
F32 = np.float32

random = np.random.default_rng(51)


def real(*shape: int) -> np.ndarray:
    """Return float32 numbers in -2 .. 2."""
    return random.uniform(-2, 2, shape).astype(F32)


def raw(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return integers over the whole range of a narrow type."""
    info = np.iinfo(dtype)
    return random.integers(max(info.min, -(2**20)), min(info.max, 2**20), shape, dtype, endpoint=True)


CODES = raw(np.uint8, 9, I)
ORDER = random.integers(0, 9, N)
LABELS = random.integers(0, K, 9)
LABEL = LABELS[ORDER]
X, W, B = real(N, I), real(J, I), real(J)
SIGNAL, MATRIX = real(N, K), real(K, J)
A, Z = np.tanh(real(N, J)), 4 * real(N, J)
P, G, M1, M2 = real(33), real(33), real(33), np.abs(real(33))
DECAY, COUPLED, DECOUPLED, ADAMW = F32(0.125), 0, 1, 2
GP = G + 0.125 * P
ROWS = np.arange(N)
HOT = np.eye(K)[LABEL]

QX, QW, QB = raw(np.uint8, N, I), raw(np.int8, J, I), raw(np.int16, J)
QA, QS = raw(np.int16, N, J), raw(np.int8, N, J)
QE, QM = raw(np.int8, N, K), raw(np.int8, K, J)
QZ, TABLE = raw(np.int8, N, J), raw(np.int16, 256)
QD = raw(np.int8, N, J)
# a block of vectors and a rest
SUM = raw(np.int32, 60)
QP = raw(np.int16, 60)


def exact(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.int64) for array in arrays]


def new(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return an array that a kernel must fill: its old entries must not shine through."""
    return np.full(shape, 77, dtype)


def cast_to_s8(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -128, 127)


x, w, e, m, d = exact(QX, QW, QE, QM, QD)

# name -> (arguments, what each array that the kernel writes must hold, by position of the argument)
CASES: dict[str, tuple[tuple[Any, ...], dict[int, Any]]] = {
    "load_rows": ((CODES, ORDER, F32(2.0**-8), new(F32, N, I)), {3: CODES[ORDER] / 256}),
    "load_standard_rows": ((CODES, ORDER, X[0], X[1], new(F32, N, I)), {4: CODES[ORDER] * X[0] + X[1]}),
    "load_labels": ((LABELS, ORDER, new(np.int64, N)), {2: LABEL}),
    "dense_forward": ((X, W, B, new(F32, N, J)), {3: X @ W.T + B}),
    "dense_forward_batch": ((X, W, B, new(F32, N, J)), {3: X @ W.T + B}),
    "dense_forward_updated": (
        (A[:1], X[:1], W, RATE, X[1:2], B, new(F32, 1, J)),
        {2: W - 0.25 * A[:1].T @ X[:1], 6: X[1:2] @ (W - 0.25 * A[:1].T @ X[:1]).T + B},
    ),
    "project_error": ((SIGNAL, MATRIX, F32(0.3), new(F32, N, J)), {3: 0.3 * SIGNAL @ MATRIX}),
    "project_up": ((X, W, F32(0.3), new(F32, N, J)), {3: 0.3 * X @ W.T}),
    "project_target": ((LABEL, MATRIX, F32(0.3), new(F32, N, J)), {3: 0.3 * MATRIX[LABEL]}),
    "weight_gradient": ((A, X, new(F32, J, I)), {2: A.T @ X}),
    "bias_gradient": ((A, new(F32, J)), {1: A.sum(0)}),
    "tanh": ((Z, new(F32, N, J)), {1: np.tanh(Z)}),
    "sigmoid": ((Z, new(F32, N, J)), {1: 1 / (1 + np.exp(-Z))}),
    "relu": ((Z, new(F32, N, J)), {1: np.maximum(Z, 0)}),
    "linear": ((Z, new(F32, N, J)), {1: Z}),
    "softmax": ((Z, new(F32, N, J)), {1: np.exp(Z) / np.exp(Z).sum(1, keepdims=True)}),
    "tanh_slope": ((A, new(F32, N, J)), {1: 1 - A**2}),
    "sigmoid_slope": ((A, new(F32, N, J)), {1: A * (1 - A)}),
    "relu_slope": ((A, new(F32, N, J)), {1: A > 0}),
    "output_error": ((SIGNAL, LABEL, new(F32, N, K)), {2: SIGNAL - HOT}),
    "residual": ((Z, A, new(F32, N, J)), {2: Z - A}),
    "sign": ((SIGNAL, new(F32, N, K)), {1: np.sign(SIGNAL)}),
    "hidden_delta": ((Z, A, F32(0.3), new(F32, N, J)), {3: 0.3 * Z * A}),
    "linear_delta": ((Z, F32(0.3), new(F32, N, J)), {2: 0.3 * Z}),
    "sgd": ((P, G, RATE, DECAY, DECOUPLED), {0: P - 0.25 * G - 0.125 * P}),
    "momentum": (
        (P, G, M1, RATE, F32(0.9), DECAY, ADAMW),
        {0: P - 0.25 * (0.9 * M1 + G) - 0.25 * 0.125 * P, 2: 0.9 * M1 + G},
    ),
    "nesterov": (
        (P, G, M1, RATE, F32(0.9), DECAY, COUPLED),
        {0: P - 0.25 * (GP + 0.9 * (0.9 * M1 + GP)), 2: 0.9 * M1 + GP},
    ),
    "rmsprop": (
        (P, G, M2, RATE, 0.99, 1e-8, DECAY, COUPLED),
        {0: P - 0.25 * GP / (np.sqrt(0.99 * M2 + 0.01 * GP**2) + 1e-8), 2: 0.99 * M2 + 0.01 * GP**2},
    ),
    "adam": (
        (P, G, M1, M2, RATE, STEP, 0.9, 0.999, 1e-8, F32(0), COUPLED),
        {
            0: P
            - 0.25
            * ((0.9 * M1 + 0.1 * G) / (1 - 0.9**13))
            / (np.sqrt((0.999 * M2 + 0.001 * G**2) / (1 - 0.999**13)) + 1e-8),
            2: 0.9 * M1 + 0.1 * G,
            3: 0.999 * M2 + 0.001 * G**2,
        },
    ),
    "gather_rows": ((CODES, ORDER, new(np.int16, N, I)), {2: CODES[ORDER]}),
    "add_bias_fixed": ((QB, 2, 3, QA.astype(np.int32)), {3: 4 * QA.astype(int) + 8 * QB.astype(int)}),
    "dense_forward_fixed": ((QX, QW, QB, 2, 3, new(np.int32, N, J)), {5: 4 * (x @ w.T) + 8 * QB.astype(np.int64)}),
    "project_error_fixed": ((QE, QM, new(np.int32, N, J)), {2: e @ m}),
    "project_target_fixed": ((LABEL, QM, new(np.int32, N, J)), {2: QM[LABEL]}),
    "look_up": ((QZ, TABLE, -128, new(np.int16, N, J)), {3: TABLE[QZ.astype(int) + 128]}),
    "output_error_fixed": ((QE, LABEL, 128, new(np.int32, N, K)), {3: QE - 128 * HOT}),
    "sign_fixed": ((QE // 64, new(np.int8, N, K)), {1: np.where(QE // 64 < 0, -1, 1)}),
    "multiply_fixed": ((QA, QS, new(np.int32, N, J)), {2: QA.astype(int) * QS}),
    "copy_fixed": ((QA, new(np.int32, N, J)), {1: QA}),
    "project_up_fixed": ((QX, QW, new(np.int32, N, J)), {2: x @ w.T}),
    "relu_fixed": ((QA, new(np.int32, N, J)), {1: np.maximum(QA, 0)}),
    "relu_mask": ((QS // 32, 3, new(np.int8, N, J)), {2: (QS // 32 > 0) & (QS // 32 < 3)}),
    "mask_fixed": ((QA, QS // 64, new(np.int32, N, J)), {2: np.where(QS // 64 != 0, QA, 0)}),
    "divide_by_fixed": ((QA, QS % 8 + 1, new(np.int16, N, J)), {2: np.trunc(QA / (QS % 8 + 1))}),
    "mean_of_two_fixed": ((QA, QS, new(np.int32, N, J)), {2: QA.astype(int) + QS}),
    "mean_of_three_fixed": ((QA, QS, QZ, new(np.int64, N, J)), {3: (QA.astype(int) + QS + QZ) * 341}),
    "residual_fixed": ((QA, QS, 2, 5, new(np.int32, N, J)), {4: 4 * QA.astype(int) - 32 * QS.astype(int)}),
    "perturb_fixed": ((QA, QS // 64, 9, new(np.int32, N, J)), {3: QA.astype(int) + 9 * np.sign(QS // 64)}),
    "clip_fixed": ((SUM, 2**18, new(np.int32, 60)), {2: np.clip(SUM, -(2**18), 2**18)}),
    "weight_gradient_fixed": ((QD, QX, 0, new(np.int32, J, I)), {3: d.T @ x}),
    "bias_gradient_fixed": ((QD, 0, new(np.int32, J)), {2: d.sum(0)}),
    "requantize": (
        (SUM, 11, -128, 127, ROUNDINGS["RND"], SAT, SEED, SITE, 12, 0, new(np.int8, 60), np.array([5, 6])),
        {10: cast_to_s8(np.floor(SUM / 2048 + 0.5)), 11: [5 + np.sum(np.abs(SUM / 2048 + 0.5) > 128), 6]},
    ),
    "update_fixed": (
        (
            *(QP, SUM, 4, np.array([3]), -(2**14), 2**14 - 1, ROUNDINGS["TRN"], OVERFLOWS["WRAP"]),
            *(SEED, SITE, STEP, 0, np.array([5, 6])),
        ),
        {
            0: (QP - SUM // 128 + 2**14) % 2**15 - 2**14,
            12: [5, 6 + np.sum(np.abs(QP - SUM // 128 + 0.5) > 2**14)],
        },
    ),
}


def fresh(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments)


def inside(kernel: Callable[..., None]) -> Callable[..., None]:
    """Return a compiled function that calls the kernel, as users of the package may write one."""

    @njit
    def function(*arguments):
        kernel(*arguments)

    return function


def check(name: str, call: Callable[..., None]) -> None:
    arguments, expected = CASES[name]
    given = fresh(arguments)
    call(*given)
    for position, (argument, before) in enumerate(zip(given, arguments, strict=True)):
        if position not in expected:
            np.testing.assert_array_equal(argument, before, err_msg=f"argument {position} was written")
        elif argument.dtype.kind == "f":
            np.testing.assert_allclose(argument, expected[position], rtol=2e-5, atol=2e-6)
        else:
            np.testing.assert_array_equal(argument, expected[position])


# Modules whose kernels are stated in a file of their own, test_kernels_*.py, which says so by the same test
ELSEWHERE = (
    *("accumulate", "accumulate_conv", "adjust", "conv", "dropout", "factors", "gemm", "integer_conv"),
    *("integer_maps", "integer_norm", "integer_softmax", "integer_sparse", "norm", "observe"),
    *("meet", "move", "move_forward", "move_one", "pool", "random_words", "scalars", "sparse", "split"),
)
CASTS = {"divide_fixed", "momentum_fixed", "requantize_random", "update_by_one", "update_divided", "update_scaled"}


def test_every_public_kernel_is_here() -> None:
    module_of = {name: getattr(kernels, name).__module__.rpartition(".")[2] for name in kernels.__all__}
    assert sorted({*CASES, *CASTS}) == sorted(name for name, module in module_of.items() if module not in ELSEWHERE)


@pytest.mark.parametrize("name", CASES)
def test_kernel_is_its_statement(name: str) -> None:
    check(name, getattr(kernels, name))


@pytest.mark.parametrize("name", CASES)
def test_kernel_inside_a_compiled_function(name: str) -> None:
    check(name, inside(getattr(kernels, name)))


def test_activations_far_out_are_exact_and_finite() -> None:
    z = np.array([[-1e4, -200.0, 200.0, 1e4]], F32)
    out = np.empty_like(z)
    kernels.sigmoid(z, out)
    assert out.tolist() == [[0, 0, 1, 1]]
    kernels.tanh(z, out)
    assert out.tolist() == [[-1, -1, 1, 1]]
    kernels.softmax(z, out)
    assert out.tolist() == [[0, 0, 0, 1]]


def test_sign_of_zero() -> None:
    """0 in float, the sign bit in fixed point."""
    out, fixed_out = np.empty((1, 3), F32), np.empty((1, 3), np.int8)
    kernels.sign(np.array([[-0.5, 0, 0.5]], F32), out)
    kernels.sign_fixed(np.array([[-1, 0, 1]], np.int8), fixed_out)
    assert out.tolist() == [[-1, 0, 1]]
    assert fixed_out.tolist() == [[-1, 1, 1]]


def test_int64_sums_are_exact_beyond_int32() -> None:
    act, weight = np.full((2, 5), 2**15 - 1, np.int16), np.full((3, 5), -(2**15), np.int16)
    total = 5 * (2**15 - 1) * -(2**15)
    out = np.empty((2, 3), np.int64)
    kernels.dense_forward_fixed(act, weight, np.full(3, -7, np.int16), 20, 30, out)
    assert (out == (total << 20) - (7 << 30)).all()
    kernels.project_error_fixed(act, np.ascontiguousarray(weight.T), out)
    assert (out == total).all()
    gradient = np.empty((5, 5), np.int64)
    kernels.weight_gradient_fixed(act, np.full((2, 5), -(2**15), np.int16), 0, gradient)
    assert (gradient == 2 * (2**15 - 1) * -(2**15)).all()


# --- slices -------------------------------------------------------------------------------------

CUTS = [(0, 5), (0, 1, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)]


@pytest.mark.parametrize("cuts", CUTS)
def test_rows_of_a_batch(cuts: tuple[int, ...]) -> None:
    whole, parts = np.empty((N, J), np.int32), np.empty((N, J), np.int32)
    kernels.dense_forward_fixed(QX, QW, QB, 2, 3, whole)
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        kernels.dense_forward_fixed(QX[start:stop], QW, QB, 2, 3, parts[start:stop])
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("cuts", CUTS)
def test_units_of_a_layer(cuts: tuple[int, ...]) -> None:
    delta = QD[:, :5]
    whole, parts = np.empty((5, I), np.int32), np.empty((5, I), np.int32)
    kernels.weight_gradient_fixed(delta, QX, 0, whole)
    bias, bias_parts = np.empty(5, np.int32), np.empty(5, np.int32)
    kernels.bias_gradient_fixed(delta, 0, bias)
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        kernels.weight_gradient_fixed(delta, QX, start, parts[start:stop])
        kernels.bias_gradient_fixed(delta, start, bias_parts[start:stop])
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(bias_parts, bias)
