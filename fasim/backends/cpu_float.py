"""Binding of float32 schedules: one op and its arrays become calls of kernels."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fasim import kernels
from fasim.backends import Samples
from fasim.backends.cpu_bind import Arrays, Call, Slice, load_labels
from fasim.backends.cpu_float_update import fused_update, update
from fasim.errors import ScheduleError
from fasim.kernels.micro.ascending import worthwhile
from fasim.schedule import Op, Schedule, Value
from fasim.schedule import ops as kinds
from fasim.schedule.defer import deferred

# Weights that are updated and used before the next ones: a part of the second-level cache
BLOCK_BYTES = 512 * 1024
# PyTorch's defaults
NORM_MOMENTUM, NORM_EPS = 0.1, 1e-5


class FloatBinding:
    """Calls of the float32 kernels, each on a slice of the batch rows or of the units.

    Every kernel adds in an order that knows nothing of slices: the bits do not depend on the number of threads. Norms and
    the squared length of a gradient take a whole tensor: one thread computes them.
    """

    def load(self, schedule: Schedule, arrays: Arrays, data: Samples, rows: Slice, batch: np.ndarray) -> list[Call]:
        """Return the calls that gather a batch."""
        act = rows.of(arrays[schedule.given("act")])
        if data.gain is None:
            calls: list[Call] = [(kernels.load_rows, (data.codes, batch, data.scale, act))]
        else:
            calls = [(kernels.load_standard_rows, (data.codes, batch, data.gain, data.offset, act))]
        return calls + load_labels(schedule, arrays, data.labels, rows, batch)

    def group(
        self,
        schedule: Schedule,
        ops: tuple[Op, ...],
        arrays: Arrays,
        part: Slice,
        step: np.ndarray,
        counters: dict[str, np.ndarray],
    ) -> list[Call]:
        """Return the calls of ops that run as one pass."""
        if len(ops) == 3 and ops[-1].kind == kinds.DENSE and deferred(ops[0]):
            return _updated_forward(schedule, ops, arrays, part, step)
        fused = fused_update(schedule, ops, arrays, part, step)
        return fused or [call for op in ops for call in self.op(schedule, op, arrays, part, step, counters.get(op.site))]

    def op(
        self,
        schedule: Schedule,
        op: Op,
        arrays: Arrays,
        part: Slice,
        step: np.ndarray,
        counter: np.ndarray | None,  # noqa: ARG002
    ) -> list[Call]:
        """Return the calls of an op."""
        operands = _Operands(schedule, op, arrays, part)
        if op.kind == kinds.UPDATE:
            return [update(op, [part.of(array) for array in operands.read], arrays[op.scalars[0].tensor], step)]
        if op.kind == kinds.DROPOUT:
            return [_dropout(op, operands, int(arrays["seed"][0]), step)]
        if op.kind == kinds.SQUARED_NORM:
            return _squared_norm(operands)
        bind = _KINDS.get(op.kind)
        if bind is None:
            raise ScheduleError(f"no float32 kernel for {op.kind}")
        return [bind(op, operands)]


class _Operands:
    """A slice of the arrays of an op: as flat rows, or in the shape of their tensors."""

    def __init__(self, schedule: Schedule, op: Op, arrays: Arrays, part: Slice) -> None:
        self.schedule, self.op, self.arrays, self.part = schedule, op, arrays, part
        self.by_rows = schedule[op.writes[0]].axes.startswith("N") and not part.columns
        self.read = [self.array(value) for value in op.reads]
        whole = arrays[op.writes[0].tensor]
        self.out = whole if op.kind == kinds.SQUARED_NORM else part.of(whole)

    def array(self, value: Value) -> np.ndarray:
        """Return an operand: the slice of a batch where the work is divided by its rows, else all of it."""
        array = self.arrays[value.tensor]
        return self.part.of(array) if self.by_rows and self.schedule[value].axes.startswith("N") else array

    @property
    def scale(self) -> np.float32:
        return np.float32(self.op.attrs["scale"])

    def shaped(self, value: Value) -> np.ndarray:
        """Return an operand in the shape of its tensor, such as (N, H, W, C)."""
        array, shape = self.array(value), self.schedule[value].shape
        return array.reshape(len(array), *shape[1:])

    def maps(self) -> list[np.ndarray]:
        """Return all operands in the shapes of their tensors, what is read first; a flat signal takes those of the map."""
        return [self.shaped(value) for value in self.op.reads]

    def channels(self, value: Value) -> np.ndarray:
        """Return an operand as rows of channels (N, J), or (N H W, C); where units are divided, of the slice's alone."""
        rows = self.array(value).reshape(-1, self.schedule[value].shape[-1])
        return rows if self.by_rows else rows[:, self.part.start : self.part.stop]

    def result(self) -> np.ndarray:
        """Return the slice of what is written, in the shape of its tensor."""
        return self.out.reshape(len(self.out), *self.schedule[self.op.writes[0]].shape[1:])


