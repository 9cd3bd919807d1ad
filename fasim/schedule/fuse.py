"""Fusion: which ops run as one pass over the data, so that what lies between them never reaches memory.

``none`` leaves every op by itself. ``within_layer`` joins, for every rule alike, the pre-activation with its activation,
the transport with slope and delta, and the gradient with its update - wherever the dependencies allow it. ``deferred``
first moves each update into the forward pass of the next step (:mod:`fasim.schedule.defer`), where it joins its layer's
group. A fused group changes traffic and lifetimes, never a result. A cast belongs to the op that feeds it in both: it sits
at that op's output.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import replace

from fasim.errors import ConfigError, ScheduleError, unknown_name
from fasim.schedule import ops as kinds
from fasim.schedule.defer import defer, deferred, parameter
from fasim.schedule.emitter import CLEAN
from fasim.schedule.order import order
from fasim.schedule.values import Op, Schedule, Value

FUSIONS = ("none", "within_layer", "deferred")
FORWARD_KINDS = (kinds.DENSE, kinds.CONV, kinds.ACTIVATE, kinds.LOOKUP, kinds.SOFTMAX, kinds.REQUANT)
ERROR_KINDS = (
    kinds.PROJECT,
    kinds.PROJECT_CONV,
    kinds.SELECT,
    kinds.SLOPE,
    kinds.LOOKUP,
    kinds.DELTA,
    kinds.REQUANT,
)
NORMS = (kinds.NORM, kinds.NORM_INFERENCE)
UPDATE_KINDS = (kinds.GRAD, kinds.GRAD_CONV, kinds.GRAD_BIAS, kinds.UPDATE, kinds.REQUANT)


def fuse(schedule: Schedule, how: str) -> Schedule:
    """Return the schedule with ops grouped, values inside a group turned into registers, and ops ordered again.

    Parameters
    ----------
    schedule : Schedule
        Ordered.
    how : str
        One of :data:`FUSIONS`.
    """
    if how not in FUSIONS:
        raise ConfigError(unknown_name("fusion", how, FUSIONS))
    if how == "none":
        return schedule
    if how == "deferred":
        schedule = defer(schedule)
    names = sorted(set(_groups(schedule)) - {""})
    try:
        schedule = _grouped(schedule, names)
    except ScheduleError:
        # some group would wait for something that waits for it: join them one by one, that one stays apart
        for name in names:
            with contextlib.suppress(ScheduleError):
                schedule = _grouped(schedule, [name])
    return replace(_registers(schedule), fuse=how)


def _grouped(schedule: Schedule, names: Collection[str]) -> Schedule:
    """Return the schedule with the groups of these names joined and ordered, or raise ScheduleError."""
    pairs = zip(schedule.ops, _groups(schedule), strict=True)
    ops = (replace(op, group=group) if group in names else op for op, group in pairs)
    return order(replace(schedule, ops=tuple(ops)), schedule.order)


def _groups(schedule: Schedule) -> list[str]:
    """Return the group that each op would join; a normalisation over the batch ends the pass through its layer."""
    result, ended = [], set()
    for op in schedule.ops:
        name = _group(schedule, op)
        if op.kind in NORMS:
            ended.add(_forward(op))
        result.append(f"{name}.normed" if name in ended and not deferred(op) else name)
    return result


def _first(op: Op) -> str:
    """Return what the fast gradient sign pass is told by, which goes through every layer before the step itself does."""
    return CLEAN if op.writes[0].tensor.startswith(CLEAN) else ""


def _forward(op: Op) -> str:
    return f"{_first(op)}forward.{op.layer}"


def _group(schedule: Schedule, op: Op) -> str:
    if deferred(op):
        return op.group
    if op.phase == "forward" and op.kind in FORWARD_KINDS and schedule[op.writes[0]].axes[:1] == "N":
        return _forward(op)
    if op.phase == "error" and op.kind in ERROR_KINDS and _feeds_delta(schedule, op):
        return f"{_first(op)}delta.{op.layer}"
    if op.phase in ("gradient", "update") and op.kind in UPDATE_KINDS:
        return f"update.{parameter(op)}"
    return ""


def _feeds_delta(schedule: Schedule, op: Op) -> bool:
    """Tell whether an error op stands on the way from the transport to this layer's delta without a detour."""
    name = op.writes[0].tensor
    if schedule[name].cls == "error":
        return False
    if schedule[name].cls == "delta" or name.startswith("product."):
        return True
    return any(
        reader.kind == kinds.DELTA and reader.layer == op.layer
        for reader in schedule.ops
        for value in reader.reads
        if value.tensor == name
    )


def _registers(schedule: Schedule) -> Schedule:
    """Turn temporary tensors that only their own group touches into registers."""
    groups: dict[str, set[str]] = {}
    for op in schedule.ops:
        for value in (*op.reads, *op.writes):
            groups.setdefault(value.tensor, set()).add(op.group or f"alone {id(op)}")
    read = {value for op in schedule.ops for value in op.reads}
    tensors = dict(schedule.tensors)
    for name, tensor in schedule.tensors.items():
        inner = len(groups.get(name, ())) == 1 and Value(name) in read
        if inner and tensor.storage == "temp":
            tensors[name] = replace(tensor, storage="register")
    return replace(schedule, tensors=tensors)
