"""What both bindings of the CPU share: calls, slices of the work, the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from fasim import kernels
from fasim.backends.table import Call
from fasim.schedule import Op, Schedule, Value
from fasim.schedule import ops as kinds
from fasim.schedule.defer import deferred, parameter

Arrays = dict[str, np.ndarray]
UPDATES = ((kinds.GRAD, kinds.UPDATE), (kinds.GRAD, kinds.UPDATE, kinds.REQUANT))
"""Kinds of a gradient, an update and, where weights are copies of their masters, a cast."""


class Slice(NamedTuple):
    """Rows start, ..., stop - 1 of a tensor's first axis, or as many columns of a batch."""

    start: int
    stop: int
    columns: bool = False

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return these rows or columns of an array."""
        return array[:, self.start : self.stop] if self.columns else array[self.start : self.stop]

    def rows_of(self, batch: np.ndarray) -> np.ndarray:
        """Return the rows of a batch that are read: all where columns are divided."""
        return batch if self.columns else self.of(batch)

    def units_of(self, array: np.ndarray) -> np.ndarray:
        """Return the rows of an array, one a unit, that columns need; all where rows of a batch are divided."""
        return array[self.start : self.stop] if self.columns else array

    def columns_of(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns of a matrix that columns need; all where rows of a batch are divided."""
        return self.of(matrix) if self.columns else matrix


def load_labels(schedule: Schedule, arrays: Arrays, labels: np.ndarray, rows: Slice, batch: np.ndarray) -> list[Call]:
    """Return the call that gathers labels or targets; an evaluation pass and an auto-encoder have none."""
    name = schedule.given("label")
    if not name:
        return []
    out = rows.of(arrays[name])
    if name == "label":
        return [(kernels.load_labels, (labels, batch, out))]
    return [(kernels.load_rows, (labels, batch, np.float32(1.0), out))]


class Division(NamedTuple):
    """What the threads divide among them of an op."""

    by: str
    """``rows`` of the batch, ``units``, ``columns`` of a batch, or ``whole``: nothing, one thread does all."""
    extent: int
    """How many there are; 0 for rows."""


Piece = tuple[Division, tuple[Op, ...]]


def groups(ops: Sequence[Op], division: Callable[[Op], Division]) -> Iterator[Piece]:
    """Yield ops that run as one pass, see :mod:`fasim.schedule.fuse`, and what the threads divide among them.

    An op of no group comes alone. A group ends where the division changes, and deferred updates come one by one.
    """

    def key(pair: tuple[int, Op]) -> tuple[Division, str | int, str]:
        number, op = pair
        return division(op), op.group or number, parameter(op) if deferred(op) else ""

    for (by, *_), pairs in groupby(enumerate(ops), key):
        yield by, tuple(op for _, op in pairs)


def joined(pieces: Iterable[Piece], schedule: Schedule) -> Iterator[Piece]:
    """Yield the same, with a dense layer's deferred update and its forward pass as one piece by units.

    The update of the weights, whose gradient nobody else reads, moves behind the other updates of its layer to get there.
    """
    waiting: Piece | None = None
    for piece in pieces:
        ops = piece[1]
        chain = tuple(op.kind for op in ops) in UPDATES and in_registers(schedule, ops[0].writes[0])
        if waiting is None and chain and deferred(ops[0]) and parameter(ops[0]).startswith("weight."):
            waiting = piece
        elif waiting is None or (ops[0].group == waiting[1][0].group and deferred(ops[0])):
            yield piece
        else:
            if ops[0].kind == kinds.DENSE and ops[0].group == waiting[1][0].group:
                yield waiting[0], (*waiting[1], ops[0])
                if ops[1:]:
                    yield piece[0], ops[1:]
            else:
                yield waiting
                yield piece
            waiting = None
    if waiting is not None:
        yield waiting


def in_registers(schedule: Schedule, value: Value) -> bool:
    """Tell whether a value may stay unwritten: a register that one op alone reads; feedback that learns reads some too."""
    return schedule[value].storage == "register" and schedule.readers[value] == 1
