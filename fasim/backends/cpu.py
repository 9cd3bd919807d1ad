"""The CPU backend: a schedule as a list of bound Numba kernel calls, run step after step without allocating.

Fixed point: each thread owns a slice of the batch rows, and of the units where weights are concerned, and all meet at a
barrier wherever the slicing changes. Exact sums make the bits independent of the number of threads. Float32: one thread
issues the kernels and BLAS may use the others, so its last bits may depend on their number.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from fasim.backends import Samples, chunks
from fasim.backends.cpu_bind import Slice, groups
from fasim.backends.cpu_fixed import bind_fixed
from fasim.backends.cpu_float import bind_float
from fasim.backends.observer import Observer, collect
from fasim.errors import ConfigError
from fasim.fixedpoint.trace import SiteCount, Trace
from fasim.schedule import EXECUTED_FUSIONS, Op, Schedule, Tensor
from fasim.schedule import ops as kinds
from fasim.state import State

Call = tuple[Callable[..., Any], tuple[Any, ...]]

# these need a whole tensor at once: one thread runs them
WHOLE_KINDS = frozenset({kinds.NORM, kinds.NORM_BACK, kinds.EXPONENT})


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
        if schedule.fuse not in EXECUTED_FUSIONS:
            raise ConfigError(
                "fuse deferred: the cpu backend runs no deferred updates; count them, and run none or within_layer"
            )
        self.schedule = schedule
        self.fixed = schedule.datapath != "float32"
        self.threads = threads
        self.observe = observe
        self.observers: list[Observer] = []
        self.workers = min(threads, schedule.batch_size) if self.fixed else 1
        self.buffers = {
            tensor.name: np.zeros(_flat(tensor), _dtype(tensor))
            for tensor in schedule.tensors.values()
            if tensor.storage in ("temp", "register") or (tensor.storage == "input" and tensor.cls in ("act", "label"))
        }
        self.buffers |= schedule.tables

    def run(self, state: State, data: Samples, order: np.ndarray, first_step: int) -> Trace:
        """Train; see :class:`fasim.backends.Program`."""
        steps = len(order) // self.schedule.batch_size
        if steps:
            self.observers = [Observer(self.schedule) for _ in range(self.workers if self.observe else 0)]
            threads = [self._worker(state, data, order, first_step, steps, index) for index in range(self.workers)]
            self._execute([target for target, _ in threads])
            trace = self._collect(steps, [counters for _, counters in threads])
            trace.tensors = collect(self.observers, trace)
            return trace
        return Trace()

    def outputs(self, state: State, data: Samples) -> np.ndarray:
        """Return outputs as floats; see :class:`fasim.backends.Program`."""
        samples, size = len(data.codes), self.schedule.batch_size
        output = self.schedule["output"]
        results = np.empty((samples, output.shape[1]), np.float32)
        done = 0
        for number, rows, count in chunks(samples, size):
            self.run(state, data, rows, number)
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

    def _execute(self, targets: list[Callable[[], None]]) -> None:
        """Run one target per thread; an exception of any is raised here."""
        if len(targets) == 1:
            with threadpool_limits(self.threads if not self.fixed else 1, user_api="blas"):
                targets[0]()
            return
        failures: list[BaseException] = []

        def guarded(target: Callable[[], None]) -> None:
            try:
                target()
            except BaseException as failure:  # noqa: BLE001 - handed to the caller below
                failures.append(failure)
                self.barrier.abort()

        others = [threading.Thread(target=guarded, args=(target,), daemon=True) for target in targets[1:]]
        for thread in others:
            thread.start()
        guarded(targets[0])
        for thread in others:
            thread.join()
        real = [failure for failure in failures if not isinstance(failure, threading.BrokenBarrierError)]
        if failures:
            raise (real or failures)[0]

    def _worker(
        self,
        state: State,
        data: Samples,
        order: np.ndarray,
        first_step: int,
        steps: int,
        index: int,
    ) -> tuple[Callable[[], None], dict[str, np.ndarray]]:
        """Return what one thread does over all steps, and the counters that it fills."""
        size = self.schedule.batch_size
        if index == 0:
            self.barrier = threading.Barrier(self.workers)
        rows = Slice(size * index // self.workers, size * (index + 1) // self.workers)
        batch = np.zeros(rows.stop - rows.start, np.int64)
        step_number = np.zeros(1, np.int64)
        counters: dict[str, np.ndarray] = {}
        arrays = self.buffers | state
        calls = self._calls(arrays, data, rows, batch, step_number, counters, index)

        def work() -> None:
            for step in range(steps):
                start = step * size
                batch[:] = order[start + rows.start : start + rows.stop]
                step_number[0] = first_step + step
                for function, arguments in calls:
                    function(*arguments)

        return work, counters

    def _calls(
        self,
        arrays: dict[str, np.ndarray],
        data: Samples,
        rows: Slice,
        batch: np.ndarray,
        step: np.ndarray,
        counters: dict[str, np.ndarray],
        index: int,
    ) -> list[Call]:
        """Return the calls of one thread for one step, barriers included."""
        bind = bind_fixed if self.fixed else bind_float
        calls: list[Call] = [*bind.load(self.schedule, arrays, data, rows, batch)]
        observer = self.observers[index] if self.observe else None
        if observer is not None:
            calls += observer.loaded(arrays, rows)
        before = "rows"
        for by, ops in groups(self.schedule, self._division):
            if self.workers > 1 and (by != before or by == "whole"):
                calls.append((self.barrier.wait, ()))
            before = by
            part = self._part(ops[0], by, rows, index)
            if part.start < part.stop:
                for op in ops:
                    if op.site:
                        counters[op.site] = np.zeros(2, np.int64)
                calls.extend(bind.group(self.schedule, ops, arrays, part, step, counters))
                if observer is not None:
                    calls += [call for op in ops for call in observer.calls(op, arrays, part)]
        if before != "rows" and self.workers > 1:
            calls.append((self.barrier.wait, ()))
        return calls

    def _part(self, op: Op, by: str, rows: Slice, index: int) -> Slice:
        """Return what thread `index` does of an op that is divided in this way."""
        if by == "units":
            count = self.schedule[op.writes[0]].shape[0]
            return Slice(count * index // self.workers, count * (index + 1) // self.workers)
        if by == "whole":
            return Slice(0, 0 if index else (self.schedule[op.reads[0]].shape or (1,))[0])
        return rows

    def _division(self, op: Op) -> str:
        """Return what the threads divide among them: batch rows, units, or nothing."""
        if not self.fixed or op.kind in WHOLE_KINDS:
            return "whole" if self.fixed else "rows"
        return "rows" if self.schedule[op.writes[0]].axes.startswith("N") else "units"

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


def _flat(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape with maps as flat rows, and a number as one element."""
    return (tensor.shape or (1,)) if len(tensor.shape) < 2 else (tensor.shape[0], int(np.prod(tensor.shape[1:])))


def _dtype(tensor: Tensor) -> np.dtype:
    if tensor.name == "label":
        return np.dtype(np.int64)
    if tensor.cls == "scalar":
        return np.dtype(np.float64 if tensor.format is None else np.int64)
    if tensor.format is None:
        return np.dtype(np.float32)
    if tensor.cls in ("accumulator", "signal", "gradient"):
        # two types of sums are enough: narrower ones would only add kernels to compile
        return np.dtype(np.int32 if tensor.format.bits <= 32 else np.int64)
    return tensor.format.dtype
