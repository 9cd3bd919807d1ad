"""Binding of fixed-point schedules: one op, its arrays and a slice of the work become calls of kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fasim import kernels
from fasim.backends import Samples
from fasim.backends.cpu_bind import Arrays, Call, Slice, load_labels
from fasim.backends.cpu_cast import Operands, exponent, requant, threshold, update
from fasim.backends.cpu_fused import fused, fused_forward
from fasim.backends.cpu_sums import conv, dense, grad, grad_bias, grad_conv, project, project_conv, project_up
from fasim.errors import ScheduleError
from fasim.schedule import Op, Schedule
from fasim.schedule import ops as kinds

Bind = Callable[[Op, Operands], list[Call]]


class FixedBinding:
    """Calls of the integer kernels, each on a slice of the batch rows or of the units."""

    def load(self, schedule: Schedule, arrays: Arrays, data: Samples, rows: Slice, batch: np.ndarray) -> list[Call]:
        """Return the calls that gather a batch."""
        act = rows.of(arrays[schedule.given("act")])
        return [
            (kernels.gather_rows, (data.codes, batch, act)),
            *load_labels(schedule, arrays, data.labels, rows, batch),
        ]

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
        if len(ops) > 1 and ops[-1].kind == kinds.DENSE:
            calls = fused_forward(schedule, ops, arrays, part, step, counters)
            return calls if calls is not None else self._apart(schedule, ops, arrays, part, step, counters)
        if (calls := fused(schedule, ops, arrays, part, step, counters)) is not None:
            return calls
        return [call for op in ops for call in self.op(schedule, op, arrays, part, step, counters.get(op.site))]

    def _apart(
        self,
        schedule: Schedule,
        ops: tuple[Op, ...],
        arrays: Arrays,
        part: Slice,
        step: np.ndarray,
        counters: dict[str, np.ndarray],
    ) -> list[Call]:
        """Return the calls of an update, by units, and of the forward pass behind it."""
        *chain, dense = ops
        rows = Slice(0, schedule.batch_size)
        first = self.group(schedule, tuple(chain), arrays, part, step, counters)
        return [*first, *self.op(schedule, dense, arrays, rows, step, counters.get(dense.site))]

    def op(
        self,
        schedule: Schedule,
        op: Op,
        arrays: Arrays,
        part: Slice,
        step: np.ndarray,
        counter: np.ndarray | None,
    ) -> list[Call]:
        """Return the calls of an op."""
        bind = _KINDS.get(op.kind)
        if bind is None:
            raise ScheduleError(f"no fixed-point kernel for {op.kind}")
        return bind(op, Operands(schedule, op, arrays, part, step, counter))


def _rows(kernel: Callable[..., None]) -> Bind:
    """Bind a kernel that takes a slice of everything it reads, then of what it writes."""
    return lambda op, o: [(kernel, (*(o.rows(index) for index in range(len(o.read))), o.out))]  # noqa: ARG005


def _first_sliced(kernel: Callable[..., None]) -> Bind:
    """Bind a kernel that takes a slice of its first operand, and all of the others."""
    return lambda op, o: [(kernel, (o.rows(0), *o.read[1:], o.out))]  # noqa: ARG005


def _activate(op: Op, o: Operands) -> list[Call]:
    kernel = kernels.relu_fixed if op.attrs["function"] == "relu" else kernels.copy_fixed
    return [(kernel, (o.rows(0), o.out))]


def _look_up(op: Op, o: Operands) -> list[Call]:
    return [(kernels.look_up, (o.rows(0), o.read[1], op.attrs["lowest"], o.out))]


def _softmax(op: Op, o: Operands) -> list[Call]:
    calls, shift = o.aligned(op.attrs["log_shift"], op.scalars)
    fmt = o.schedule[op.writes[0]].format
    assert fmt is not None
    arguments = (o.rows(0), shift, o.read[1], op.attrs["fraction_bits"], op.attrs["one_shift"], fmt.hi, o.out, o.counter)
    return [*calls, (kernels.softmax_fixed, arguments)]


def _dropout(op: Op, o: Operands) -> list[Call]:
    mask = o.part.of(o.arrays[op.writes[1].tensor]) if len(op.writes) == 2 else np.empty_like(o.out)
    words, calls = o.words(o.out.size)
    return [*calls, (kernels.dropout_fixed, (o.rows(0), words, threshold(op.attrs["drop"]), mask, o.out))]


def _pool(op: Op, o: Operands) -> list[Call]:
    window, out = (op.attrs["kernel"], op.attrs["stride"]), o.map(op.writes[0])
    if len(op.writes) == 1:
        return [(kernels.max_pool_value_fixed, (o.map(op.reads[0]), *window, out))]
    return [(kernels.max_pool_fixed, (o.map(op.reads[0]), *window, out, o.map(op.writes[1])))]


def _unpool(op: Op, o: Operands) -> list[Call]:
    index = o.map(op.reads[1])
    window = op.attrs["kernel"], op.attrs["stride"]
    return [(kernels.max_unpool_fixed, (o.rows(0).reshape(index.shape), index, *window, o.map(op.writes[0])))]


def _average_pool(op: Op, o: Operands) -> list[Call]:
    window = op.attrs["kernel"], op.attrs["stride"]
    return [(kernels.window_sum_fixed, (o.map(op.reads[0]), *window, o.map(op.writes[0])))]


def _average_unpool(op: Op, o: Operands) -> list[Call]:
    kernel, stride, out = op.attrs["kernel"], op.attrs["stride"], o.map(op.writes[0])
    places = ((size - kernel) // stride + 1 for size in out.shape[1:3])
    signal = o.rows(0).reshape(len(out), *places, out.shape[3])
    return [(kernels.window_spread_fixed, (signal, kernel, stride, out))]


def _norm(op: Op, o: Operands) -> list[Call]:
    x, out = o.channels(op.reads[0], whole=True), o.channels(op.writes[0], whole=True)
    mean, var = (np.zeros(x.shape[1], np.int64) for _ in range(2))
    exponents = o.arrays[op.writes[1].tensor]
    calls: list[Call] = [
        (kernels.norm_statistics_fixed, (x, 0, mean, var, exponents)),
        (kernels.norm_normal_fixed, (x, mean, exponents, op.attrs["frac"], *o.modes, out, o.counter)),
    ]
    if len(op.writes) == 4:  # the pass that moves the running statistics
        calls.append((kernels.norm_running_fixed, (mean, var, *o.read[1:])))
    return calls


def _norm_inference(op: Op, o: Operands) -> list[Call]:
    x, out = o.channels(op.reads[0]), o.channels(op.writes[0])
    mean, exponents = (np.zeros(x.shape[1], np.int64) for _ in range(2))
    return [
        (kernels.norm_recall_fixed, (*o.read[1:], mean, exponents)),
        (kernels.norm_normal_fixed, (x, mean, exponents, op.attrs["frac"], *o.modes, out, o.counter)),
    ]


def _affine(op: Op, o: Operands) -> list[Call]:
    shifts = op.attrs["product_shift"], op.attrs["shift_shift"]
    return [(kernels.norm_scale_fixed, (o.channels(op.reads[0]), *o.read[1:], *shifts, o.channels(op.writes[0])))]


def _norm_back(op: Op, o: Operands) -> list[Call]:
    delta, normal = (o.channels(value, whole=True) for value in op.reads[:2])
    exponents, gain = o.read[2], o.read[3]
    frac, out = op.attrs["frac"], o.channels(op.writes[0], whole=True)
    means = np.zeros((2, delta.shape[1]), np.int64)
    shifts = 0, frac, op.attrs["shift"] - frac
    return [(kernels.norm_backward_fixed, (delta, normal, gain, exponents, *shifts, *o.modes, means, out, o.counter))]


def _perturb(op: Op, o: Operands) -> list[Call]:
    return [(kernels.perturb_fixed, (o.rows(0), o.rows(1), op.attrs["eps"], o.out))]


def _error(op: Op, o: Operands) -> list[Call]:
    return [(kernels.output_error_fixed, (o.rows(0), o.rows(1), op.attrs["one"], o.out))]


def _residual(op: Op, o: Operands) -> list[Call]:
    shifts = op.attrs["output_shift"], op.attrs["target_shift"]
    return [(kernels.residual_fixed, (o.rows(0), o.rows(1), *shifts, o.out))]


def _slope(op: Op, o: Operands) -> list[Call]:
    return [(kernels.relu_mask, (o.rows(0), op.attrs["highest"], o.out))]


def _mean(op: Op, o: Operands) -> list[Call]:
    kernel = kernels.mean_of_two_fixed if len(op.reads) == 2 else kernels.mean_of_three_fixed
    return [(kernel, (*(o.rows(index) for index in range(len(o.read))), o.out))]


def _delta(op: Op, o: Operands) -> list[Call]:
    if len(o.read) == 1:
        return [(kernels.copy_fixed, (o.rows(0), o.out))]
    encoding = o.schedule[op.reads[1]].encoding
    kernel = kernels.multiply_fixed if encoding == "dense" else kernels.mask_fixed
    return [(kernels.divide_by_fixed if op.attrs.get("divide") else kernel, (o.rows(0), o.rows(1), o.out))]


def _grad_gain(op: Op, o: Operands) -> list[Call]:
    delta, normal = (o.channels(value, whole=True) for value in op.reads)
    return [(kernels.gain_gradient_fixed, (delta, normal, o.part.start, o.out))]


def _clip(op: Op, o: Operands) -> list[Call]:
    return [(kernels.clip_fixed, (o.rows(0).reshape(-1), op.attrs["limit"], o.out.reshape(-1)))]


def _momentum(op: Op, o: Operands) -> list[Call]:
    shifts = op.attrs["factor"], op.attrs["velocity_shift"], op.attrs["gradient_shift"]
    return [(kernels.momentum_fixed, (o.rows(0).reshape(-1), o.rows(1).reshape(-1), *shifts, o.out.reshape(-1)))]


_KINDS: dict[str, Bind] = {
    kinds.DENSE: dense,
    kinds.CONV: conv,
    kinds.NORM: _norm,
    kinds.NORM_INFERENCE: _norm_inference,
    kinds.AFFINE: _affine,
    kinds.ACTIVATE: _activate,
    kinds.LOOKUP: _look_up,
    kinds.SOFTMAX: _softmax,
    kinds.DROPOUT: _dropout,
    kinds.SCALE: _rows(kernels.copy_fixed),
    kinds.POOL: _pool,
    kinds.AVERAGE_POOL: _average_pool,
    kinds.PERTURB: _perturb,
    kinds.ERROR: _error,
    kinds.RESIDUAL: _residual,
    kinds.SIGN: _rows(kernels.sign_fixed),
    kinds.SLOPE: _slope,
    kinds.PROJECT: project,
    kinds.PROJECT_UP: project_up,
    kinds.PROJECT_CONV: project_conv,
    kinds.PROJECT_ELL: _first_sliced(kernels.project_ell_fixed),
    kinds.PROJECT_CSR: _first_sliced(kernels.project_csr_fixed),
    kinds.SELECT: _first_sliced(kernels.project_target_fixed),
    kinds.SELECT_ELL: _first_sliced(kernels.project_target_ell_fixed),
    kinds.SELECT_CSR: _first_sliced(kernels.project_target_csr_fixed),
    kinds.MEAN: _mean,
    kinds.UNPOOL: _unpool,
    kinds.AVERAGE_UNPOOL: _average_unpool,
    kinds.MASK: _rows(kernels.mask_fixed),
    kinds.DELTA: _delta,
    kinds.NORM_BACK: _norm_back,
    kinds.GRAD: grad,
    kinds.GRAD_CONV: grad_conv,
    kinds.GRAD_BIAS: grad_bias,
    kinds.GRAD_GAIN: _grad_gain,
    kinds.CLIP: _clip,
    kinds.EXPONENT: exponent,
    kinds.REQUANT: requant,
    kinds.MOMENTUM: _momentum,
    kinds.UPDATE: update,
}
bind_fixed = FixedBinding()
