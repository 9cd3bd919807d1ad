"""Deferral: the update of step t becomes part of the forward pass of step t + 1, so that a weight is read once for both.

A layer's gradient and update need only what the step kept of that layer - its delta and its input. Kept for one step more,
these ops join the layer's forward group: the weight is read, updated, used and written back. That is the body of a run of
many steps; its first step has nothing to update, and after its last step what is kept is updated at once, before anyone
evaluates or saves. The weights that each op reads are the same as without deferral, so the results are too.

An update stays where it is if its gradient is read as a whole before (clipping by the norm of all gradients, an exponent
chosen from its data), or if anything else in the step reads what it has written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fasim.schedule import ops as kinds
from fasim.schedule.values import Op, Schedule, Tensor, Value

PREVIOUS = ".previous"
# what needs all of a gradient before any of it can be used
_WHOLE = (kinds.SQUARED_NORM, kinds.EXPONENT, kinds.RESCALE)


def deferred(op: Op) -> bool:
    """Tell whether an op belongs to the update of the step before."""
    return op.phase in ("gradient", "update") and op.group.startswith("forward.")


def parameter(op: Op) -> str:
    """Return the name of the parameter that an op of a gradient or an update works for."""
    return op.writes[0].tensor.removeprefix("gradient.").replace("master.", "weight.")


def defer(schedule: Schedule) -> Schedule:
    """Return the body of a run of steps: deferred updates first, in the groups of their layers' forward pass.

    Parameters
    ----------
    schedule : Schedule

    Returns
    -------
    Schedule
        Not ordered. What is kept for the next step has the storage ``kept``; ``<name>.previous`` is what was.
    """
    chains = [chain for chain in _chains(schedule) if _can_wait(schedule, chain)]
    moved = {index: _group(schedule, chain) for chain in chains for index in chain}
    written = {value for index in moved for value in schedule.ops[index].writes}
    tensors, ops = dict(schedule.tensors), []
    for index in sorted(moved):
        op = schedule.ops[index]
        for value in op.reads:
            if value not in written and schedule[value].storage in ("temp", "input", "kept"):
                _keep(tensors, value.tensor)
        ops.append(replace(op, reads=tuple(_before(tensors, value) for value in op.reads), group=moved[index]))
    newest = {value.tensor: value for value in sorted(written, key=lambda value: value.version)}
    for index, op in enumerate(schedule.ops):
        if index not in moved:
            ops.append(replace(op, reads=tuple(newest.get(value.tensor, value) for value in op.reads)))
    return replace(schedule, tensors=tensors, ops=tuple(ops))


def _chains(schedule: Schedule) -> Iterable[set[int]]:
    """Yield, for each parameter, its update with all that makes its gradient and all that follows from it."""
    writer = {value: index for index, op in enumerate(schedule.ops) for value in op.writes}
    readers: dict[Value, list[int]] = {}
    for index, op in enumerate(schedule.ops):
        for value in op.reads:
            readers.setdefault(value, []).append(index)
    done: set[int] = set()
    for start, op in enumerate(schedule.ops):
        if op.kind != kinds.UPDATE or start in done:
            continue
        chain, waiting = set(), [start]
        while waiting:
            index = waiting.pop()
            if index in chain:
                continue
            chain.add(index)
            here = schedule.ops[index]
            feeding = (writer[value] for value in here.reads if value in writer)
            following = (reader for value in here.writes for reader in readers.get(value, ()))
            waiting += [other for other in (*feeding, *following) if schedule.ops[other].phase in ("gradient", "update")]
        done |= chain
        yield chain


def _can_wait(schedule: Schedule, chain: set[int]) -> bool:
    written = {value for index in chain for value in schedule.ops[index].writes}
    given = {value for op in schedule.ops for value in op.writes}
    ops = [schedule.ops[index] for index in chain]
    if any(op.kind in _WHOLE or any(value in given for value in op.scalars) for op in ops):
        return False
    if any(schedule[value].points for op in ops for value in op.reads):
        return False
    outside = (op for index, op in enumerate(schedule.ops) if index not in chain)
    return not any(value in written for op in outside for value in op.reads)


def _keep(tensors: dict[str, Tensor], name: str) -> None:
    """Keep a tensor for the next step, and give this step what the one before has kept."""
    tensor = tensors[name]
    tensors[name] = replace(tensor, storage="kept") if tensor.storage == "temp" else tensor
    tensors.setdefault(name + PREVIOUS, replace(tensor, name=name + PREVIOUS, storage="previous"))


def _before(tensors: dict[str, Tensor], value: Value) -> Value:
    name = value.tensor + PREVIOUS
    return Value(name) if name in tensors else value


def _group(schedule: Schedule, chain: set[int]) -> str:
    """Return the forward group of the layer whose weights a chain updates; feedback that learns along comes with them."""
    updates = [op for op in (schedule.ops[index] for index in sorted(chain)) if op.kind == kinds.UPDATE]
    first = min(updates, key=lambda op: op.attrs["group"] != "weight")
    return f"forward.{first.layer}"
