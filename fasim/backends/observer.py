"""Calls that observe what a CPU program writes: one observer a thread, each with counters of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from fasim import kernels
from fasim.backends.cpu_bind import Slice
from fasim.backends.table import Call
from fasim.fixedpoint.statistics import TensorStatistics
from fasim.fixedpoint.trace import Trace
from fasim.schedule import Op, Schedule, Tensor, Value
from fasim.schedule import ops as kinds

# no numbers that a format is chosen for
WITHOUT_RANGE = frozenset({"label", "table", "scalar"})
# of these the first result alone is one: places of maxima and masks are not
FIRST_RESULT = frozenset({kinds.POOL, kinds.DROPOUT})
INTEGER_BINS, FLOAT_BINS = 64, 128


class Counted(Protocol):
    """Counters of one tensor, wherever they are."""

    def statistics(self, tensor: Tensor, layer: int) -> TensorStatistics:
        """Return what has been counted, for a tensor."""


class Seen(Protocol):
    """What an observer has seen, by tensor."""

    schedule: Schedule
    layers: dict[str, int]

    @property
    def counters(self) -> Mapping[str, Counted]:
        """Counters of each tensor."""


def observed(schedule: Schedule, op: Op) -> list[Value]:
    """Return those of an op's results that are numbers of some range."""
    results = op.writes[:1] if op.kind in FIRST_RESULT else op.writes
    tensors = ((value, schedule[value]) for value in results)
    return [value for value, tensor in tensors if tensor.cls not in WITHOUT_RANGE and tensor.encoding != "mask"]


class Counters:
    """Counters of one tensor in one thread.

    Parameters
    ----------
    fixed : bool
        Whether the tensor holds integers.
    """

    def __init__(self, *, fixed: bool) -> None:
        self.fixed = fixed
        if fixed:
            ends = np.iinfo(np.int64)
            self.bins = np.zeros(INTEGER_BINS, np.int64)
            self.extremes: np.ndarray = np.array([ends.max, ends.min, 0, 0], np.int64)
        else:
            self.bins = np.zeros(FLOAT_BINS, np.int64)
            self.extremes = np.array([math.inf, -math.inf, 0, 0, 0], np.float64)

    def call(self, array: np.ndarray) -> Call:
        """Return the call that observes an array, which must be contiguous."""
        kernel = kernels.observe if self.fixed else kernels.observe_float
        # reshaped in place: a copy would stay what the array is now
        flat = array.view()
        flat.shape = (array.size,)
        return kernel, (flat, self.bins, self.extremes)

    def statistics(self, tensor: Tensor, layer: int) -> TensorStatistics:
        """Return what has been counted, for a tensor."""
        low, high, zeros, elements = self.extremes[:4].tolist()
        others = 0 if self.fixed else int(self.extremes[4])
        bins = tuple(self.bins.tolist())
        return TensorStatistics(
            tensor.name, tensor.cls, layer, tensor.format, low, high, int(zeros), int(elements), bins, others
        )


class Observer:
    """What one thread has seen of each tensor that a schedule's ops write, and of the input.

    Parameters
    ----------
    schedule : Schedule
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.counters: dict[str, Counters] = {}
        self.layers: dict[str, int] = {}

    def loaded(self, arrays: dict[str, np.ndarray], rows: Slice) -> list[Call]:
        """Return the calls that observe the batch after it was loaded; append them to those of loading."""
        name = self.schedule.given("act")
        return [self._call(name, rows.of(arrays[name]), 0)] if name else []

    def calls(self, op: Op, arrays: dict[str, np.ndarray], part: Slice) -> list[Call]:
        """Return the calls that observe what an op has written; append them to the op's own.

        Parameters
        ----------
        op : Op
        arrays : dict of str to ndarray
            Buffers and state.
        part : Slice
            Rows of the op's first result that this thread writes. Other results of as many rows are sliced alike, any
            other is observed whole by the thread that has the first row.
        """
        rows = self.schedule[op.writes[0]].shape[:1]
        calls = []
        for value in observed(self.schedule, op):
            tensor, array = self.schedule[value], arrays[value.tensor]
            if tensor.shape[:1] == rows:
                calls.append(self._call(value.tensor, part.of(array), op.layer))
            elif part.start == 0:
                calls.append(self._call(value.tensor, array, op.layer))
        return calls

    def _call(self, name: str, array: np.ndarray, layer: int) -> Call:
        if name not in self.counters:
            self.counters[name] = Counters(fixed=self.schedule[name].format is not None)
            self.layers[name] = layer
        return self.counters[name].call(array)


def collect(observers: Iterable[Seen], trace: Trace) -> dict[str, TensorStatistics]:
    """Return the statistics of all threads by tensor, in the order of the schedule's tensors.

    Parameters
    ----------
    observers : iterable of Seen
        Of one schedule.
    trace : Trace
        Counts by site; they are put beside the tensor that each site writes.
    """
    merged: dict[str, TensorStatistics] = {}
    observers = list(observers)
    for observer in observers:
        for name, counters in observer.counters.items():
            found = counters.statistics(observer.schedule[name], observer.layers[name])
            merged[name] = merged[name] + found if name in merged else found
    for op in observers[0].schedule.ops if observers else ():
        if op.site in trace.sites and op.writes[0].tensor in merged:
            count, name = trace.sites[op.site], op.writes[0].tensor
            merged[name] = merged[name].with_counts(count.saturations, count.wraps)
    order = list(observers[0].schedule.tensors) if observers else []
    return {name: merged[name] for name in order if name in merged}
