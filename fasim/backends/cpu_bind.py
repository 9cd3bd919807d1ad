"""Binding: one op of a schedule, its arrays and a slice of the work become kernel calls."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fasim import kernels, optimizers
from fasim.backends import Samples
from fasim.data import CODE_FRAC
from fasim.errors import ScheduleError
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from fasim.schedule import Op, Schedule
from fasim.schedule import ops as kinds

Call = tuple[Callable[..., Any], tuple[Any, ...]]
Arrays = dict[str, np.ndarray]

INPUT_SCALE = np.float32(2.0**-CODE_FRAC)


class Slice(NamedTuple):
    """Rows start, ..., stop - 1 of a tensor's first axis."""

    start: int
    stop: int

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return these rows of an array."""
        return array[self.start : self.stop]


class _Float:
    """Calls of the float32 kernels. One thread runs them: slices are whole tensors."""

    def load(self, arrays: Arrays, data: Samples, rows: Slice, batch: np.ndarray) -> list[Call]:
        codes, labels = data
        return [
            (kernels.load_rows, (codes, batch, INPUT_SCALE, rows.of(arrays["act.0"]))),
            *_load_labels(arrays, labels, rows, batch),
        ]

    def op(
        self,
        schedule: Schedule,  # noqa: ARG002
        op: Op,
        arrays: Arrays,
        part: Slice,  # noqa: ARG002
        step: np.ndarray,
        counter: np.ndarray | None,  # noqa: ARG002
    ) -> list[Call]:
        read = [arrays[value.tensor] for value in op.reads]
        out = arrays[op.writes[0].tensor]
        scale = np.float32(op.attrs.get("scale", 1.0))
        match op.kind:
            case kinds.DENSE:
                return [(kernels.dense_forward, (*read, out))]
            case kinds.ACTIVATE:
                return [(getattr(kernels, op.attrs["function"]), (*read, out))]
            case kinds.ERROR:
                return [(kernels.output_error, (*read, out))]
            case kinds.SIGN:
                return [(kernels.sign, (*read, out))]
            case kinds.SLOPE:
                return [(getattr(kernels, f"{op.attrs['function']}_slope"), (*read, out))]
            case kinds.PROJECT:
                return [(kernels.project_error, (*read, scale, out))]
            case kinds.SELECT:
                return [(kernels.project_target, (*read, scale, out))]
            case kinds.DELTA if len(read) == 2:
                return [(kernels.hidden_delta, (*read, scale, out))]
            case kinds.DELTA:
                return [(kernels.linear_delta, (*read, scale, out))]
            case kinds.GRAD:
                return [(kernels.weight_gradient, (*read, out))]
            case kinds.GRAD_BIAS:
                return [(kernels.bias_gradient, (*read, out))]
            case kinds.UPDATE:
                return [_update_float(op, read, arrays["learning_rate"], step)]
        raise ScheduleError(f"no float32 kernel for {op.kind}")


def _update_float(op: Op, read: list[np.ndarray], rate: np.ndarray, step: np.ndarray) -> Call:
    flat = [array.reshape(-1) for array in read]
    constants = optimizers.get(op.attrs["optimizer"]).constants
    match op.attrs["optimizer"]:
        case "sgd":
            return (kernels.sgd, (*flat, rate))
        case "momentum":
            return (kernels.momentum, (*flat, rate, np.float32(constants["mu"])))
        case _:
            return (kernels.adam, (*flat, rate, step, *constants.values()))


class _Fixed:
    """Calls of the integer kernels, each on a slice of the batch rows or of the units."""

    def load(self, arrays: Arrays, data: Samples, rows: Slice, batch: np.ndarray) -> list[Call]:
        codes, labels = data
        return [
            (kernels.gather_rows, (codes, batch, rows.of(arrays["act.0"]))),
            *_load_labels(arrays, labels, rows, batch),
        ]

    def op(
        self,
        schedule: Schedule,
        op: Op,
        arrays: Arrays,
        part: Slice,
        step: np.ndarray,
        counter: np.ndarray | None,
    ) -> list[Call]:
        read = [arrays[value.tensor] for value in op.reads]
        out = part.of(arrays[op.writes[0].tensor])
        rows = part.of(read[0])
        match op.kind:
            case kinds.DENSE:
                shifts = (op.attrs["product_shift"], op.attrs["bias_shift"])
                return [(kernels.dense_forward_fixed, (rows, read[1], read[2], *shifts, out))]
            case kinds.LOOKUP:
                return [(kernels.look_up, (rows, read[1], op.attrs["lowest"], out))]
            case kinds.ERROR:
                return [(kernels.output_error_fixed, (rows, part.of(read[1]), op.attrs["one"], out))]
            case kinds.SIGN:
                return [(kernels.sign_fixed, (rows, out))]
            case kinds.PROJECT:
                return [(kernels.project_error_fixed, (rows, read[1], out))]
            case kinds.SELECT:
                return [(kernels.project_target_fixed, (rows, read[1], out))]
            case kinds.DELTA if len(read) == 2:
                return [(kernels.multiply_fixed, (rows, part.of(read[1]), out))]
            case kinds.DELTA:
                return [(kernels.copy_fixed, (rows, out))]
            case kinds.GRAD:
                return [(kernels.weight_gradient_fixed, (read[0], read[1], part.start, out))]
            case kinds.GRAD_BIAS:
                return [(kernels.bias_gradient_fixed, (read[0], part.start, out))]
            case kinds.REQUANT:
                shift = _frac(schedule, op.reads[0].tensor) - _frac(schedule, op.writes[0].tensor)
                arguments = self._cast(schedule, op, arrays, part)
                return [
                    (
                        _requantize_at,
                        (
                            rows.reshape(-1),
                            shift,
                            *arguments[:-1],
                            step,
                            arguments[-1],
                            out.reshape(-1),
                            counter,
                        ),
                    )
                ]
            case kinds.UPDATE:
                gradient = part.of(read[1]).reshape(-1)
                shifts = (op.attrs["shift"], arrays["learning_shift"])
                arguments = self._cast(schedule, op, arrays, part)
                parameter = out.reshape(-1)
                return [
                    (
                        kernels.update_fixed,
                        (
                            parameter,
                            gradient,
                            *shifts,
                            *arguments[:-1],
                            step,
                            arguments[-1],
                            counter,
                        ),
                    )
                ]
        raise ScheduleError(f"no fixed-point kernel for {op.kind}")

    def _cast(self, schedule: Schedule, op: Op, arrays: Arrays, part: Slice) -> tuple[int, ...]:
        """Return lo, hi, rounding, overflow, seed, site and the index of the slice's first element."""
        tensor = schedule[op.writes[0]]
        assert tensor.format is not None
        return (
            tensor.format.lo,
            tensor.format.hi,
            ROUNDINGS[op.attrs["rounding"]],
            OVERFLOWS[op.attrs["overflow"]],
            int(arrays["seed"][0]),
            zlib.crc32(op.site.encode()),
            part.start * (tensor.elements // tensor.shape[0]),
        )


def _requantize_at(
    raw: np.ndarray,
    shift: int,
    lo: int,
    hi: int,
    rounding: int,
    overflow: int,
    seed: int,
    site: int,
    step: np.ndarray,
    first: int,
    out: np.ndarray,
    counters: np.ndarray,
) -> None:
    """Call the kernel with the number of the step that runs now."""
    kernels.requantize(raw, shift, lo, hi, rounding, overflow, seed, site, step[0], first, out, counters)


def _load_labels(arrays: Arrays, labels: np.ndarray, rows: Slice, batch: np.ndarray) -> list[Call]:
    """Return the call that gathers labels; an evaluation pass has none."""
    return [(kernels.load_labels, (labels, batch, rows.of(arrays["label"])))] if "label" in arrays else []


def _frac(schedule: Schedule, tensor: str) -> int:
    fmt = schedule[tensor].format
    assert fmt is not None
    return fmt.frac


bind_float = _Float()
bind_fixed = _Fixed()
