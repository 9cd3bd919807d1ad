"""Lowering to fixed point: a pass that gives every tensor its format and every cast its place, name and mode.

The ops stay; between them the pass inserts ``REQUANT`` at named sites, replaces activations and slopes by table look-ups
over the pre-activation's format, and gives a weight its master copy. ``docs/reference/training-step.md`` states what each
site computes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fasim.errors import FormatError
from fasim.fixedpoint.datapath import Cast, Datapath
from fasim.fixedpoint.format import Fixed
from fasim.schedule import ops as kinds
from fasim.schedule.builder import SIGN_OF_ERROR
from fasim.schedule.emitter import LEARNING_RATE
from fasim.schedule.values import Op, Schedule, Tensor, Value

LEARNING_SHIFT = "learning_shift"
MAX_ACCUMULATOR_BITS = 63
RANDOM_BITS = 32
# what a user asked for, by the op that first meets it; other ops are named as they are
IN_WORDS = {
    kinds.NORM: "batch normalisation (NORM)",
    kinds.DROPOUT: "dropout",
    kinds.RESIDUAL: "a target of values or inputs (RESIDUAL)",
    kinds.PERTURB: "fgsm",
    kinds.SQUARED_NORM: "clipping",
    kinds.CLIP: "clipping",
    kinds.PROJECT_UP: "feedback from below (PROJECT_UP)",
} | dict.fromkeys((kinds.PROJECT_ELL, kinds.PROJECT_CSR, kinds.SELECT_ELL, kinds.SELECT_CSR), "sparse feedback")


def lower(schedule: Schedule, datapath: Datapath) -> Schedule:
    """Return the schedule in fixed point.

    Parameters
    ----------
    schedule : Schedule
        In float, as a rule emits it (before ordering and fusing).
    datapath : Datapath

    Raises
    ------
    FormatError
        For what has no fixed-point form yet (softmax, ReLU, momentum, Adam, mean reduction), or an accumulator that needs
        more than 63 bits.
    """
    pass_ = _Lowering(schedule, datapath)
    for op in schedule.ops:
        pass_.lower_op(op)
    return replace(
        schedule,
        tensors=pass_.tensors,
        ops=tuple(pass_.ops),
        datapath=datapath.name,
        tables=pass_.tables,
    )


class _Lowering:
    def __init__(self, schedule: Schedule, datapath: Datapath) -> None:
        self.schedule = schedule
        self.datapath = datapath
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.tables: dict[str, np.ndarray] = {}
        for tensor in schedule.tensors.values():
            if tensor.name != LEARNING_RATE:
                encoding = "sign" if tensor.name == SIGN_OF_ERROR else tensor.encoding
                self.tensors[tensor.name] = replace(tensor, format=self._format(tensor), encoding=encoding)
        shift = Fixed(8, 0)
        self.tensors[LEARNING_SHIFT] = Tensor(LEARNING_SHIFT, "scalar", "", (), "input", shift)

    def _format(self, tensor: Tensor) -> Fixed | None:
        """Return the format that the datapath names for a tensor; sums of products get theirs from their op."""
        data = self.datapath
        if tensor.name == "act.0":
            return data.input
        match tensor.cls:
            case "act" | "map" | "output":
                return data.act.format
            case "preact":
                return data.preact.format
            case "slope":
                return tensor.format or data.slope.format
            case "error":
                return Fixed(2, 0) if tensor.name == SIGN_OF_ERROR else data.error.format
            case "delta":
                return data.delta.format
            case "weight":
                return data.weight.format
            case "bias":
                return data.bias
            case "feedback":
                assert tensor.bound is not None
                return data.feedback_format(tensor.bound)
        return tensor.format

    def lower_op(self, op: Op) -> None:
        match op.kind:
            case kinds.DENSE | kinds.CONV:
                self._forward_sum(op)
            case kinds.ACTIVATE:
                self._look_up(op, Value(f"preact.{op.layer}"), "act")
            case kinds.SLOPE:
                self._look_up(op, Value(f"preact.{op.layer}"), "slope")
            case kinds.ERROR:
                self._error(op)
            case kinds.PROJECT | kinds.PROJECT_CONV | kinds.SELECT:
                self._transport(op)
            case kinds.UNPOOL:
                self._copy_format(op)
            case kinds.DELTA:
                self._delta(op)
            case kinds.GRAD | kinds.GRAD_CONV | kinds.GRAD_BIAS:
                self._gradient(op)
            case kinds.UPDATE:
                self._update(op)
            case kinds.POOL | kinds.SIGN:
                self.ops.append(op)
            case _:
                raise FormatError(
                    f"datapath {self.datapath.name}: {IN_WORDS.get(op.kind, op.kind)} of rule {self.schedule.rule} on "
                    f"{self.schedule.network} has no fixed-point form yet; use the datapath float32 alone"
                )

    def _fixed(self, value: Value) -> Fixed:
        fmt = self.tensors[value.tensor].format
        assert fmt is not None, value
        return fmt

    def _set_format(self, value: Value, fmt: Fixed) -> None:
        self.tensors[value.tensor] = replace(self.tensors[value.tensor], format=fmt)

    def _sum_format(self, op: Op, first: Fixed, second: Fixed, terms: int, extra: Fixed | None = None) -> Fixed:
        """Return the narrowest format that holds the exact sum of `terms` products, plus a bias of format `extra`."""
        frac = first.frac + second.frac
        largest = max(abs(first.lo), first.hi) * max(abs(second.lo), second.hi) * terms
        if extra is not None:
            aligned = max(frac, extra.frac)
            largest = (largest << (aligned - frac)) + (max(abs(extra.lo), extra.hi) << (aligned - extra.frac))
            frac = aligned
        bits = largest.bit_length() + 1
        if bits > MAX_ACCUMULATOR_BITS:
            raise FormatError(
                f"datapath {self.datapath.name}: layer {op.layer} {op.kind} sums {terms} products of {first} and {second}, "
                f"{bits} bits; at most {MAX_ACCUMULATOR_BITS} can be accumulated exactly, use narrower formats"
            )
        return Fixed(bits, frac)

    def _cast(self, source: Value, target: Value, cast: Cast, op: Op, site: str, group: str = "") -> None:
        dropped = self._fixed(source).frac - cast.format.frac
        if cast.rounding == "STOCH" and dropped > RANDOM_BITS:
            raise FormatError(
                f"datapath {self.datapath.name}: {site} would round away {dropped} bits at random, but a random word has "
                f"{RANDOM_BITS}; give {cast.format} more fraction bits or another rounding"
            )
        attrs = {"rounding": cast.rounding, "overflow": cast.overflow}
        group = group or f"at {site}"
        self.ops.append(
            Op(
                kinds.REQUANT,
                (source,),
                (target,),
                op.phase,
                op.layer,
                attrs,
                site=site,
                group=group,
            )
        )

    def _register(self, name: str, like: Value, fmt: Fixed) -> Value:
        model = self.tensors[like.tensor]
        self.tensors[name] = Tensor(name, "accumulator", model.axes, model.shape, "register", fmt)
        return Value(name)

    def _forward_sum(self, op: Op) -> None:
        act, weight, bias = op.reads
        terms = math.prod(self.tensors[weight.tensor].shape[1:])
        fmt = self._sum_format(op, self._fixed(act), self._fixed(weight), terms, self._fixed(bias))
        site = op.writes[0].tensor
        accumulator = self._register(f"accumulator.{op.layer}", op.writes[0], fmt)
        attrs = op.attrs | {
            "product_shift": fmt.frac - self._fixed(act).frac - self._fixed(weight).frac,
            "bias_shift": fmt.frac - self._fixed(bias).frac,
        }
        self.ops.append(replace(op, writes=(accumulator,), attrs=attrs, group=f"at {site}"))
        self._cast(accumulator, op.writes[0], self.datapath.preact, op, site)

    def _look_up(self, op: Op, preact: Value, what: str) -> None:
        function = op.attrs["function"]
        if function in ("relu", "softmax"):
            instead = "--loss bce" if function == "softmax" else "--hidden tanh"
            raise FormatError(
                f"datapath {self.datapath.name}: activation {function} has no fixed-point form yet; use {instead}, or the "
                "datapath float32 alone"
            )
        build = self.datapath.act_table if what == "act" else self.datapath.slope_table
        entries = build(function)
        name = f"table.{what}.{function}"
        fmt = self._fixed(op.writes[0])
        self.tensors[name] = Tensor(name, "table", "T", entries.shape, "table", fmt)
        self.tables[name] = entries
        attrs = {"function": function, "lowest": self._fixed(preact).lo}
        self.ops.append(replace(op, kind=kinds.LOOKUP, reads=(preact, Value(name)), attrs=attrs))

    def _error(self, op: Op) -> None:
        output = self._fixed(op.reads[0])
        if output.frac < 0:
            raise FormatError(f"datapath {self.datapath.name}: act {output} cannot hold the target 1.0; give it frac >= 0")
        # output - 1.0 needs one more bit than the output, and the sign
        difference = self._register("difference", op.writes[0], Fixed(max(output.bits, output.frac + 1) + 1, output.frac))
        self.ops.append(replace(op, writes=(difference,), attrs={"one": 1 << output.frac}, group="at error"))
        self._cast(difference, op.writes[0], self.datapath.error, op, "error")

    def _transport(self, op: Op) -> None:
        signal, matrix = op.reads
        scale_bits = self._scale_bits(op)
        if op.kind == kinds.SELECT:
            row = self._fixed(matrix)
            fmt = Fixed(row.bits, row.frac - scale_bits)
        else:
            shape = self.tensors[matrix.tensor].shape
            terms = shape[0] if op.kind == kinds.PROJECT else math.prod(shape[:3])
            fmt = self._sum_format(op, self._fixed(signal), self._fixed(matrix), terms)
            fmt = Fixed(fmt.bits, fmt.frac - scale_bits)
        self._set_format(op.writes[0], fmt)
        self.ops.append(replace(op, attrs=_without_scale(op.attrs)))

    def _copy_format(self, op: Op) -> None:
        self._set_format(op.writes[0], self._fixed(op.reads[0]))
        self.ops.append(op)

    def _delta(self, op: Op) -> None:
        formats = [self._fixed(value) for value in op.reads]
        fmt = self._sum_format(op, formats[0], formats[1], 1) if len(formats) == 2 else formats[0]
        fmt = Fixed(fmt.bits, fmt.frac - self._scale_bits(op))
        site = op.writes[0].tensor
        product = self._register(f"product.{op.layer}", op.writes[0], fmt)
        self.ops.append(replace(op, writes=(product,), attrs=_without_scale(op.attrs), group=f"at {site}"))
        self._cast(product, op.writes[0], self.datapath.delta, op, site)

    def _scale_bits(self, op: Op) -> int:
        """Return p for a scale of 2^p, which costs nothing: the result's binary point moves."""
        mantissa, exponent = math.frexp(op.attrs["scale"])
        if mantissa != 0.5 or op.attrs["scale"] < 1:
            raise FormatError(
                f"datapath {self.datapath.name}: fixed point sums the gradients of a batch; use reduction sum, not mean"
            )
        return exponent - 1

    def _gradient(self, op: Op) -> None:
        delta = self.tensors[op.reads[0].tensor]
        assert delta.format is not None
        sums = math.prod(delta.shape) // self.tensors[op.writes[0].tensor].shape[0]
        other = self._fixed(op.reads[1]) if len(op.reads) == 2 else Fixed(1, 0, signed=False)
        self._set_format(op.writes[0], self._sum_format(op, delta.format, other, sums))
        self.ops.append(op)

    def _update(self, op: Op) -> None:
        if op.attrs["optimizer"] != "sgd":
            raise FormatError(
                f"datapath {self.datapath.name}: optimizer {op.attrs['optimizer']} has no fixed-point form yet; use sgd"
            )
        if op.attrs["group"] == "feedback" or op.attrs.get("decay"):
            what = "feedback that learns" if op.attrs["group"] == "feedback" else "weight decay"
            raise FormatError(
                f"datapath {self.datapath.name}: {what} has no fixed-point form yet; use the datapath float32 alone"
            )
        parameter, gradient = op.reads
        new = op.writes[0]
        group, data = op.attrs["group"], self.datapath
        master = data.master if group == "weight" else None
        target, target_format = parameter, self._fixed(parameter)
        if master is not None:
            name = f"master.{op.layer}"
            model = self.tensors[parameter.tensor]
            self.tensors[name] = replace(model, name=name, cls="master", format=master)
            target, target_format = Value(name), master
        attrs: dict[str, Any] = op.attrs | {
            # shift = F_gradient - F_target + k, k the learning shift of this step
            "shift": self._fixed(gradient).frac - target_format.frac,
            "rounding": data.update_rounding,
            "overflow": data.update_overflow,
        }
        written = Value(target.tensor, 1)
        site = f"update.{parameter.tensor}"
        update = replace(op, reads=(target, gradient), writes=(written,), attrs=attrs, site=site)
        self.ops.append(replace(update, scalars=(Value(LEARNING_SHIFT),), group=f"at {site}"))
        if master is not None:
            self._cast(written, new, data.weight, op, parameter.tensor, group=f"at {site}")


def _without_scale(attrs: dict[str, Any]) -> dict[str, Any]:
    return attrs | {"scale": 1.0}
