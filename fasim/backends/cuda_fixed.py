"""Binding of fixed-point schedules for the CUDA backend: one op becomes launches of kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace

import numpy as np

from fasim.backends.cuda_bind import DeviceArray, Inputs, Launch, Operands, flat
from fasim.fixedpoint.options import RandomSource
from fasim.schedule import Op, Value
from fasim.schedule import ops as kinds

Bind = Callable[[Op, Operands], list[Launch]]


class FixedBinding:
    """Launches of the integer kernels."""

    def missing(self, op: Op) -> str:
        """Return what of an op there is no kernel for; nothing if all is there."""
        if "accumulator" in op.attrs:
            return f"{op.kind} in a register of limited width"
        random = op.attrs.get("random")
        if random is not None and random.source != "philox":
            return f"random numbers of the source {random.source}"
        if op.attrs.get("kind") == "plus_minus_one":
            return "updates by plus or minus one"
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
    """Return the kernels whose sums have the type of what is written."""
    products: SimpleNamespace = o.kernels.integer_products(str(o.out.dtype), o.tile)
    return products


def _dense(op: Op, o: Operands) -> list[Launch]:
    act, weight = o.read[:2]
    bias = o.read[2] if len(o.read) == 3 else o.kernels.cuda.to_device(np.zeros(weight.shape[0], np.int8))
    arguments = act, weight, bias, op.attrs["product_shift"], op.attrs["bias_shift"], o.out
    rows, columns = o.out.shape
    return [Launch(_products(o).dense_forward_fixed, arguments, (rows, columns))]


def _product(name: str) -> Bind:
    return lambda op, o: o.product(getattr(_products(o), name))  # noqa: ARG005


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
    total, before, launches = o.kernels.cuda.to_device(np.zeros(1, np.int64)), o.number(static), []
    for sign, value in zip(signs, scalars, strict=True):
        launches.append(Launch(o.kernels.add_exponent, (before, sign, o.arrays[value.tensor], total), 1))
        before = total
    return launches, total


def _exponent(op: Op, o: Operands) -> list[Launch]:
    largest = o.kernels.cuda.to_device(np.zeros(1, np.uint64))
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
    arguments = raw, shift, *o.modes, *o.place, random.bits, random.half, out, o.counter
    return [*launches, Launch(o.kernels.requantize, arguments, out.size)]


def _update(op: Op, o: Operands) -> list[Launch]:
    parameter, gradient = flat(o.out), flat(o.read[1])
    rate, decay = op.attrs["rate"], op.attrs["decay_shift"]
    if rate == "divide":
        divisor = o.arrays[op.scalars[1].tensor]
        divided = parameter, gradient, -op.attrs["shift"], divisor, *o.modes, decay, o.counter
        return [Launch(o.kernels.update_divided, divided, parameter.size)]
    learning = o.arrays[op.scalars[0].tensor] if rate in ("shift", "multiply") else o.number(0)
    factor = o.arrays[op.scalars[1].tensor] if rate == "multiply" else o.number(1)
    launches, shift = _shift(o, op.attrs["shift"], op.scalars[2 if rate == "multiply" else 1 :])
    random: RandomSource = op.attrs.get("random") or RandomSource()
    arguments = parameter, gradient, shift, learning, factor, *o.modes, *o.place, random.bits, random.half, decay, o.counter
    return [*launches, Launch(o.kernels.update_fixed, arguments, parameter.size)]


_KINDS: dict[str, Bind] = {
    kinds.DENSE: _dense,
    kinds.ACTIVATE: _activate,
    kinds.LOOKUP: _look_up,
    kinds.SOFTMAX: _softmax,
    kinds.SCALE: _by_element("copy_fixed"),
    kinds.PERTURB: _by_element("perturb_fixed", "eps"),
    kinds.ERROR: _by_row("output_error_fixed", "one"),
    kinds.RESIDUAL: _by_element("residual_fixed", "output_shift", "target_shift"),
    kinds.SIGN: _by_element("sign_fixed"),
    kinds.SLOPE: _by_element("relu_mask", "highest"),
    kinds.PROJECT: _product("project_error_fixed"),
    kinds.PROJECT_UP: _product("project_up_fixed"),
    kinds.SELECT: _by_row("project_target_fixed"),
    kinds.MEAN: _mean,
    kinds.DELTA: _delta,
    kinds.GRAD: _product("weight_gradient_fixed"),
    kinds.GRAD_BIAS: _by_row("bias_gradient_fixed"),
    kinds.CLIP: _by_element("clip_fixed", "limit"),
    kinds.EXPONENT: _exponent,
    kinds.REQUANT: _requant,
    kinds.MOMENTUM: _by_element("momentum_fixed", "factor", "velocity_shift", "gradient_shift"),
    kinds.UPDATE: _update,
}
bind_fixed = FixedBinding()
