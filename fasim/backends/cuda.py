"""The CUDA backend: a schedule as a list of kernel launches, on data that stays on the device.

A run uploads data, order and state, launches its steps one behind the other in one stream without waiting for any, and
brings back the state that changed. What differs from step to step - which samples, the number of the step - is counted on
the device. In fixed point the bits are those of every other backend; in float32 products are added in ascending order, and
the compiler may contract a product and a sum to one rounding.

A program runs one network or a population: replicas that differ in their state - weights, feedback, seed, learning rate -
in the order of their samples, and in the numbers of their schedules, see `fasim.backends.alike`. Every array of the device
has an axis of replicas before its own, of length 1 where they share it, as they do the data; one launch serves them all, by
the same machine code, so that each has the bits of a run of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

import fasim_cuda as kernels
import numpy as np

from fasim.backends import Samples, chunks, cuda_bind
from fasim.backends.alike import matched
from fasim.backends.buffers import flattened, stored_as
from fasim.backends.cuda_bind import Arrays, Binding, Grid, Launch, ready
from fasim.backends.cuda_fixed import bind_fixed
from fasim.backends.cuda_float import bind_float
from fasim.backends.cuda_merge import of_replicas
from fasim.backends.cuda_products import by_cublas
from fasim.backends.cuda_run import BoundRun, Sketch, bind, buffered
from fasim.backends.observer import collect
from fasim.backends.population import MOST
from fasim.errors import ConfigError
from fasim.fixedpoint.trace import SiteCount, Trace
from fasim.schedule import Schedule, Tensor
from fasim.schedule import ops as kinds
from fasim.schedule.defer import PREVIOUS, deferred
from fasim.state import State

device_name = kernels.device_name
upload = partial(cuda_bind.upload, kernels)
SIMULATED = Grid(4, 1, kernels.TILE)
GPU = Grid(256, 2048, kernels.TILE)


class CudaProgram:
    """A schedule bound to buffers on the device.

    Parameters
    ----------
    schedule : Schedule
    threads : int
        Of the CPU: of no use here.
    grid : Grid
    observe : bool
        Count the range of every tensor that is written, into ``Trace.tensors`` of `run`.

    Attributes
    ----------
    ways : set of str
        Ways in which the last runs multiplied integer matrices, see `fasim.backends.cuda_products`.

    Raises
    ------
    ConfigError
        If there is an op without a kernel.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        threads: int = 1,  # noqa: ARG002
        grid: Grid | None = None,
        observe: bool = False,
    ) -> None:
        self.kernels, self.schedule, self.observe = kernels, schedule, observe
        self.binding: Binding = bind_float if schedule.datapath == "float32" else bind_fixed
        for op in schedule.ops:
            if missing := self.binding.missing(op):
                raise ConfigError(
                    f"backend cuda has no kernel for {missing} on the datapath {schedule.datapath} yet; use the backend cpu"
                )
        if schedule.datapath == "float32":
            by_cublas(kernels)
        self.grid = grid or (SIMULATED if kernels.is_simulated else GPU)
        self.buffers: Arrays = {}
        self._held: tuple[object, ...] | None = None
        self._graph: object = None  # of the last launches, which may not be done yet
        written = {value.tensor for op in schedule.ops for value in op.writes}
        self.ways: set[str] = set()
        self._matched: dict[int, tuple[Schedule, Schedule]] = {}
        self.changed = [name for name in written if schedule[name].storage == "state"]
        # what a batch is gathered into: one for all replicas that see the same samples
        self.inputs = {
            tensor.name
            for tensor in schedule.tensors.values()
            if tensor.storage == "input" and tensor.cls in ("act", "label") and tensor.name not in written
        }
        # dropout draws at its site, but casts nothing
        self.sites = {op.site: op.writes[0] for op in schedule.ops if op.site and op.kind != kinds.DROPOUT}

    def run(self, state: State, data: Samples, order: np.ndarray, first_step: int) -> Trace:
        """Train; see :class:`fasim.backends.Program`."""
        return self.run_together([state], data, [order], first_step)[0]

    def run_together(
        self,
        states: Sequence[State],
        data: Samples,
        orders: Sequence[np.ndarray],
        first_step: int,
        schedules: Sequence[Schedule] = (),
    ) -> list[Trace]:
        """Train replicas in the same launches; see :class:`fasim.backends.population.Together`."""
        size = self.schedule.batch_size
        steps = len(orders[0]) // size
        if not steps:
            return [Trace() for _ in states]
        bound = self._bound(states, data, [order[: steps * size] for order in orders], first_step, schedules)
        late = [op for op in self.schedule.ops if deferred(op)]
        now = [op for op in self.schedule.ops if not deferred(op)]
        self._launch(bound.step(now))
        self._launch(bound.step(self.schedule.ops), steps - 1)
        self._launch(bound.calls(late))
        for name in self.changed:
            for state, found in zip(states, bound.arrays[name].copy_to_host(), strict=True):
                np.copyto(state[name], found)
        traces = [Trace() for _ in states]
        if self.sites:
            counted = np.stack([counter.copy_to_host() for counter in bound.counters.values()], 1)
            traces = [self._trace(steps, of_replica) for of_replica in counted]
        if bound.observer is not None:
            traces[0].tensors = collect([bound.observer], traces[0])
        return traces

    def outputs(self, state: State, data: Samples) -> np.ndarray:
        """Return outputs as floats; see :class:`fasim.backends.Program`."""
        return self.outputs_together([state], data)[0]

    def outputs_together(
        self,
        states: Sequence[State],
        data: Samples,
        rows: Sequence[np.ndarray] | None = None,
        schedules: Sequence[Schedule] = (),
    ) -> list[np.ndarray]:
        """Return the outputs of each replica; see :class:`fasim.backends.population.Together`."""
        output, size = self.schedule["output"], self.schedule.batch_size
        count = len(data.codes) if rows is None else len(rows[0])
        parts = [part for _, part, _ in chunks(count, size)]
        order = np.concatenate(parts)
        orders = [order] * len(states) if rows is None else [np.asarray(own)[order] for own in rows]
        bound = self._bound(states, data, orders, 0, schedules)
        results = upload(np.zeros((len(states), count, output.shape[1]), stored_as(output)))
        found = self.buffers["output"]
        keep = Launch(kernels.keep_rows, (found, bound.place, results), found.size)
        self._launch(bound.step(self.schedule.ops, keep), len(parts))
        scales = self._scales("output", schedules or [self.schedule] * len(states))
        return [raw * np.float32(scale) for raw, scale in zip(results.copy_to_host(), scales, strict=True)]

    def values(self, state: State, data: Samples, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return tensors of one batch as floats; see :class:`fasim.backends.Program`."""
        self.run(state, data, np.arange(self.schedule.batch_size), 0)
        return {
            name: self.buffers[name].copy_to_host().reshape(self.schedule[name].shape)
            * np.float32(self._scales(name, [self.schedule])[0])
            for name in names
        }

    @property
    def is_small(self) -> bool:
        """Whether replicas can share launches: not where tensors are observed."""
        return not self.observe

    @cached_property
    def replica_bytes(self) -> int:
        """Memory of the device that one more replica takes: its state, what a step computes and what ops need besides."""
        tensors = self.schedule.tensors.values()
        kept = (tensor for tensor in tensors if tensor.storage in ("state", "generated") or buffered(tensor))
        sketch = Sketch(kernels, self.grid, self.schedule, MOST)
        for op in self.schedule.ops:
            bind(self.binding, self.schedule, op, sketch)
        return sketch.bytes + sum(tensor.elements * stored_as(tensor).itemsize for tensor in kept)

    @staticmethod
    def free_bytes() -> int:
        """Return how much memory of the device is free."""
        return kernels.free_bytes()

    def hold(
        self, replicas: int, *, same_samples: bool, tables: Sequence[dict[str, np.ndarray]], which: Sequence[int]
    ) -> None:
        """Have buffers for so many replicas; those of the last run stay if they fit.

        Parameters
        ----------
        replicas : int
        same_samples : bool
            Whether all see the same batches, which are then gathered once.
        tables : sequence of dict of str to ndarray
            Of each schedule.
        which : sequence of int
            The schedule of each replica.
        """
        asked = replicas, same_samples, tuple(map(id, tables)), tuple(which)
        if self._held == asked:
            return
        self.buffers, self._held = {}, None

        def axis(tensor: Tensor) -> int:
            return 1 if same_samples and tensor.name.removesuffix(PREVIOUS) in self.inputs else replicas

        self.buffers = {
            tensor.name: upload(np.zeros((axis(tensor), *flattened(tensor)), stored_as(tensor)))
            for tensor in self.schedule.tensors.values()
            if buffered(tensor)
        }
        for name in self.schedule.tables:
            self.buffers[name] = upload(of_replicas([of_schedule[name][None] for of_schedule in tables], which))
        self._held = asked

    def _bound(
        self,
        states: Sequence[State],
        data: Samples,
        orders: Sequence[np.ndarray],
        first_step: int,
        schedules: Sequence[Schedule],
    ) -> BoundRun:
        """Return the program on arrays; orders that are equal become one."""
        of_replica = [self._matched_to(one) for one in schedules] or [self.schedule] * len(states)
        used = list({id(one): one for one in of_replica}.values())
        which = [next(number for number, one in enumerate(used) if one is own) for own in of_replica]
        if all(order is orders[0] or np.array_equal(order, orders[0]) for order in orders):
            orders = orders[:1]
        self.hold(len(states), same_samples=len(orders) == 1, tables=[one.tables for one in used], which=which)
        return BoundRun(self, used, which, states, data, orders, first_step)

    def _matched_to(self, other: Schedule) -> Schedule:
        """Return a schedule in the names of this one; made once, for programs know schedules by identity."""
        if id(other) not in self._matched:
            self._matched[id(other)] = other, other if other is self.schedule else matched(self.schedule, other)
        return self._matched[id(other)][1]

    def _scales(self, name: str, schedules: Sequence[Schedule]) -> list[float]:
        """Return the value of a raw 1 of a tensor in each replica, with the exponents of the last step."""
        formats = [schedule[name].format for schedule in schedules]
        moved = np.zeros(len(formats), np.int64)
        for point, sign in self.schedule[name].points:
            moved += sign * self.buffers[point].copy_to_host()[:, 0]
        return [1.0 if fmt is None else 2.0 ** -(fmt.frac + int(by)) for fmt, by in zip(formats, moved, strict=True)]

    def _launch(self, launches: Sequence[Launch], times: int = 1) -> None:
        """Launch one kernel after the other, all of them so many times; none is waited for."""
        self._graph = kernels.repeat([ready(launch, self.grid) for launch in launches], times)

    def _trace(self, steps: int, counted: np.ndarray) -> Trace:
        trace = Trace()
        for (site, written), (saturations, wraps) in zip(self.sites.items(), counted.tolist(), strict=True):
            trace.add(site, SiteCount(steps * self.schedule[written].elements, saturations, wraps))
        return trace
