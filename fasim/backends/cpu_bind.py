"""What both bindings of the CPU share: calls, slices of the work, the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np

from fasim import kernels
from fasim.backends.table import Call
from fasim.schedule import Op, Schedule

Arrays = dict[str, np.ndarray]


class Slice(NamedTuple):
    """Rows start, ..., stop - 1 of a tensor's first axis."""

    start: int
    stop: int

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return these rows of an array."""
        return array[self.start : self.stop]


def load_labels(schedule: Schedule, arrays: Arrays, labels: np.ndarray, rows: Slice, batch: np.ndarray) -> list[Call]:
    """Return the call that gathers labels or targets; an evaluation pass and an auto-encoder have none."""
    name = schedule.given("label")
    if not name:
        return []
    out = rows.of(arrays[name])
    if name == "label":
        return [(kernels.load_labels, (labels, batch, out))]
    return [(kernels.load_rows, (labels, batch, np.float32(1.0), out))]


def groups(schedule: Schedule, division: Callable[[Op], str]) -> Iterator[tuple[str, tuple[Op, ...]]]:
    """Yield ops that run as one pass, see :mod:`fasim.schedule.fuse`, and what the threads divide among them.

    An op of no group comes alone, and a group ends where the division changes.
    """

    def key(pair: tuple[int, Op]) -> tuple[str, str | int]:
        number, op = pair
        return division(op), op.group or number

    for (by, _), pairs in groupby(enumerate(schedule.ops), key):
        yield by, tuple(op for _, op in pairs)
