"""The CPU backend: a schedule as a table of bound Numba kernel calls, run step after step without allocating.

Each thread owns a slice of the batch rows, and of the units where weights are concerned: those that it updates and, of
large matrices, those that it multiplies by. All meet at a barrier wherever the slicing changes. The bits do not depend on
the number of threads: fixed-point sums are exact, and float32 kernels add in an order that knows nothing of slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from fasim import kernels
from fasim.backends import Samples, chunks, workers
from fasim.backends.buffers import flattened, stored_as
from fasim.backends.cpu_bind import Division, Slice, groups, joined
from fasim.backends.cpu_fixed import bind_fixed
from fasim.backends.cpu_float import bind_float
from fasim.backends.observer import Observer, collect
from fasim.backends.table import Call, Table
from fasim.errors import ConfigError
from fasim.fixedpoint.trace import SiteCount, Trace
from fasim.kernels.meet import WORDS
from fasim.memory import aligned_copy, aligned_zeros
from fasim.schedule import Op, Schedule, Tensor
from fasim.schedule import ops as kinds
from fasim.schedule.defer import PREVIOUS, deferred
from fasim.state import State

BUFFERED = ("temp", "register", "kept")
# These are divided by columns where their matrix is large: each thread then reads only a part of it, in a forward pass the
# one that it has updated itself. Two threads over one, 784-1000-1000-10 by bp: of 16 samples s8 1.05 -> 1.34, s16 1.23 ->
# 1.78, float32 0.95 -> 1.61; of 64 1.51 -> 1.61, 1.50 -> 1.82, 1.34 -> 1.75. With half the limit 7x240 loses a tenth.
MATRIX_KINDS = frozenset({kinds.DENSE, kinds.PROJECT})
LARGE_MATRIX = 1 << 16
# columns of a vector, so that parts of a matrix of 64-byte rows begin as the matrix does
VECTOR = 16
# these need a whole tensor at once: one thread runs them
WHOLE_KINDS = frozenset({kinds.NORM, kinds.NORM_BACK, kinds.EXPONENT, kinds.SQUARED_NORM})


class Bound(NamedTuple):
    """The schedule bound to a state and to data: what each thread does in a step, and what it counts by site."""

    workers: list[workers.Worker]
    counters: list[dict[str, np.ndarray]]
    observers: list[Observer]
    words: np.ndarray


class Part(NamedTuple):
    """What a step consists of, on these buffers."""

    ops: tuple[Op, ...]
    buffers: dict[str, np.ndarray]
    loads: bool = True
    """Whether a batch is loaded."""


class Parts(NamedTuple):
    """What the first step of a run does, what the others do by turns, and what follows the last, by the parity of all."""

    first: tuple[Part, ...]
    body: tuple[Part, ...]
    last: tuple[Part, ...]


class CpuProgram:
    """A schedule bound to buffers.

    Parameters
    ----------
    schedule : Schedule
    threads : int
        Threads to use, at most one per sample of a batch.
    observe : bool
        Count the range of every tensor that is written, into ``Trace.tensors`` of `run`.
    """

    def __init__(self, schedule: Schedule, *, threads: int = 1, observe: bool = False) -> None:
        if threads < 1:
            raise ConfigError(f"threads {threads}: at least 1 is needed")
        self.schedule = schedule
        self.fixed = schedule.datapath != "float32"
        self.threads = threads
        self.observe = observe
        self.workers = min(threads, schedule.batch_size)
        self.buffers = {
            tensor.name: aligned_zeros(flattened(tensor), stored_as(tensor))
            for tensor in schedule.tensors.values()
            if tensor.storage in BUFFERED or (tensor.storage == "input" and tensor.cls in ("act", "label"))
        }
        self.buffers |= {name: aligned_copy(table) for name, table in schedule.tables.items()}
        self.parts = _parts(schedule, self.buffers)

    def run(self, state: State, data: Samples, order: np.ndarray, first_step: int) -> Trace:
        """Train; see :class:`fasim.backends.Program`."""
        size = self.schedule.batch_size
        steps = len(order) // size
        if not steps:
            return Trace()
        first, body, last = self.parts
        order = order[: steps * size]
        bounds = []
        with self._blas():
            if first:
                bounds.append(self._walk(self.bind(state, data, first), order[:size], first_step))
            rest = order[len(first) * size :]
            if len(rest):
                bounds.append(self._walk(self.bind(state, data, body), rest, first_step + len(first)))
            if last:
                end = self.bind(state, data, last[steps % 2 :][:1])
                bounds.append(self._walk(end, order[:size], first_step + steps))
        trace = self._collect(steps, [counters for bound in bounds for counters in bound.counters])
        trace.tensors = collect([observer for bound in bounds for observer in bound.observers], trace)
        return trace

    def outputs(self, state: State, data: Samples) -> np.ndarray:
        """Return outputs as floats; see :class:`fasim.backends.Program`."""
        samples, size = len(data.codes), self.schedule.batch_size
        output = self.schedule["output"]
        results = np.empty((samples, output.shape[1]), np.float32)
        bound, done = self.bind(state, data, self.parts.body), 0
        with self._blas():
            for number, rows, count in chunks(samples, size):
                self._walk(bound, rows, number)
                results[done : done + count] = self.buffers["output"][:count] * np.float32(self._scale(output))
                done += count
        return results

    def values(self, state: State, data: Samples, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return tensors of one batch as floats; see :class:`fasim.backends.Program`."""
        self.run(state, data, np.arange(self.schedule.batch_size), 0)
        found = {}
        for name in names:
            tensor = self.schedule[name]
            found[name] = self.buffers[name].reshape(tensor.shape) * np.float32(self._scale(tensor))
        return found

    def _scale(self, tensor: Tensor) -> float:
        """Return the value of a raw 1, with the exponents of the last step."""
        if tensor.format is None:
            return 1.0
        return 2.0 ** -(tensor.format.frac + sum(sign * int(self.buffers[name][0]) for name, sign in tensor.points))

    def _blas(self) -> threadpool_limits:
        """Return what limits the threads of BLAS meanwhile: threads of our own divide the work."""
        return threadpool_limits(1, user_api="blas")

    def _walk(self, bound: Bound, order: np.ndarray, first_step: int) -> Bound:
        """Take the steps of a run; the order is copied, in the one type that the loop is compiled for."""
        workers.run(bound.workers, np.array(order, np.int64), self.schedule.batch_size, first_step, bound.words)
        return bound

    def bind(self, state: State, data: Samples, parts: Sequence[Part]) -> Bound:
        """Bind every thread's calls. State and data are taken by where they lie, to be read and updated there."""
        bound = Bound([], [], [Observer(self.schedule) for _ in range(self.workers if self.observe else 0)], _words())
        size = self.schedule.batch_size
        for index in range(self.workers):
            rows = Slice(size * index // self.workers, size * (index + 1) // self.workers)
            batch, step = np.zeros(rows.stop - rows.start, np.int64), np.zeros(1, np.int64)
            bound.counters.append({})
            table = Table(*(self._calls(part, state, data, rows, batch, step, bound, index) for part in parts))
            bound.workers.append(workers.Worker(table, rows.start, batch, step))
        return bound

    def _calls(
        self,
        part: Part,
        state: State,
        data: Samples,
        rows: Slice,
        batch: np.ndarray,
        step: np.ndarray,
        bound: Bound,
        index: int,
    ) -> list[Call]:
        """Return the calls of one thread for one step, barriers included.

        Columns come behind a barrier even where columns were divided before: they read all rows of what those wrote.
        """
        arrays = part.buffers | state
        meet: Call = (kernels.meet, (bound.words, self.workers, workers.GIVE_WAY))
        counters = bound.counters[index]
        bind = bind_fixed if self.fixed else bind_float
        calls: list[Call] = []
        observer = bound.observers[index] if self.observe else None
        if part.loads:
            calls += bind.load(self.schedule, arrays, data, rows, batch)
            if observer is not None:
                calls += observer.loaded(arrays, rows)
        before_this = np.zeros(1, np.int64)
        if any(deferred(op) for op in part.ops):
            calls.append((kernels.add_exponent, (-1, 1, step, before_this)))
        before = "rows"
        pieces = groups(part.ops, self._division)
        # what is observed is written op by op; in fixed point batches are summed up by other kernels than single samples
        apart = self.observe or (self.fixed and self.schedule.batch_size > 1)
        for division, ops in pieces if apart else joined(pieces, self.schedule):
            if self.workers > 1 and (division.by != before or division.by in ("columns", "whole")):
                calls.append(meet)
            before = division.by
            mine = self._share(division, rows, index)
            if mine.start < mine.stop:
                for op in ops:
                    if op.site:
                        counters.setdefault(op.site, np.zeros(2, np.int64))
                number = before_this if deferred(ops[0]) else step
                # what is to be observed must be written
                for some in [ops] if observer is None else [(op,) for op in ops]:
                    calls.extend(bind.group(self.schedule, some, arrays, mine, number, counters))
                if observer is not None:
                    calls += [call for op in ops for call in observer.calls(op, arrays, mine)]
        if before != "rows" and self.workers > 1:
            calls.append(meet)
        return calls

    def _share(self, division: Division, rows: Slice, index: int) -> Slice:
        """Return what thread `index` does of an op that is divided in this way."""
        by, extent = division
        if by == "units":
            return Slice(extent * index // self.workers, extent * (index + 1) // self.workers)
        if by == "columns":
            vectors = -(-extent // VECTOR)
            start, stop = (VECTOR * (vectors * number // self.workers) for number in (index, index + 1))
            return Slice(start, min(stop, extent), columns=True)
        return Slice(0, 0 if index else extent) if by == "whole" else rows

    def _division(self, op: Op) -> Division:
        """Return what the threads divide among them: batch rows, units, columns, or nothing."""
        if op.kind in WHOLE_KINDS:
            return Division("whole", (self.schedule[op.reads[0]].shape or (1,))[0])
        written = self.schedule[op.writes[0]]
        if self._by_columns(op):
            return Division("columns", written.shape[1])
        return Division("rows", 0) if written.axes.startswith("N") else Division("units", (written.shape or (1,))[0])

    def _by_columns(self, op: Op) -> bool:
        """Tell whether threads divide the columns of a product; registers and observers take whole rows."""
        if self.workers == 1 or self.observe or "accumulator" in op.attrs or op.kind not in MATRIX_KINDS:
            return False
        matrix, columns = self.schedule[op.reads[1]], self.schedule[op.writes[0]].shape[1]
        return matrix.elements >= LARGE_MATRIX and deals_evenly(columns, self.workers)

    def _collect(self, steps: int, counters: list[dict[str, np.ndarray]]) -> Trace:
        trace = Trace()
        for op in self.schedule.ops:
            if op.site and op.kind != kinds.DROPOUT:  # which draws at its site, but casts nothing
                found = [part[op.site] for part in counters if op.site in part]
                elements = steps * self.schedule[op.writes[0]].elements
                trace.add(
                    op.site,
                    SiteCount(elements, int(sum(c[0] for c in found)), int(sum(c[1] for c in found))),
                )
        return trace


def deals_evenly(columns: int, workers: int) -> bool:
    """Tell whether no thread gets a third more than the mean of columns that are dealt out in whole vectors."""
    vectors = -(-columns // VECTOR)
    return 3 * workers * -(-vectors // workers) <= 4 * vectors


def _parts(schedule: Schedule, buffers: dict[str, np.ndarray]) -> Parts:
    """Return what the steps of a run do: all the same, unless updates are deferred to the step after.

    What is kept for the next step lies in two sets of buffers that take turns.
    """
    late = tuple(op for op in schedule.ops if deferred(op))
    if not late:
        return Parts((), (Part(schedule.ops, buffers),), ())
    kept = [name.removesuffix(PREVIOUS) for name, tensor in schedule.tensors.items() if tensor.storage == "previous"]
    mine = {name: buffers[name] for name in kept}
    other = {name: aligned_copy(array) for name, array in mine.items()}
    even, odd = (
        buffers | now | {name + PREVIOUS: array for name, array in before.items()}
        for now, before in ((mine, other), (other, mine))
    )
    first = Part(tuple(op for op in schedule.ops if not deferred(op)), even)
    return Parts(
        (first,), (Part(schedule.ops, odd), Part(schedule.ops, even)), (Part(late, even, False), Part(late, odd, False))
    )


def _words() -> np.ndarray:
    """Return what threads meet by."""
    return np.zeros(WORDS, np.int64)
