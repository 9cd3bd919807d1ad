"""What a training step waits for, read off its dependencies and never typed in.

A layer is *update-locked* if its update waits for the output error, *backward-locked* if its delta waits for that of a
hidden layer above.
"""

from __future__ import annotations

from typing import NamedTuple

from fasim.schedule import ops as kinds
from fasim.schedule.order import ancestors
from fasim.schedule.values import Schedule


class Locking(NamedTuple):
    """Numbers of the hidden layers whose weights learn, and of those that are locked."""

    trained: tuple[int, ...]
    update_locked: tuple[int, ...]
    backward_locked: tuple[int, ...]


def locking(schedule: Schedule) -> Locking:
    """Return which hidden layers of a training step are locked."""
    last = max(op.layer for op in schedule.ops)
    needs = ancestors(schedule)
    ops = list(enumerate(schedule.ops))
    # a hidden layer's own error (lafs) is none: it does not read the output, nor that of a clean batch (fast gradient sign)
    errors = {i for i, op in ops if op.kind in (kinds.ERROR, kinds.RESIDUAL) and op.reads[0].tensor.endswith("output")}
    hidden = [(i, op) for i, op in ops if op.layer < last]
    updates = {op.layer: i for i, op in hidden if op.kind == kinds.UPDATE and op.attrs["group"] == "weight"}
    # what direct feedback alone would give a layer (strategy 3) waits for no hidden layer itself
    deltas = {i: op.layer for i, op in hidden if op.kind == kinds.DELTA and not op.writes[0].tensor.startswith("direct")}
    update_locked = {layer for layer, i in updates.items() if needs[i] & errors}
    backward_locked = {
        layer for i, layer in deltas.items() if any(deltas[other] > layer for other in needs[i] & deltas.keys())
    }
    return Locking(*(tuple(sorted(layers)) for layers in (updates, update_locked, backward_locked)))
