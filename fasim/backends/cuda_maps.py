"""Binding of convolutions and pooling for the CUDA backend, in float32 and in fixed point: one op becomes launches.

Maps are kept as flat rows; kernels see them in the shapes of their tensors. Where sums lie in registers of limited width,
windows are written out as rows, N P Q R S C numbers, and added up as those of dense layers are.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from fasim.backends.cuda_bind import DeviceArray, Launch, Operands, flat
from fasim.backends.cuda_registers import register
from fasim.schedule import Op, Value

# gradients of single samples that wait to be added up, of all replicas together
WAITING_BYTES = 64 * 1024 * 1024


def shaped(o: Operands, value: Value) -> DeviceArray:
    """Return an array in the shape of its tensor, such as (N, H, W, C)."""
    return o.arrays[value.tensor].reshape(*o.schedule[value].shape)


def channels(o: Operands, value: Value) -> DeviceArray:
    """Return an array as rows of channels (N, J), or (N H W, C)."""
    array, last = o.arrays[value.tensor], o.schedule[value].shape[-1]
    return array.reshape(array.size // last, last)


def is_fixed(o: Operands) -> bool:
    """Tell whether the op works on integers."""
    return o.schedule.datapath != "float32"


def sums_of(o: Operands) -> str:
    """Return the type of sums that hold what is written: of 32 bits or of 64."""
    return "int32" if o.out.dtype.itemsize <= 4 else "int64"


# --- convolution -------------------------------------------------------------------------------------------------------


def conv(op: Op, o: Operands) -> list[Launch]:
    """Bind CONV."""
    act, weight, out = shaped(o, op.reads[0]), shaped(o, op.reads[1]), shaped(o, op.writes[0])
    window, extent = (op.attrs["stride"], op.attrs["padding"]), (weight.shape[0], out.size // weight.shape[0])
    if not is_fixed(o):
        return [Launch(o.kernels.float_convolutions(o.tile).conv_forward, (act, weight, o.read[2], *window, out), extent)]
    bias = o.read[2] if len(o.read) == 3 else o.zeros(weight.shape[0], np.int8)
    if "accumulator" in op.attrs:
        rows, launches = _windows(o, act, weight.shape[1], window, out.shape)
        limited = flat(rows), flat(weight), bias, op.attrs["bias_shift"], *register(op, o)
        result = out.reshape(rows.shape[0], weight.shape[0])
        return [*launches, Launch(o.kernels.dense_accumulate, (*limited, result, o.counter), out.size)]
    shifts = op.attrs["product_shift"], op.attrs["bias_shift"]
    kernel = o.kernels.integer_convolutions(sums_of(o), o.tile).conv_forward_fixed
    return [Launch(kernel, (act, weight, bias, *shifts, *window, out), extent)]


def project_conv(op: Op, o: Operands) -> list[Launch]:
    """Bind PROJECT_CONV, whose signal takes the shape of the maps that the convolution read: a launch for each phase."""
    delta, weight = shaped(o, op.reads[0]), shaped(o, op.reads[1])
    samples, (high, wide, depth) = delta.shape[0], op.attrs["in_shape"]
    out, stride, padding = o.out.reshape(samples, high, wide, depth), op.attrs["stride"], op.attrs["padding"]
    if "accumulator" in op.attrs:
        return _project_in_registers(op, o, delta, weight, out)
    if is_fixed(o):
        kernel = o.kernels.integer_convolutions(sums_of(o), o.tile).conv_input_gradient_fixed
        before: tuple[object, ...] = delta, weight
    else:
        kernel = o.kernels.float_convolutions(o.tile).conv_input_gradient
        before = delta, weight, o.scale
    launches = []
    for down in range(stride):
        for across in range(stride):
            rows, columns = _of_phase(high, down, padding, stride), _of_phase(wide, across, padding, stride)
            if rows and columns:
                arguments = *before, stride, padding, down, across, out
                launches.append(Launch(kernel, arguments, (depth, samples * rows * columns)))
    return launches


def _of_phase(size: int, phase: int, padding: int, stride: int) -> int:
    """Return how many rows of a map, or columns, meet the taps of a phase."""
    first = (phase - padding) % stride
    return max(size - first + stride - 1, 0) // stride


def grad_conv(op: Op, o: Operands) -> list[Launch]:
    """Bind GRAD_CONV: gradients of samples, as many as scratch memory holds, then their sum."""
    delta, act = (shaped(o, value) for value in op.reads)
    units, side = o.schedule[op.writes[0]].shape[:2]
    window, places = (op.attrs["stride"], op.attrs["padding"]), o.out.size // units
    if "accumulator" in op.attrs:
        rows, launches = _windows(o, act, side, window, delta.shape)
        result = o.out.reshape(units, places)
        limited = flat(delta), flat(rows), *register(op, o), result, o.counter
        return [*launches, Launch(o.kernels.weight_gradient_accumulate, limited, result.size)]
    if is_fixed(o):
        kernels: SimpleNamespace = o.kernels.integer_gradients(sums_of(o), o.tile)
        kernel, add = kernels.conv_weight_gradient_fixed, o.kernels.add_samples_fixed
    else:
        kernel, add = o.kernels.float_gradients(o.tile).conv_weight_gradient, o.kernels.add_samples
    most = max(WAITING_BYTES // (o.replicas * o.out.size * o.out.dtype.itemsize), 1)
    waiting: dict[int, DeviceArray] = {}
    tile = o.tile.side
    launches = []
    for first in range(0, delta.shape[0], most):
        count = min(most, delta.shape[0] - first)
        if count not in waiting:  # the last part may be smaller
            waiting[count] = o.zeros(count * o.out.size, o.out.dtype)
        part = waiting[count]
        extent = places, count * -(-units // tile) * tile
        parts = part.reshape(count, units, places)
        launches.append(Launch(kernel, (delta, act, first, side, *window, parts), extent))
        launches.append(Launch(add, (part.reshape(count, o.out.size), int(first > 0), flat(o.out)), o.out.size))
    return launches


def _windows(
    o: Operands, act: DeviceArray, side: int, window: tuple[int, int], pixels: tuple[int, ...]
) -> tuple[DeviceArray, list[Launch]]:
    """Return rows that hold the window of each pixel, and the launch that writes them."""
    count, terms = pixels[0] * pixels[1] * pixels[2], side * side * act.shape[3]
    rows = o.zeros(count * terms, act.dtype).reshape(count, terms)
    return rows, [Launch(o.kernels.copy_windows, (act, side, *window, pixels[1], pixels[2], rows), rows.size)]


def _project_in_registers(op: Op, o: Operands, delta: DeviceArray, weight: DeviceArray, out: DeviceArray) -> list[Launch]:
    samples, high, wide, depth = out.shape
    side, terms = weight.shape[1], weight.size // depth
    window = op.attrs["stride"], op.attrs["padding"]
    rows = o.zeros(samples * high * wide * terms, delta.dtype).reshape(samples * high * wide, terms)
    turned = o.zeros(weight.size, weight.dtype).reshape(terms, depth)
    result = out.reshape(samples * high * wide, depth)
    limited = flat(rows), flat(turned), *register(op, o), result, o.counter
    return [
        Launch(o.kernels.copy_deltas, (delta, side, *window, high, wide, rows), rows.size),
        Launch(o.kernels.turn_weights, (weight, turned), turned.size),
        Launch(o.kernels.project_accumulate, limited, result.size),
    ]


# --- pooling -----------------------------------------------------------------------------------------------------------


def pool(op: Op, o: Operands) -> list[Launch]:
    """Bind POOL; an evaluation has no use for the places."""
    act, out, window = shaped(o, op.reads[0]), shaped(o, op.writes[0]), (op.attrs["kernel"], op.attrs["stride"])
    if len(op.writes) == 1:
        return [Launch(o.kernels.max_pool_value, (act, *window, out), out.size)]
    return [Launch(o.kernels.max_pool, (act, *window, out, shaped(o, op.writes[1])), out.size)]


def unpool(op: Op, o: Operands) -> list[Launch]:
    """Bind UNPOOL."""
    index, out = shaped(o, op.reads[1]), shaped(o, op.writes[0])
    kernel = o.kernels.max_unpool_fixed if is_fixed(o) else o.kernels.max_unpool
    signal = o.read[0].reshape(*index.shape)
    return [Launch(kernel, (signal, index, op.attrs["kernel"], op.attrs["stride"], out), out.size)]


def average_pool(op: Op, o: Operands) -> list[Launch]:
    """Bind AVERAGE_POOL."""
    act, out = shaped(o, op.reads[0]), shaped(o, op.writes[0])
    kernel = o.kernels.window_sum_fixed if is_fixed(o) else o.kernels.average_pool
    return [Launch(kernel, (act, op.attrs["kernel"], op.attrs["stride"], out), out.size)]


def average_unpool(op: Op, o: Operands) -> list[Launch]:
    """Bind AVERAGE_UNPOOL."""
    side, stride, out = op.attrs["kernel"], op.attrs["stride"], shaped(o, op.writes[0])
    places = ((size - side) // stride + 1 for size in out.shape[1:3])
    signal = o.read[0].reshape(out.shape[0], *places, out.shape[3])
    kernel = o.kernels.window_spread_fixed if is_fixed(o) else o.kernels.average_unpool
    return [Launch(kernel, (signal, side, stride, out), out.size)]
