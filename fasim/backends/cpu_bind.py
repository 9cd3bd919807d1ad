"""Binding of fixed-point schedules: one op, its arrays and a slice of the work become calls of kernels."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fasim import kernels
from fasim.backends import Samples
from fasim.errors import ScheduleError
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from fasim.schedule import Op, Schedule
from fasim.schedule import ops as kinds

Call = tuple[Callable[..., Any], tuple[Any, ...]]
Arrays = dict[str, np.ndarray]


class Slice(NamedTuple):
    """Rows start, ..., stop - 1 of a tensor's first axis."""

    start: int
    stop: int

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return these rows of an array."""
        return array[self.start : self.stop]


class _Fixed:
    """Calls of the integer kernels, each on a slice of the batch rows or of the units."""

    def load(self, schedule: Schedule, arrays: Arrays, data: Samples, rows: Slice, batch: np.ndarray) -> list[Call]:
        return [
            (kernels.gather_rows, (data.codes, batch, rows.of(arrays["act.0"]))),
            *load_labels(schedule, arrays, data.labels, rows, batch),
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
                shifts = (op.attrs["shift"], arrays[op.scalars[0].tensor])
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


def load_labels(schedule: Schedule, arrays: Arrays, labels: np.ndarray, rows: Slice, batch: np.ndarray) -> list[Call]:
    """Return the call that gathers labels or targets; an evaluation pass and an auto-encoder have none."""
    name = schedule.given("label")
    if not name:
        return []
    out = rows.of(arrays[name])
    if name == "label":
        return [(kernels.load_labels, (labels, batch, out))]
    return [(kernels.load_rows, (labels, batch, np.float32(1.0), out))]


def _frac(schedule: Schedule, tensor: str) -> int:
    fmt = schedule[tensor].format
    assert fmt is not None
    return fmt.frac


bind_fixed = _Fixed()
