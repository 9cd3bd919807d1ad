"""Binding of groups that run as one pass in fixed point, so that what lies between their ops never leaves the cache."""

from __future__ import annotations

import numpy as np

from fasim import kernels
from fasim.backends.cpu_bind import UPDATES, Arrays, Call, Slice, in_registers
from fasim.backends.cpu_cast import Operands
from fasim.backends.cpu_move import forward_moved, moved
from fasim.backends.cpu_sums import add_bias
from fasim.backends.cpu_tiles import ROWS_AT_ONCE, factors, outer
from fasim.fixedpoint.options import RandomSource
from fasim.schedule import Op, Schedule
from fasim.schedule import ops as kinds

_NOTHING = np.zeros(2, np.int64)


def fused(
    schedule: Schedule,
    ops: tuple[Op, ...],
    arrays: Arrays,
    part: Slice,
    step: np.ndarray,
    counters: dict[str, np.ndarray],
) -> list[Call] | None:
    """Return the calls of a group as one pass, None for one that must run op by op.

    A dense layer's gradient, its update and the weight's cast are joined where the gradient is a register and nothing but
    the learning rate changes between steps.
    """
    if not _is_chain(schedule, ops):
        return None
    gradient, update, *cast = (Operands(schedule, op, arrays, part, step, counters.get(op.site)) for op in ops)
    found = factors(gradient, len(gradient.read[0]))
    if found is None:
        return None
    if cast and (calls := moved(found, gradient, update, cast[0])):
        return calls
    delta, act = gradient.read
    tiled = outer(found, delta[:, part.start : part.stop], act, gradient.out.dtype)
    if tiled is None:
        return None
    sums = np.empty((ROWS_AT_ONCE, act.shape[1]), gradient.out.dtype)
    learning = update.arrays[update.op.scalars[0].tensor]
    moves = (
        *(update.out, update.op.attrs["shift"], learning, *update.modes),
        *(update.seed, update.site, update.step, update.first, update.counter),
    )
    casts = (True, cast[0].op.attrs["shift"], *cast[0].modes, cast[0].out, cast[0].counter) if cast else ()
    casts = casts or (False, 0, 0, 0, 0, 0, update.out, _NOTHING.copy())
    kernel = kernels.update_weights_halves if tiled.halves else kernels.update_weights
    factor = tiled.parts() if tiled.halves else tiled.offsets
    return [*tiled.calls, (kernel, (tiled.left, tiled.right, factor, sums, *moves, *casts))]


def fused_forward(
    schedule: Schedule,
    ops: tuple[Op, ...],
    arrays: Arrays,
    part: Slice,
    step: np.ndarray,
    counters: dict[str, np.ndarray],
) -> list[Call] | None:
    """Return the calls of a deferred update of weights and the forward pass behind it as one pass, None for others."""
    *chain, dense = ops
    if not _is_chain(schedule, tuple(chain)) or len(chain) != len(UPDATES[-1]):
        return None
    parts = part, part, part, Slice(0, schedule.batch_size)
    gradient, update, cast, product = (
        Operands(schedule, op, arrays, here, step, counters.get(op.site)) for op, here in zip(ops, parts, strict=True)
    )
    found, mine = factors(product, cast.out.shape[1]), cast.op.writes[0]
    if factors(gradient, 1) is None or found is None or dense.reads[1] != mine:
        return None
    calls = forward_moved(found, gradient, update, cast, product, stored=schedule.readers[mine] > 1)
    return None if calls is None else [*calls, add_bias(dense, product)]


def _is_chain(schedule: Schedule, ops: tuple[Op, ...]) -> bool:
    """Tell whether ops are a gradient that one update alone reads, the update and the cast of what it writes, if any."""
    if tuple(op.kind for op in ops) not in UPDATES or not all(map(_simple, ops)):
        return False
    gradient, update, *cast = ops
    mine = gradient.writes[0]
    follows = update.reads[1] == mine and all(one.reads[0] == update.writes[0] for one in cast)
    return follows and in_registers(schedule, mine)


def _simple(op: Op) -> bool:
    """Tell whether an op of such a group has nothing that changes from step to step, but for the learning rate."""
    attrs = op.attrs
    if op.kind == kinds.GRAD:
        return "accumulator" not in attrs
    random: RandomSource = attrs.get("random") or RandomSource()
    if op.kind == kinds.UPDATE:
        plain = attrs["kind"] == "subtract" and attrs["rate"] == "shift" and attrs["decay_shift"] < 0
        return plain and random.plain and not attrs["signs"]
    return not op.scalars and "divisor" not in attrs and "random" not in attrs and attrs["rounding"] != "STOCH"
