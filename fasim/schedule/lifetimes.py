"""How long each value must be kept, and so what memory a step really needs.

A temporary value lives from the op that writes it to the last op that reads it, both included; the ops of a fusion group
are one pass, which has its operands until it ends and its results from when it begins. Data given with the batch live from
the start of the step. State and tables live always. This is where update locking shows: under backpropagation and DFA every
activation waits for the error, under DRTP a layer's input is free once that layer is updated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

from fasim.schedule.defer import PREVIOUS
from fasim.schedule.values import Schedule, Tensor


@dataclass(frozen=True)
class Lifetime:
    """First and last op index at which a tensor occupies memory."""

    tensor: Tensor
    first: int
    last: int


def lifetimes(schedule: Schedule, *, gradients: str = "in_place") -> list[Lifetime]:
    """Return the lifetime of every tensor that takes memory; versions of one tensor share its storage.

    Parameters
    ----------
    schedule : Schedule
    gradients : str
        ``in_place``: free after the update that reads them; ``deferred``: kept until the step ends.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for op, (begin, stop) in zip(schedule.ops, _passes(schedule), strict=True):
        for value in (*op.reads, *op.writes, *op.scalars):
            # a slice of a shared matrix stands for the whole matrix
            name = schedule[value].view or value.tensor
            first[name] = min(begin, first.get(name, begin))
            last[name] = stop
    end = len(schedule.ops) - 1
    result = []
    for name in first:
        tensor = schedule[name]
        match tensor.storage:
            case "state" | "table":
                result.append(Lifetime(tensor, 0, end))
            case "kept":
                result.append(Lifetime(tensor, first[name], end))
            case "input" if name + PREVIOUS in schedule.tensors:
                result.append(Lifetime(tensor, 0, end))
            case "input" | "previous":
                result.append(Lifetime(tensor, 0, last[name]))
            case "temp":
                kept = gradients == "deferred" and tensor.cls == "gradient"
                result.append(Lifetime(tensor, first[name], end if kept else last[name]))
            case "register":
                if tensor.cls != "accumulator":
                    result.append(Lifetime(_row(tensor), first[name], last[name]))
    return result


def _passes(schedule: Schedule) -> list[tuple[int, int]]:
    """Return, for each op, the first and the last op of the pass that it is part of."""
    of_group: dict[str, tuple[int, int]] = {}
    for index, op in enumerate(schedule.ops):
        if op.group:
            of_group[op.group] = of_group.get(op.group, (index, index))[0], index
    return [of_group.get(op.group, (index, index)) for index, op in enumerate(schedule.ops)]


def _row(tensor: Tensor) -> Tensor:
    """Return the buffer that a fused value needs: one sample, or the weights of one unit."""
    return replace(tensor, axes=tensor.axes[1:], shape=tensor.shape[1:])


def live_bytes(schedule: Schedule, *classes: str, gradients: str = "in_place") -> list[float]:
    """Return the bytes that are live at each op, of the given classes (of all, if none are given)."""
    return _live(schedule, classes, gradients, lambda tensor: tensor.nbytes)


def peak_bytes(schedule: Schedule, *classes: str, gradients: str = "in_place") -> float:
    """Return the largest number of bytes of these classes (of all, if none are given) that are live at once."""
    return max(live_bytes(schedule, *classes, gradients=gradients), default=0.0)


def peak_elements(schedule: Schedule, *classes: str) -> int:
    """Return the largest number of elements of these classes (of all, if none are given) that are live at once."""
    return round(max(_live(schedule, classes, "in_place", lambda tensor: tensor.elements), default=0))


def _live(schedule: Schedule, classes: tuple[str, ...], gradients: str, size: Callable[[Tensor], float]) -> list[float]:
    change = [0.0] * (len(schedule.ops) + 1)
    for life in lifetimes(schedule, gradients=gradients):
        if not classes or life.tensor.cls in classes:
            change[life.first] += size(life.tensor)
            change[life.last + 1] -= size(life.tensor)
    return list(itertools.accumulate(change[:-1]))
