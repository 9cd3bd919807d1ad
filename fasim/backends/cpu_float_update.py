"""Binding of float32 updates: an optimizer's kernel, alone or in one pass with the gradient that it reads."""

from __future__ import annotations

import numpy as np

from fasim import kernels, optimizers
from fasim.backends.cpu_bind import Arrays, Call, Slice, in_registers
from fasim.kernels import micro
from fasim.schedule import Op, Schedule
from fasim.schedule import ops as kinds

# A block of a gradient that the optimizer reads while it is in the first- or second-level cache
BLOCK_BYTES = 128 * 1024


def update(op: Op, read: list[np.ndarray], rate: np.ndarray, step: np.ndarray) -> Call:
    """Bind UPDATE of parameters, gradient and states, or of the same rows of them."""
    flat = [array.reshape(-1) for array in read]
    constants = optimizers.get(op.attrs["optimizer"]).constants
    decay = np.float32(op.attrs.get("decay", 0.0)), optimizers.DECAY_KINDS.index(op.attrs.get("decay_kind", "coupled"))
    match op.attrs["optimizer"]:
        case "sgd":
            return (kernels.sgd, (*flat, rate, *decay))
        case "momentum":
            return (kernels.momentum, (*flat, rate, np.float32(constants["mu"]), *decay))
        case "nesterov":
            return (kernels.nesterov, (*flat, rate, np.float32(constants["mu"]), *decay))
        case "rmsprop":
            return (kernels.rmsprop, (*flat, rate, *constants.values(), *decay))
        case _:
            return (kernels.adam, (*flat, rate, step, *constants.values(), *decay))


def fused_update(schedule: Schedule, ops: tuple[Op, ...], arrays: Arrays, part: Slice, step: np.ndarray) -> list[Call]:
    """Bind GRAD and the UPDATE that alone reads it as one pass, where the schedule keeps the gradient in registers.

    Gradient descent changes the weights from the registers that hold the gradient; other optimizers read it block by block
    while it is cached. No calls where the ops are not such a pair. The same bits as op by op.
    """
    if [op.kind for op in ops] != [kinds.GRAD, kinds.UPDATE] or not in_registers(schedule, ops[0].writes[0]):
        return []
    delta, act = (arrays[value.tensor] for value in ops[0].reads)
    rate = arrays[ops[1].scalars[0].tensor]
    parameter, _, *states = (arrays[value.tensor].reshape(-1, act.shape[1]) for value in ops[1].reads)
    if ops[1].attrs["optimizer"] == "sgd":
        decay = update(ops[1], [parameter], rate, step)[1][2:]
        return [(micro.sgd_tn_float32, (delta[:, part.start : part.stop], act, part.of(parameter), rate, *decay))]
    calls: list[Call] = []
    rows = max(BLOCK_BYTES // (4 * act.shape[1]), 1)
    block = np.empty((min(rows, part.stop - part.start), act.shape[1]), np.float32)
    for first in range(part.start, part.stop, rows):
        here = Slice(first, min(first + rows, part.stop))
        gradient = block[: here.stop - here.start]
        calls.append((kernels.weight_gradient, (delta[:, here.start : here.stop], act, gradient)))
        calls.append(update(ops[1], [here.of(parameter), gradient, *(here.of(state) for state in states)], rate, step))
    return calls
