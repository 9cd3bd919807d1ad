"""The kernels of maps, of shift registers, norms and observing, with the types that a run launches them with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numba import boolean, float32, float64, int8, int16, int32, int64, uint8, uint32, uint64
from numba.core.types import Array

import fasim_cuda as kernels
from fasim_cuda.products import INTEGERS

# one number, a channel's numbers, rows, maps
F, F1, F2, F4 = float32, float32[::1], float32[:, ::1], float32[:, :, :, ::1]
I, I1, I2, I4 = int64, int64[::1], int64[:, ::1], int64[:, :, :, ::1]  # noqa: E741
B1, B2, B4 = int8[::1], int8[:, ::1], int8[:, :, :, ::1]
H1, H2, H4 = int16[::1], int16[:, ::1], int16[:, :, :, ::1]
W1, W2, W4 = int32[::1], int32[:, ::1], int32[:, :, :, ::1]
U2, U4 = uint8[:, ::1], uint8[:, :, :, ::1]
D, D1, D2 = float64, float64[::1], float64[:, ::1]
T1 = uint32[::1]
# a number of which each replica has its own
EACH = Array(int64, 0, "C")
# lo, hi, rounding, overflow
MODES = (I, I, I, I)

ELEMENTS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "add_samples": ((F2, I, F1),),
    "add_samples_fixed": ((W2, I, W1), (I2, I, I1)),
    "copy_windows": ((U4, I, I, I, I, I, U2), (H4, I, I, I, I, I, H2)),
    "copy_deltas": ((B4, I, I, I, I, I, B2), (H4, I, I, I, I, I, H2)),
    "turn_weights": ((B4, B2), (H4, H2)),
    "max_pool": ((F4, I, I, F4, U4), (B4, I, I, B4, U4)),
    "max_pool_value": ((F4, I, I, F4), (B4, I, I, B4)),
    "max_unpool": ((F4, U4, I, I, F4),),
    "max_unpool_fixed": ((W4, U4, I, I, W4), (I4, U4, I, I, I4)),
    "average_pool": ((F4, I, I, F4),),
    "window_sum_fixed": ((B4, I, I, W4), (H4, I, I, I4)),
    "average_unpool": ((F4, I, I, F4),),
    "window_spread_fixed": ((W4, I, I, W4), (I4, I, I, I4)),
    "divide_sums": ((D1, I, F1), (D1, I, D1)),
    "batch_statistics": ((D1, D1, I, D, D, F1, F1, F1, F1),),
    "running_deviation": ((F1, D, F1),),
    "batch_norm": ((F2, F1, F1, F1, F1, F2, F2),),
    "batch_norm_inference": ((F2, F1, F1, F1, F1, F2),),
    "batch_norm_backward": ((F2, F2, F1, F1, F1, F1, F2),),
    "nearest_means": ((I1, I, I1),),
    "norm_statistics_fixed": ((I1, I, I1, B1),),
    "norm_running_fixed": ((I1, I1, W1, I1),),
    "norm_recall_fixed": ((W1, I1, I1, I1),),
    "norm_normal_fixed": ((H2, I1, B1, I, *MODES, H2, I1), (H2, I1, I1, I, *MODES, H2, I1)),
    "norm_scale_fixed": ((H2, H1, H1, I, I, W2), (H2, H1, H1, I, I, I2)),
    "observe": ((B1, I1, I1), (I1, I1, I1)),
    "observe_float": ((F1, I1, F1, I1),),
    "squared_norm": ((F1, I, D1),),
    "rescale": ((F1, D1, F, F1),),
    "lfsr_words": ((uint64[:, ::1], EACH, I, I1, T1),),
    "requantize_random": ((W1, I1, *MODES, T1, I, boolean, B1, I1),),
    "update_scaled": ((H1, W1, I1, I1, I1, *MODES, T1, I, boolean, I, I1),),
    "update_by_one_random": ((H1, W1, I1, I1, I, I, I, T1, I, I1),),
    "norm_backward_fixed": ((B2, H2, H1, B1, I1, I1, I, I, *MODES, B2, I1),),
}
# batch statistics and lengths are reckoned in float64, as on the CPU
IN_FLOAT64 = {"squared_norm", "rescale", "divide_sums", "batch_statistics", "running_deviation"}
IN_FLOAT64 |= {f"float64 {name}" for name in ("sum_rows", "sum_squares", "sum_products", "add_parts")}
# codes and sums of both widths, flat and as maps
STORED = {"int32": (B1, B4, W4), "int64": (H1, H4, I4)}
PARTS = {"int32": int32[:, :, ::1], "int64": int64[:, :, ::1]}
# what each type of sums adds, and what it is read as in the end
ADDED = {"float32": (F2, F1, F2, F1), "float64": (F2, D1, D2, F1), "int64": (H2, I1, I2, W1)}


def made() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield name, kernel and types of those that are made for a tile or for a type of sums."""
    forward, backward = vars(kernels.float_convolutions()).items()
    yield (*forward, (F4, F4, F1, I, I, F4))
    yield (*backward, (F4, F4, F, I, I, I, I, F4))
    for name, kernel in vars(kernels.float_gradients()).items():
        yield name, kernel, (F4, F4, I, I, I, I, float32[:, :, ::1])
    for dtype in INTEGERS:
        bias, codes, sums = STORED[dtype]
        first = U4 if dtype == "int32" else codes
        forward, backward = vars(kernels.integer_convolutions(dtype)).items()
        yield (*forward, (first, codes, bias, I, I, I, I, sums))
        yield (*backward, (codes, codes, I, I, I, I, sums))
        for name, kernel in vars(kernels.integer_gradients(dtype)).items():
            yield name, kernel, (codes, first, I, I, I, I, PARTS[dtype])
    for dtype, (source, mean, parts, out) in ADDED.items():
        sums_of = kernels.row_sums(dtype)
        prefix = "float64 " if dtype == "float64" else ""
        yield prefix + "sum_rows", sums_of.sum_rows, (source, parts)
        yield prefix + "sum_products", sums_of.sum_products, (source, source, parts)
        yield prefix + "add_parts", sums_of.add_parts, (parts, out)
        if dtype != "float32":
            yield prefix + "sum_squares", sums_of.sum_squares, (source, mean, parts)
