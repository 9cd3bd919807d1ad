"""Binding of batch normalisation and of sums over the pixels of maps for the CUDA backend: one op becomes launches.

Sums over all rows need two launches, by stretches of rows and over stretches; their number follows from the rows alone.
"""

from __future__ import annotations

import math

import numpy as np

from fasim.backends.cuda_bind import DeviceArray, Launch, Operands
from fasim.backends.cuda_maps import channels, is_fixed
from fasim.schedule import Op, Value

# PyTorch's defaults
MOMENTUM, EPS = 0.1, 1e-5


def _summed(o: Operands, dtype: str, name: str, given: tuple[DeviceArray, ...], out: DeviceArray) -> list[Launch]:
    """Return launches that sum something over the rows of matrices, by channel."""
    sums = o.kernels.row_sums(dtype)
    rows, depth = given[0].shape
    stretches = math.isqrt(rows - 1) + 1 if rows else 1
    parts = o.zeros(stretches * depth, np.dtype(dtype).type).reshape(stretches, depth)
    return [Launch(getattr(sums, name), (*given, parts), parts.size), Launch(sums.add_parts, (parts, out), depth)]


def _of_reads(o: Operands, values: tuple[Value, ...]) -> tuple[DeviceArray, ...]:
    return tuple(channels(o, value) for value in values)


# --- float32 -----------------------------------------------------------------------------------------------------------


def norm(op: Op, o: Operands) -> list[Launch]:
    """Bind NORM in float32: mean, deviation, then each element."""
    preact, (gain, shift, *running) = channels(o, op.reads[0]), o.read[1:]
    normed, normal = _of_reads(o, op.writes[:2])
    inverse = o.arrays[op.writes[2].tensor]
    rows, depth = preact.shape
    if len(op.writes) == 3:  # a pass that must not move the running statistics
        running = [o.zeros(depth, np.float32) for _ in running]
    mean, squares, centre = o.zeros(depth, np.float64), o.zeros(depth, np.float64), o.zeros(depth, np.float32)
    return [
        *_summed(o, "float64", "sum_rows", (preact,), mean),
        Launch(o.kernels.divide_sums, (mean, rows, mean), depth),
        *_summed(o, "float64", "sum_squares", (preact, mean), squares),
        Launch(o.kernels.batch_statistics, (mean, squares, rows, MOMENTUM, EPS, *running, centre, inverse), depth),
        Launch(o.kernels.batch_norm, (preact, gain, shift, centre, inverse, normal, normed), normed.size),
    ]


def norm_inference(op: Op, o: Operands) -> list[Launch]:
    """Bind NORM_INFERENCE in float32."""
    preact, (gain, shift, mean, var), out = channels(o, op.reads[0]), o.read[1:], channels(o, op.writes[0])
    inverse = o.zeros(var.size, np.float32)
    return [
        Launch(o.kernels.running_deviation, (var, EPS, inverse), inverse.size),
        Launch(o.kernels.batch_norm_inference, (preact, gain, shift, mean, inverse, out), out.size),
    ]


def norm_back(op: Op, o: Operands) -> list[Launch]:
    """Bind NORM_BACK in float32."""
    delta, normal = _of_reads(o, op.reads[:2])
    (inverse, gain), out = o.read[2:], channels(o, op.writes[0])
    rows, depth = delta.shape
    sums, mean, slope = o.zeros(depth, np.float64), o.zeros(depth, np.float32), o.zeros(depth, np.float32)
    return [
        *_summed(o, "float64", "sum_rows", (delta,), sums),
        Launch(o.kernels.divide_sums, (sums, rows, mean), depth),
        *_summed(o, "float64", "sum_products", (delta, normal), sums),
        Launch(o.kernels.divide_sums, (sums, rows, slope), depth),
        Launch(o.kernels.batch_norm_backward, (delta, normal, inverse, gain, mean, slope, out), out.size),
    ]


# --- fixed point -------------------------------------------------------------------------------------------------------


def norm_fixed(op: Op, o: Operands) -> list[Launch]:
    """Bind NORM in fixed point."""
    preact, out, exponent = channels(o, op.reads[0]), channels(o, op.writes[0]), o.arrays[op.writes[1].tensor]
    rows, depth = preact.shape
    mean, var = o.zeros(depth, np.int64), o.zeros(depth, np.int64)
    launches = [
        *_summed(o, "int64", "sum_rows", (preact,), mean),
        Launch(o.kernels.nearest_means, (mean, rows, mean), depth),
        *_summed(o, "int64", "sum_squares", (preact, mean), var),
        Launch(o.kernels.norm_statistics_fixed, (var, rows, var, exponent), depth),
        Launch(o.kernels.norm_normal_fixed, (preact, mean, exponent, op.attrs["frac"], *o.modes, out, o.counter), out.size),
    ]
    if len(op.writes) == 4:  # the pass that moves the running statistics
        launches.append(Launch(o.kernels.norm_running_fixed, (mean, var, *o.read[1:]), depth))
    return launches


def norm_inference_fixed(op: Op, o: Operands) -> list[Launch]:
    """Bind NORM_INFERENCE in fixed point."""
    preact, out = channels(o, op.reads[0]), channels(o, op.writes[0])
    depth = preact.shape[1]
    mean, exponent = o.zeros(depth, np.int64), o.zeros(depth, np.int64)
    normal = preact, mean, exponent, op.attrs["frac"], *o.modes, out, o.counter
    return [
        Launch(o.kernels.norm_recall_fixed, (*o.read[1:], mean, exponent), depth),
        Launch(o.kernels.norm_normal_fixed, normal, out.size),
    ]


def affine(op: Op, o: Operands) -> list[Launch]:
    """Bind AFFINE."""
    shifts, out = (op.attrs["product_shift"], op.attrs["shift_shift"]), channels(o, op.writes[0])
    return [Launch(o.kernels.norm_scale_fixed, (channels(o, op.reads[0]), *o.read[1:], *shifts, out), out.size)]


def norm_back_fixed(op: Op, o: Operands) -> list[Launch]:
    """Bind NORM_BACK in fixed point."""
    delta, normal = _of_reads(o, op.reads[:2])
    (exponent, gain), out, frac = o.read[2:], channels(o, op.writes[0]), op.attrs["frac"]
    rows, depth = delta.shape
    mean, slope = o.zeros(depth, np.int64), o.zeros(depth, np.int64)
    shifts = frac, op.attrs["shift"] - frac
    arguments = delta, normal, gain, exponent, mean, slope, *shifts, *o.modes, out, o.counter
    return [
        *_summed(o, "int64", "sum_rows", (delta,), mean),
        Launch(o.kernels.nearest_means, (mean, rows, mean), depth),
        *_summed(o, "int64", "sum_products", (delta, normal), slope),
        Launch(o.kernels.nearest_means, (slope, rows, slope), depth),
        Launch(o.kernels.norm_backward_fixed, arguments, out.size),
    ]


# --- gradients ---------------------------------------------------------------------------------------------------------


def grad_gain(op: Op, o: Operands) -> list[Launch]:
    """Bind GRAD_GAIN."""
    return _summed(o, "int64" if is_fixed(o) else "float64", "sum_products", _of_reads(o, op.reads), o.out)


def sum_of_map(op: Op, o: Operands) -> list[Launch]:
    """Bind the GRAD_BIAS of maps, whose rows are too many for one thread."""
    return _summed(o, "int64" if is_fixed(o) else "float32", "sum_rows", _of_reads(o, op.reads), o.out)
