"""Binding of fixed-point schedules for the CUDA backend: one op becomes launches of kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace

import numpy as np

from fasim.backends import cuda_maps, cuda_norm
from fasim.backends.cuda_bind import DeviceArray, Inputs, Launch, Operands, flat
from fasim.backends.cuda_products import products
from fasim.backends.cuda_random import has_words
from fasim.backends.cuda_random import words as drawn
from fasim.backends.cuda_registers import register
from fasim.fixedpoint.options import RandomSource
from fasim.schedule import Op, Value
from fasim.schedule import ops as kinds

Bind = Callable[[Op, Operands], list[Launch]]


class FixedBinding:
    """Launches of the integer kernels."""

    def missing(self, op: Op) -> str:
        """Return what of an op there is no kernel for; nothing if all is there."""
        return "" if op.kind in _KINDS else op.kind

    def load(self, kernels: ModuleType, data: Inputs, act: DeviceArray) -> list[Launch]:
        """Return the launches that gather a batch."""
        return [Launch(kernels.gather_rows, (data.codes, data.order, data.place, act), act.size)]

    def op(self, op: Op, operands: Operands) -> list[Launch]:
        """Return the launches of an op."""
        return _KINDS[op.kind](op, operands)


def _by_element(name: str, *attributes: str) -> Bind:
    return lambda op, o: o.by_element(getattr(o.kernels, name), *(op.attrs[attribute] for attribute in attributes))


def _by_row(name: str, *attributes: str) -> Bind:
    return lambda op, o: o.by_row(getattr(o.kernels, name), *(op.attrs[attribute] for attribute in attributes))


def _products(o: Operands) -> SimpleNamespace:
    """Return the kernels that multiply the first two arrays that an op reads."""
    return products(o.kernels, o.read[0], o.read[1], o.out, o.tile, o.ways)


def _dense(op: Op, o: Operands) -> list[Launch]:
    act, weight = o.read[:2]
    bias = o.read[2] if len(o.read) == 3 else o.zeros(weight.shape[0], np.int8)
    if "accumulator" in op.attrs:
        limited = flat(act), flat(weight), bias, op.attrs["bias_shift"], *register(op, o), o.out, o.counter
        return [Launch(o.kernels.dense_accumulate, limited, o.out.size)]
    arguments = act, weight, bias, op.attrs["product_shift"], op.attrs["bias_shift"], o.out
    rows, columns = o.out.shape
    return [Launch(_products(o).dense_forward_fixed, arguments, (rows, columns))]


def _product(name: str, in_registers: str) -> Bind:
    def bind(op: Op, o: Operands) -> list[Launch]:
        if "accumulator" not in op.attrs:
            return o.product(getattr(_products(o), name))
        arguments = *(flat(array) for array in o.read), *register(op, o), o.out, o.counter
        return [Launch(getattr(o.kernels, in_registers), arguments, o.out.size)]

    return bind


def _project_up(op: Op, o: Operands) -> list[Launch]:
    signal, matrix = o.read
    if "accumulator" not in op.attrs:
        rows = matrix.reshape(matrix.shape[0], signal.shape[1])
        return [Launch(_products(o).project_up_fixed, (signal, rows, o.out), (o.out.shape[0], o.out.shape[1]))]
    limited = flat(signal), flat(matrix), o.zeros(o.out.shape[1], np.int8), 0, *register(op, o), o.out, o.counter
    return [Launch(o.kernels.dense_accumulate, limited, o.out.size)]


def _grad_bias(op: Op, o: Operands) -> list[Launch]:
    if "accumulator" not in op.attrs:
        maps = len(o.schedule[op.reads[0]].shape) == 4
        return cuda_norm.sum_of_map(op, o) if maps else o.by_row(o.kernels.bias_gradient_fixed)
    arguments = flat(o.read[0]), o.number(1), *register(op, o), o.out, o.counter
    return [Launch(o.kernels.bias_gradient_accumulate, arguments, o.out.size)]


def _dropout(op: Op, o: Operands) -> list[Launch]:
    size = o.out.size
    mask = flat(o.arrays[op.writes[1].tensor]) if len(op.writes) == 2 else o.zeros(size, np.int8)
    arguments = flat(o.read[0]), *o.place, math.floor(op.attrs["drop"] * 2**32), mask, flat(o.out)
    return [Launch(o.kernels.dropout_fixed, arguments, size)]


def _activate(op: Op, o: Operands) -> list[Launch]:
    return o.by_element(o.kernels.relu_fixed if op.attrs["function"] == "relu" else o.kernels.copy_fixed)


def _look_up(op: Op, o: Operands) -> list[Launch]:
    return [Launch(o.kernels.look_up, (flat(o.read[0]), o.read[1], op.attrs["lowest"], flat(o.out)), o.out.size)]


def _softmax(op: Op, o: Operands) -> list[Launch]:
    launches, shift = _shift(o, op.attrs["log_shift"], op.scalars)
    fmt = o.schedule[op.writes[0]].format
    assert fmt is not None
    arguments = o.read[0], shift, o.read[1], op.attrs["fraction_bits"], op.attrs["one_shift"], fmt.hi, o.out, o.counter
    return [*launches, Launch(o.kernels.softmax_fixed, arguments, o.out.shape[0])]


def _mean(op: Op, o: Operands) -> list[Launch]:
    return o.by_element(o.kernels.mean_of_two_fixed if len(op.reads) == 2 else o.kernels.mean_of_three_fixed)


def _delta(op: Op, o: Operands) -> list[Launch]:
    if len(o.read) == 1:
        return o.by_element(o.kernels.copy_fixed)
    if op.attrs.get("divide"):
        return o.by_element(o.kernels.divide_by_fixed)
    dense = o.schedule[op.reads[1]].encoding == "dense"
    return o.by_element(o.kernels.multiply_fixed if dense else o.kernels.mask_fixed)


def _shift(o: Operands, static: int, scalars: Sequence[Value]) -> tuple[list[Launch], DeviceArray]:
    """Return launches that add the signed exponents of a step to a number, and the array (1,) that holds the sum."""
    signs = o.op.attrs.get("signs", ())
    if not signs:
        return [], o.number(static)
    total, before, launches = o.zeros(1, np.int64), o.number(static), list[Launch]()
    for sign, value in zip(signs, scalars, strict=True):
        launches.append(Launch(o.kernels.add_exponent, (before, sign, o.arrays[value.tensor], total), 1))
        before = total
    return launches, total


def _exponent(op: Op, o: Operands) -> list[Launch]:
    largest = o.zeros(1, np.uint64)
    source = flat(o.read[0])
    return [
        Launch(o.kernels.largest_magnitude, (source, largest), source.size),
        Launch(o.kernels.choose_exponent, (largest, op.attrs["bits"], op.attrs["nearest"], o.out), 1),
    ]


def _requant(op: Op, o: Operands) -> list[Launch]:
    raw, out = flat(o.read[0]), flat(o.out)
    if "divisor" in op.attrs:
        divided = raw, op.attrs["divisor"], op.attrs["shift"], *o.modes, out, o.counter
        return [Launch(o.kernels.divide_fixed, divided, out.size)]
    launches, shift = _shift(o, op.attrs["shift"], op.scalars)
    random: RandomSource = op.attrs.get("random") or RandomSource()
    if has_words(random):
        words, drawing = drawn(o, random)
        by_words = raw, shift, *o.modes, words, random.bits, random.half, out, o.counter
        return [*launches, *drawing, Launch(o.kernels.requantize_random, by_words, out.size)]
    arguments = raw, shift, *o.modes, *o.place, random.bits, random.half, out, o.counter
    return [*launches, Launch(o.kernels.requantize, arguments, out.size)]


def _update(op: Op, o: Operands) -> list[Launch]:
    parameter, gradient = flat(o.out), flat(o.read[1])
    rate, decay = op.attrs["rate"], op.attrs["decay_shift"]
    if rate == "divide" and op.attrs["kind"] != "plus_minus_one":
        divisor = o.arrays[op.scalars[1].tensor]
        divided = parameter, gradient, -op.attrs["shift"], divisor, *o.modes, decay, o.counter
        return [Launch(o.kernels.update_divided, divided, parameter.size)]
    learning = o.arrays[op.scalars[0].tensor] if rate in ("shift", "multiply") else o.number(0)
    factor = o.arrays[op.scalars[1].tensor] if rate == "multiply" else o.number(1)
    launches, shift = _shift(o, op.attrs["shift"], op.scalars[2 if rate in ("multiply", "divide") else 1 :])
    random: RandomSource = op.attrs.get("random") or RandomSource()
    if has_words(random):
        return [*launches, *_update_by_words(op, o, random, (parameter, gradient, shift, learning, factor))]
    if op.attrs["kind"] == "plus_minus_one":
        lo, hi, _, mode = o.modes
        by_one = parameter, gradient, shift, learning, lo, hi, mode, *o.place, random.bits, o.counter
        return [*launches, Launch(o.kernels.update_by_one, by_one, parameter.size)]
    arguments = parameter, gradient, shift, learning, factor, *o.modes, *o.place, random.bits, random.half, decay, o.counter
    return [*launches, Launch(o.kernels.update_fixed, arguments, parameter.size)]


def _update_by_words(op: Op, o: Operands, random: RandomSource, given: tuple[DeviceArray, ...]) -> list[Launch]:
    """Bind an update whose words come from a shift register."""
    words, drawing = drawn(o, random)
    lo, hi, rounding, mode = o.modes
    if op.attrs["kind"] == "plus_minus_one":
        by_one = *given[:4], lo, hi, mode, words, random.bits, o.counter
        return [*drawing, Launch(o.kernels.update_by_one_random, by_one, words.size)]
    scaled = *given, lo, hi, rounding, mode, words, random.bits, random.half, op.attrs["decay_shift"], o.counter
    return [*drawing, Launch(o.kernels.update_scaled, scaled, words.size)]


_KINDS: dict[str, Bind] = {
    kinds.DENSE: _dense,
    kinds.ACTIVATE: _activate,
    kinds.LOOKUP: _look_up,
    kinds.SOFTMAX: _softmax,
    kinds.DROPOUT: _dropout,
    kinds.SCALE: _by_element("copy_fixed"),
    kinds.PERTURB: _by_element("perturb_fixed", "eps"),
    kinds.ERROR: _by_row("output_error_fixed", "one"),
    kinds.RESIDUAL: _by_element("residual_fixed", "output_shift", "target_shift"),
    kinds.SIGN: _by_element("sign_fixed"),
    kinds.SLOPE: _by_element("relu_mask", "highest"),
    kinds.PROJECT: _product("project_error_fixed", "project_accumulate"),
    kinds.PROJECT_UP: _project_up,
    kinds.PROJECT_ELL: _by_row("project_ell_fixed"),
    kinds.PROJECT_CSR: _by_row("project_csr_fixed"),
    kinds.SELECT: _by_row("project_target_fixed"),
    kinds.SELECT_ELL: _by_row("project_target_ell_fixed"),
    kinds.SELECT_CSR: _by_row("project_target_csr_fixed"),
    kinds.MEAN: _mean,
    kinds.MASK: _by_element("mask_fixed"),
    kinds.DELTA: _delta,
    kinds.GRAD: _product("weight_gradient_fixed", "weight_gradient_accumulate"),
    kinds.GRAD_BIAS: _grad_bias,
    kinds.CLIP: _by_element("clip_fixed", "limit"),
    kinds.EXPONENT: _exponent,
    kinds.REQUANT: _requant,
    kinds.MOMENTUM: _by_element("momentum_fixed", "factor", "velocity_shift", "gradient_shift"),
    kinds.UPDATE: _update,
    kinds.CONV: cuda_maps.conv,
    kinds.PROJECT_CONV: cuda_maps.project_conv,
    kinds.GRAD_CONV: cuda_maps.grad_conv,
    kinds.POOL: cuda_maps.pool,
    kinds.UNPOOL: cuda_maps.unpool,
    kinds.AVERAGE_POOL: cuda_maps.average_pool,
    kinds.AVERAGE_UNPOOL: cuda_maps.average_unpool,
    kinds.NORM: cuda_norm.norm_fixed,
    kinds.NORM_INFERENCE: cuda_norm.norm_inference_fixed,
    kinds.AFFINE: cuda_norm.affine,
    kinds.NORM_BACK: cuda_norm.norm_back_fixed,
    kinds.GRAD_GAIN: cuda_norm.grad_gain,
}
bind_fixed = FixedBinding()