Bind = Callable[[Op, _Operands], Call]


def _plain(kernel: Callable[..., Any], *names: str) -> Bind:
    """Bind a kernel that takes what is read, then these attributes as numbers, then what is written."""
    return lambda op, o: (kernel, (*o.read, *(np.float32(op.attrs[name]) for name in names), o.out))


def _dense(op: Op, o: _Operands) -> Call:
    act, weight, bias = o.read
    return _dense_kernel(o.schedule, op), (act, o.part.units_of(weight), o.part.units_of(bias), o.out)


def _dense_kernel(schedule: Schedule, op: Op) -> Callable[..., Any]:
    """Return what a forward pass is multiplied by; chosen by its whole size, for the orders of additions differ."""
    by_batch = worthwhile(schedule.batch_size, *schedule[op.reads[1]].shape)
    return kernels.dense_forward_batch if by_batch else kernels.dense_forward


def _updated_forward(schedule: Schedule, ops: tuple[Op, ...], arrays: Arrays, part: Slice, step: np.ndarray) -> list[Call]:
    """Bind GRAD, UPDATE and DENSE of a layer: a block of units is updated, then used while it is in the cache.

    Of a single sample, vectors of weights are updated and used while they are in registers.
    """
    act, weight, bias = (arrays[value.tensor] for value in ops[2].reads)
    out, kernel = arrays[ops[2].writes[0].tensor], _dense_kernel(schedule, ops[2])
    attrs = ops[1].attrs
    if len(act) == 1 and attrs["optimizer"] == "sgd" and not attrs.get("decay"):
        delta, before = (arrays[value.tensor] for value in ops[0].reads)
        units = slice(part.start, part.stop)
        gradient = delta[:, units], before, weight[units], arrays[ops[1].scalars[0].tensor]
        return [(kernels.dense_forward_updated, (*gradient, act, bias[units], out[:, units]))]
    rows = max(BLOCK_BYTES // (4 * weight.shape[1]), 1)
    calls: list[Call] = []
    for first in range(part.start, part.stop, rows):
        block = Slice(first, min(first + rows, part.stop))
        calls += fused_update(schedule, ops[:2], arrays, block, step)
        calls.append((kernel, (act, block.of(weight), block.of(bias), out[:, block.start : block.stop])))
    return calls


def _conv(op: Op, o: _Operands) -> Call:
    window = op.attrs["stride"], op.attrs["padding"]
    act, weight, bias = o.maps()
    return kernels.conv_forward, (act, weight, bias, *window, o.result())


def _project_conv(op: Op, o: _Operands) -> Call:
    """Write the signal in the shape of the maps that the convolution read, though its own tensor is flat."""
    window = op.attrs["stride"], op.attrs["padding"]
    delta, weight = o.maps()
    out = o.out.reshape(len(o.out), *op.attrs["in_shape"])
    return kernels.conv_input_gradient, (delta, weight, o.scale, *window, out)


def _grad_conv(op: Op, o: _Operands) -> Call:
    window = op.attrs["stride"], op.attrs["padding"]
    return kernels.conv_weight_gradient, (*o.maps(), o.part.start, *window, o.result())


def _pool(op: Op, o: _Operands) -> Call:
    window = op.attrs["kernel"], op.attrs["stride"]
    out = o.shaped(op.writes[0])
    if len(op.writes) == 1:
        return kernels.max_pool_value, (*o.maps(), *window, out)
    return kernels.max_pool, (*o.maps(), *window, out, o.shaped(op.writes[1]))


def _unpool(op: Op, o: _Operands) -> Call:
    window, index = (op.attrs["kernel"], op.attrs["stride"]), o.shaped(op.reads[1])
    return kernels.max_unpool, (o.read[0].reshape(index.shape), index, *window, o.shaped(op.writes[0]))


def _average_pool(op: Op, o: _Operands) -> Call:
    return kernels.average_pool, (*o.maps(), op.attrs["kernel"], op.attrs["stride"], o.shaped(op.writes[0]))


def _average_unpool(op: Op, o: _Operands) -> Call:
    kernel, stride, out = op.attrs["kernel"], op.attrs["stride"], o.shaped(op.writes[0])
    places = ((size - kernel) // stride + 1 for size in out.shape[1:3])
    signal = o.read[0].reshape(len(out), *places, out.shape[3])
    return kernels.average_unpool, (signal, kernel, stride, out)


def _norm(op: Op, o: _Operands) -> Call:
    gain, shift, mean, var = o.read[1:]
    if len(op.writes) == 3:  # a pass that must not move the running statistics
        mean, var = mean.copy(), var.copy()
    normed, normal, inverse = op.writes[:3]
    kept = o.channels(normal), o.arrays[inverse.tensor], o.channels(normed)
    return kernels.batch_norm, (o.channels(op.reads[0]), gain, shift, mean, var, NORM_MOMENTUM, NORM_EPS, *kept)


def _norm_inference(op: Op, o: _Operands) -> Call:
    arguments = (o.channels(op.reads[0]), *o.read[1:], NORM_EPS, o.channels(op.writes[0]))
    return kernels.batch_norm_inference, arguments


def _norm_back(op: Op, o: _Operands) -> Call:
    delta, normal = (o.channels(value) for value in op.reads[:2])
    return kernels.batch_norm_backward, (delta, normal, *o.read[2:], o.channels(op.writes[0]))


def _grad(op: Op, o: _Operands) -> Call:
    return kernels.weight_gradient, (o.channels(op.reads[0]), o.read[1], o.out)


def _grad_bias(op: Op, o: _Operands) -> Call:
    return kernels.bias_gradient, (o.channels(op.reads[0]), o.out)


def _grad_gain(op: Op, o: _Operands) -> Call:
    return kernels.gain_gradient, (*(o.channels(value) for value in op.reads), o.out)


def _by_function(suffix: str = "") -> Bind:
    return lambda op, o: (getattr(kernels, op.attrs["function"] + suffix), (*o.read, o.out))


def _project(op: Op, o: _Operands) -> Call:  # noqa: ARG001
    signal, matrix = o.read
    return kernels.project_error, (signal, o.part.columns_of(matrix), o.scale, o.out)


def _project_up(op: Op, o: _Operands) -> Call:
    signal, matrix = o.read
    return kernels.project_up, (signal, matrix.reshape(len(matrix), -1), o.scale, o.out)


def _scaled(op: Op, o: _Operands) -> Call:  # noqa: ARG001
    kernel = kernels.hidden_delta if len(o.read) == 2 else kernels.linear_delta
    return kernel, (*o.read, o.scale, o.out)


def _mean(op: Op, o: _Operands) -> Call:  # noqa: ARG001
    return kernels.mean_of_two if len(o.read) == 2 else kernels.mean_of_three, (*o.read, o.out)


def _clip(op: Op, o: _Operands) -> Call:
    return kernels.clip, (o.part.of(o.read[0]).reshape(-1), np.float32(op.attrs["limit"]), o.out.reshape(-1))


def _rescale(op: Op, o: _Operands) -> Call:
    gradient, norm = o.read
    return kernels.rescale, (o.part.of(gradient).reshape(-1), norm, np.float32(op.attrs["limit"]), o.out.reshape(-1))


def _squared_norm(operands: _Operands) -> list[Call]:
    out = operands.out
    return [(kernels.clear, (out,)), *((kernels.squared_norm, (array.reshape(-1), out)) for array in operands.read)]


def _dropout(op: Op, o: _Operands, seed: int, step: np.ndarray) -> Call:
    mask = o.part.of(o.arrays[op.writes[1].tensor]) if len(op.writes) == 2 else np.empty_like(o.out)
    threshold, first = math.floor(op.attrs["drop"] * 2**32), o.part.start * o.out.shape[1]
    return kernels.dropout, (*o.read, threshold, o.scale, seed, zlib.crc32(op.site.encode()), step, first, mask, o.out)


_KINDS: dict[str, Bind] = {
    kinds.DENSE: _dense,
    kinds.CONV: _conv,
    kinds.NORM: _norm,
    kinds.NORM_INFERENCE: _norm_inference,
    kinds.ACTIVATE: _by_function(),
    kinds.SCALE: _scaled,
    kinds.POOL: _pool,
    kinds.AVERAGE_POOL: _average_pool,
    kinds.PERTURB: _plain(kernels.perturb, "eps"),
    kinds.ERROR: _plain(kernels.output_error),
    kinds.RESIDUAL: _plain(kernels.residual),
    kinds.SIGN: _plain(kernels.sign),
    kinds.SLOPE: _by_function("_slope"),
    kinds.PROJECT: _project,
    kinds.PROJECT_UP: _project_up,
    kinds.PROJECT_CONV: _project_conv,
    kinds.PROJECT_ELL: _plain(kernels.project_ell, "scale"),
    kinds.PROJECT_CSR: _plain(kernels.project_csr, "scale"),
    kinds.SELECT: _plain(kernels.project_target, "scale"),
    kinds.SELECT_ELL: _plain(kernels.project_target_ell, "scale"),
    kinds.SELECT_CSR: _plain(kernels.project_target_csr, "scale"),
    kinds.MEAN: _mean,
    kinds.UNPOOL: _unpool,
    kinds.AVERAGE_UNPOOL: _average_unpool,
    kinds.MASK: _scaled,
    kinds.DELTA: _scaled,
    kinds.NORM_BACK: _norm_back,
    kinds.GRAD: _grad,
    kinds.GRAD_CONV: _grad_conv,
    kinds.GRAD_BIAS: _grad_bias,
    kinds.GRAD_GAIN: _grad_gain,
    kinds.CLIP: _clip,
    kinds.RESCALE: _rescale,
}
bind_float = FloatBinding()
