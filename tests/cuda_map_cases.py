"""What each CUDA kernel of maps must write, after the references: a case for every kernel of single elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from tests.fixed_statements import brought, rounded
from tests.reference import maps
from tests.reference.fixed_maps import patches

N, H, W, C, J = 2, 5, 4, 3, 2
F32 = np.float32
random = np.random.default_rng(77)


def real(*shape: int) -> np.ndarray:
    """Return float32 numbers in -2 .. 2."""
    return random.uniform(-2, 2, shape).astype(F32)


def raw(dtype: Any, *shape: int, most: int = 127) -> np.ndarray:  # noqa: ANN401
    """Return integers of a type."""
    return random.integers(max(-most, np.iinfo(dtype).min), most, shape, endpoint=True).astype(dtype)


def new(dtype: Any, *shape: int) -> np.ndarray:  # noqa: ANN401
    """Return an array that a kernel must fill: its old entries must not shine through."""
    return np.full(shape, 77, dtype)


def cast(value: int, shift: int, rounding: str, mode: str, hi: int = 127) -> tuple[int, int]:
    """State a cast into 8 bits: the number, and whether it was outside."""
    return brought(rounded(value, shift, rounding), -hi - 1, hi, mode)


MAP, CODES = real(N, H, W, C), raw(np.int8, N, H, W, C)
CODES[0, 0, 0], CODES[0, 0, 1] = 127, 127  # the first of two equal ones wins
POOLED, PLACES = maps.max_pool(MAP, 3, 1)
BEST, WHERE = maps.max_pool(CODES, 2, 2)
SIGNAL, SUMS = real(*POOLED.shape), raw(np.int32, *BEST.shape, most=2**20)
X, DELTA = real(7, C), real(7, C)
GAIN, SHIFT, MEAN, VAR = 1 + 0.1 * real(C), real(C), real(C), np.abs(real(C))
NORMED = maps.batch_norm(X, GAIN, SHIFT, MEAN, VAR)
NORMAL, INVERSE, CENTRE = NORMED.normal.astype(F32), NORMED.inverse_std.astype(F32), X.astype(float).mean(0)
SQUARES = ((X.astype(float) - CENTRE) ** 2).sum(0)
BACK, GAIN_GRADIENT, _ = maps.batch_norm_backward(DELTA, NORMAL, INVERSE, GAIN)
MEANS, SLOPES = DELTA.mean(0).astype(F32), (GAIN_GRADIENT / 7).astype(F32)
# in fixed point: 7 samples of 3 channels, exponents of each, 4 fraction bits
QX, QN, QD = raw(np.int16, 7, C, most=2000), raw(np.int16, 7, C, most=300), raw(np.int8, 7, C)
QG, QS, EXPONENTS = raw(np.int16, C), raw(np.int16, C), np.array([0, 5, 9], np.int8)
QM, QV = np.array([-3, 17, 400]), np.array([0, 1023, 2**40 + 1])
RUNNING, VARIANCES = np.array([-1000, 77, 5000], np.int32), np.array([9, 2**20, 2**41])
FRAC = 4
RND, SAT, WRAP, TRN = ROUNDINGS["RND"], OVERFLOWS["SAT"], OVERFLOWS["WRAP"], ROUNDINGS["TRN"]
INTO = [[cast(int(QX[m, c] - QM[c]), int(EXPONENTS[c]) - FRAC, "RND", "SAT") for c in range(C)] for m in range(7)]
DRIFTS = [[rounded(int(QN[m, c]) * int(QM[c]), 2 * FRAC, "RND") for c in range(C)] for m in range(7)]
BACKS = [
    [
        cast(int(QG[c]) * (int(QD[m, c]) - int(QV[c] % 99) - DRIFTS[m][c]), int(EXPONENTS[c]) + 3, "TRN", "WRAP")
        for c in range(C)
    ]
    for m in range(7)
]


def values(pairs: list[list[tuple[int, int]]]) -> np.ndarray:
    """Return the numbers of casts."""
    return np.array([[value for value, _ in row] for row in pairs])


def outside(pairs: list[list[tuple[int, int]]]) -> int:
    """Return how many numbers were outside."""
    return sum(was for row in pairs for _, was in row)


def back_rows(delta: np.ndarray, side: int, stride: int, padding: int) -> np.ndarray:
    """Return [(n h w), (r s j)]: the deltas whose windows hold each pixel, 0 where there is none."""
    out = np.zeros((N, H, W, side, side, delta.shape[3]), delta.dtype)
    for p in range(delta.shape[1]):
        for q in range(delta.shape[2]):
            for r in range(side):
                for s in range(side):
                    h, w = p * stride + r - padding, q * stride + s - padding
                    if 0 <= h < H and 0 <= w < W:
                        out[:, h, w, r, s] = delta[:, p, q]
    return out.reshape(N * H * W, -1)


WINDOWS = patches(CODES, (3, 3), 2, 1).astype(int).reshape(-1, 9 * C)
DELTAS, WEIGHT = raw(np.int8, N, 3, 2, J), raw(np.int8, J, 3, 3, C)
PARTS, QPARTS, OUT, QOUT = real(3, 11), raw(np.int32, 3, 11, most=2**20), real(11), raw(np.int32, 11, most=2**20)

# name -> (arguments, what each array that the kernel writes must hold, by position of the argument)
CASES: dict[str, tuple[tuple[Any, ...], dict[int, Any]]] = {
    "add_samples": ((PARTS, 1, OUT), {2: OUT + PARTS.sum(0)}),
    "add_samples_fixed": ((QPARTS, 1, QOUT), {2: QOUT + QPARTS.sum(0)}),
    "copy_windows": ((CODES, 3, 2, 1, 3, 2, new(np.int8, *WINDOWS.shape)), {6: WINDOWS}),
    "copy_deltas": ((DELTAS, 3, 2, 1, H, W, new(np.int8, N * H * W, 9 * J)), {6: back_rows(DELTAS, 3, 2, 1)}),
    "turn_weights": ((WEIGHT, new(np.int8, 9 * J, C)), {1: WEIGHT.transpose(1, 2, 0, 3).reshape(9 * J, C)}),
    "max_pool": ((CODES, 2, 2, new(np.int8, *BEST.shape), new(np.uint8, *BEST.shape)), {3: BEST, 4: WHERE}),
    "max_pool_value": ((MAP, 3, 1, new(F32, *POOLED.shape)), {3: POOLED}),
    "max_unpool": (
        (SIGNAL, PLACES.astype(np.uint8), 3, 1, new(F32, N, H, W, C)),
        {4: maps.max_unpool(SIGNAL, PLACES, 3, 1, (H, W))},
    ),
    "max_unpool_fixed": (
        (SUMS, WHERE.astype(np.uint8), 2, 2, new(np.int32, N, H, W, C)),
        {4: maps.max_unpool(SUMS, WHERE, 2, 2, (H, W))},
    ),
    "average_pool": ((MAP, 3, 1, new(F32, *POOLED.shape)), {3: maps.average_pool(MAP, 3, 1)}),
    "window_sum_fixed": ((CODES, 3, 1, new(np.int32, *POOLED.shape)), {3: 9 * maps.average_pool(CODES, 3, 1)}),
    "average_unpool": ((SIGNAL, 3, 1, new(F32, N, H, W, C)), {3: maps.average_unpool(SIGNAL, 3, 1, (H, W))}),
    "window_spread_fixed": (
        (SUMS, 2, 2, new(np.int32, N, H, W, C)),
        {3: 4 * maps.average_unpool(SUMS, 2, 2, (H, W))},
    ),
    "divide_sums": ((np.array([1.0, -2.5, 7.0]), 7, new(F32, C)), {2: np.array([1.0, -2.5, 7.0]) / 7}),
    "batch_statistics": (
        (CENTRE, SQUARES, 7, 0.1, 1e-5, MEAN, VAR, new(F32, C), new(F32, C)),
        {5: NORMED.running_mean, 6: NORMED.running_var, 7: CENTRE, 8: NORMED.inverse_std},
    ),
    "running_deviation": ((VAR, 1e-5, new(F32, C)), {2: 1 / np.sqrt(VAR + 1e-5)}),
    "batch_norm": (
        (X, GAIN, SHIFT, CENTRE.astype(F32), INVERSE, new(F32, 7, C), new(F32, 7, C)),
        {5: NORMED.normal, 6: NORMED.out},
    ),
    "batch_norm_inference": (
        (X, GAIN, SHIFT, MEAN, (1 / np.sqrt(VAR + 1e-5)).astype(F32), new(F32, 7, C)),
        {5: maps.batch_norm_inference(X, GAIN, SHIFT, MEAN, VAR)},
    ),
    "batch_norm_backward": ((DELTA, NORMAL, INVERSE, GAIN, MEANS, SLOPES, new(F32, 7, C)), {6: BACK}),
    "nearest_means": ((np.array([-9, 6, 7]), 4, new(np.int64, 3)), {2: [-2, 2, 2]}),
    "norm_statistics_fixed": (
        (np.array([6, 7 * 255, 7 * 2**40]), 7, new(np.int64, C), new(np.int8, C)),
        {2: [0, 255, 2**40], 3: [0, 4, 20]},
    ),
    "norm_running_fixed": (
        (QM, QV, RUNNING, VARIANCES),
        {
            2: [r + rounded(256 * int(b) - int(r), 3, "RND") for r, b in zip(RUNNING, QM, strict=True)],
            3: [int(r) + rounded(256 * int(b) - int(r), 3, "RND") for r, b in zip(VARIANCES, QV, strict=True)],
        },
    ),
    "norm_recall_fixed": (
        (RUNNING, VARIANCES, new(np.int64, C), new(np.int64, C)),
        {2: [rounded(int(r), 8, "RND") for r in RUNNING], 3: [(int(v) >> 8).bit_length() // 2 for v in VARIANCES]},
    ),
    "norm_normal_fixed": (
        (QX, QM, EXPONENTS, FRAC, -128, 127, RND, SAT, new(np.int8, 7, C), np.array([5, 6])),
        {8: values(INTO), 9: [5 + outside(INTO), 6]},
    ),
    "norm_scale_fixed": ((QN, QG, QS, 2, 5, new(np.int32, 7, C)), {5: 4 * QN.astype(int) * QG + 32 * QS.astype(int)}),
    "norm_backward_fixed": (
        (QD, QN, QG, EXPONENTS, QV % 99, QM, FRAC, 3, -128, 127, TRN, WRAP, new(np.int8, 7, C), np.array([5, 6])),
        {12: values(BACKS), 13: [5, 6 + outside(BACKS)]},
    ),
}
# those that are made for a size of tile, or for a type of sums
MADE = {"conv_forward", "conv_input_gradient", "conv_weight_gradient"}
MADE |= {f"{name}_fixed" for name in MADE} | {"sum_rows", "sum_squares", "sum_products", "add_parts"}
