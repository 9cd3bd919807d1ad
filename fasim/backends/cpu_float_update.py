"""Binding of float32 updates: an optimizer's kernel, alone or in one pass with the gradient that it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fasim import kernels, optimizers
from fasim.backends.cpu_bind import Arrays, Call, Slice, in_registers
from fasim.kernels import micro
from fasim.schedule import Op, Schedule
from fasim.schedule import ops as kinds

IN_REGISTERS: dict[str, Callable[..., None]] = {
    "sgd": micro.sgd_tn_float32,
    "momentum": micro.momentum_tn_float32,
    "nesterov": micro.nesterov_tn_float32,
    "rmsprop": micro.rmsprop_tn_float32,
    "adam": micro.adam_tn_float32,
}


def update(op: Op, read: list[np.ndarray], rate: np.ndarray, step: np.ndarray) -> Call:
    """Bind UPDATE of parameters, gradient and states, or of the same rows of them."""
    flat = [array.reshape(-1) for array in read]
    return getattr(kernels, op.attrs["optimizer"]), (*flat, *_numbers(op, rate, step))


def fused_update(schedule: Schedule, ops: tuple[Op, ...], arrays: Arrays, part: Slice, step: np.ndarray) -> list[Call]:
    """Bind GRAD and the UPDATE that alone reads it as one pass, where the schedule keeps the gradient in registers.

    The optimizer changes weights and states from the registers that hold the gradient: the same bits as op by op. No calls
    where the ops are not such a pair.
    """
    if [op.kind for op in ops] != [kinds.GRAD, kinds.UPDATE] or not in_registers(schedule, ops[0].writes[0]):
        return []
    delta, act = (arrays[value.tensor] for value in ops[0].reads)
    parameter, _, *states = (arrays[value.tensor].reshape(-1, act.shape[1]) for value in ops[1].reads)
    moved = (part.of(array) for array in (parameter, *states))
    numbers = _numbers(ops[1], arrays[ops[1].scalars[0].tensor], step)
    return [(IN_REGISTERS[ops[1].attrs["optimizer"]], (delta[:, part.start : part.stop], act, *moved, *numbers))]


def _numbers(op: Op, rate: np.ndarray, step: np.ndarray) -> tuple[Any, ...]:
    """Return what an optimizer's kernels take last."""
    constants = optimizers.get(op.attrs["optimizer"]).constants
    decay = np.float32(op.attrs.get("decay", 0.0)), optimizers.DECAY_KINDS.index(op.attrs.get("decay_kind", "coupled"))
    match op.attrs["optimizer"]:
        case "momentum" | "nesterov":
            return rate, np.float32(constants["mu"]), *decay
        case "adam":
            return rate, step, *constants.values(), *decay
        case _:
            return rate, *constants.values(), *decay
