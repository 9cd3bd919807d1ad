"""The CUDA backend: a schedule as a list of kernel launches, on data that stays on the device.

A run uploads data, order and state, launches its steps one behind the other in one stream without waiting for any, and
brings back the state that changed. What differs from step to step - which samples, the number of the step - is counted on
the device. In fixed point the bits are those of every other backend; in float32 products are added in ascending order, and
the compiler may contract a product and a sum to one rounding.

A program runs one network or a population: replicas that differ in their state - weights, feedback, seed, learning rate -
and in the order of their samples. Every array of the device has an axis of replicas before its own, of length 1 where they
share it, as they do the data; one launch serves them all, by the same machine code, so that each has the bits of a run of
its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import fasim_cuda as kernels
import numpy as np

from fasim.backends import Samples, chunks
from fasim.backends.cuda_bind import Arrays, DeviceArray, Grid, Inputs, Launch, Operands, flat, ready
from fasim.backends.cuda_fixed import bind_fixed
from fasim.backends.cuda_float import bind_float
from fasim.backends.cuda_observe import CudaObserver
from fasim.backends.observer import collect
from fasim.errors import ConfigError
from fasim.fixedpoint.trace import SiteCount, Trace
from fasim.schedule import Op, Schedule, Tensor
from fasim.schedule import ops as kinds
from fasim.schedule.defer import PREVIOUS, deferred
from fasim.state import State

device_name = kernels.device_name
BUFFERED = ("temp", "register", "kept", "previous")
# what runs one network at a time
ALONE = {
    kinds.CONV,
    kinds.PROJECT_CONV,
    kinds.GRAD_CONV,
    kinds.POOL,
    kinds.AVERAGE_POOL,
    kinds.UNPOOL,
    kinds.AVERAGE_UNPOOL,
}
ALONE |= {
    kinds.NORM,
    kinds.NORM_INFERENCE,
    kinds.NORM_BACK,
    kinds.GRAD_GAIN,
    kinds.AFFINE,
    kinds.SQUARED_NORM,
    kinds.RESCALE,
}


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
        self.schedule, self.observe = schedule, observe
        self.binding = bind_float if schedule.datapath == "float32" else bind_fixed
        for op in schedule.ops:
            if missing := self.binding.missing(op):
                raise ConfigError(
                    f"backend cuda has no kernel for {missing} on the datapath {schedule.datapath} yet; use the backend cpu"
                )
        self.grid = grid or (SIMULATED if kernels.is_simulated else GPU)
        self.buffers: Arrays = {}
        self._held: tuple[int, bool] | None = None
        self._graph: object = None  # of the last launches, which may not be done yet
        written = {value.tensor for op in schedule.ops for value in op.writes}
        self.ways: set[str] = set()
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
        self, states: Sequence[State], data: Samples, orders: Sequence[np.ndarray], first_step: int
    ) -> list[Trace]:
        """Train replicas in the same launches; see :class:`fasim.backends.population.Together`."""
        size = self.schedule.batch_size
        steps = len(orders[0]) // size
        if not steps:
            return [Trace() for _ in states]
        bound = _Bound(self, states, data, [order[: steps * size] for order in orders], first_step)
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

    def outputs_together(self, states: Sequence[State], data: Samples) -> list[np.ndarray]:
        """Return the outputs of each replica; see :class:`fasim.backends.population.Together`."""
        output = self.schedule["output"]
        parts = [rows for _, rows, _ in chunks(len(data.codes), self.schedule.batch_size)]
        bound = _Bound(self, states, data, [np.concatenate(parts)] * len(states), 0)
        shape = len(states), len(data.codes), output.shape[1]
        results = upload(np.zeros(shape, _dtype(output)))
        found = self.buffers["output"]
        keep = Launch(kernels.keep_rows, (found, bound.place, results), found.size)
        self._launch(bound.step(self.schedule.ops, keep), len(parts))
        scales = [np.float32(scale) for scale in self._scales(output, len(states))]
        return [raw * scale for raw, scale in zip(results.copy_to_host(), scales, strict=True)]

    def values(self, state: State, data: Samples, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return tensors of one batch as floats; see :class:`fasim.backends.Program`."""
        self.run(state, data, np.arange(self.schedule.batch_size), 0)
        tensors = [self.schedule[name] for name in names]
        return {
            tensor.name: self.buffers[tensor.name].copy_to_host().reshape(tensor.shape)
            * np.float32(self._scales(tensor, 1)[0])
            for tensor in tensors
        }

    @property
    def is_small(self) -> bool:
        """Whether replicas can share launches: not yet where a layer is no fully connected one, or tensors are observed."""
        return not self.observe and all(op.kind not in ALONE for op in self.schedule.ops)

    @property
    def replica_bytes(self) -> int:
        """Memory of the device that one more replica takes: its state and what a step computes."""
        tensors = self.schedule.tensors.values()
        kept = (tensor for tensor in tensors if tensor.storage in ("state", "generated") or _is_buffered(tensor))
        return sum(tensor.elements * _dtype(tensor).itemsize for tensor in kept)

    @staticmethod
    def free_bytes() -> int:
        """Return how much memory of the device is free."""
        return kernels.free_bytes()

    def hold(self, replicas: int, *, same_samples: bool) -> None:
        """Have buffers for so many replicas; those of the last run stay if they fit.

        Parameters
        ----------
        replicas : int
        same_samples : bool
            Whether all see the same batches, which are then gathered once.
        """
        if self._held == (replicas, same_samples):
            return
        self.buffers, self._held = {}, None

        def axis(tensor: Tensor) -> int:
            return 1 if same_samples and tensor.name.removesuffix(PREVIOUS) in self.inputs else replicas

        self.buffers = {
            tensor.name: upload(np.zeros((axis(tensor), *_flat(tensor)), _dtype(tensor)))
            for tensor in self.schedule.tensors.values()
            if _is_buffered(tensor)
        }
        self.buffers |= {name: upload(table[None]) for name, table in self.schedule.tables.items()}
        self._held = replicas, same_samples

    def _scales(self, tensor: Tensor, replicas: int) -> list[float]:
        """Return the value of a raw 1 in each replica, with the exponents of the last step."""
        if tensor.format is None:
            return [1.0] * replicas
        moved = np.zeros(replicas, np.int64)
        for name, sign in tensor.points:
            moved += sign * self.buffers[name].copy_to_host()[:, 0]
        return [2.0 ** -(tensor.format.frac + int(exponent)) for exponent in moved]

    def _launch(self, launches: Sequence[Launch], times: int = 1) -> None:
        """Launch one kernel after the other, all of them so many times; none is waited for."""
        self._graph = kernels.repeat([ready(launch, self.grid) for launch in launches], times)

    def _trace(self, steps: int, counted: np.ndarray) -> Trace:
        trace = Trace()
        for (site, written), (saturations, wraps) in zip(self.sites.items(), counted.tolist(), strict=True):
            trace.add(site, SiteCount(steps * self.schedule[written].elements, saturations, wraps))
        return trace


class _Bound:
    """A program on the arrays of one run of one network or several."""

    def __init__(
        self,
        program: CudaProgram,
        states: Sequence[State],
        data: Samples,
        orders: Sequence[np.ndarray],
        first_step: int,
    ) -> None:
        self.program, self.schedule, self.tile, self.replicas = program, program.schedule, program.grid.tile, len(states)
        self.ways = program.ways
        if all(order is orders[0] or np.array_equal(order, orders[0]) for order in orders):
            orders = orders[:1]
        program.hold(len(states), same_samples=len(orders) == 1)
        self.arrays: Arrays = program.buffers | {name: upload(_stacked(states, name)) for name in states[0]}
        self.seed = self.arrays["seed"].reshape()
        self.now, self.before, self.place = (self.number(value) for value in (first_step, first_step - 1, 0))
        gain, offset = (None if array is None else upload(array[None]) for array in (data.gain, data.offset))
        places = upload(np.stack([np.asarray(order, np.int64) for order in orders]))
        self.inputs = Inputs(
            upload(data.codes[None]), upload(data.labels[None]), gain, offset, data.scale, places, self.place
        )
        self.observer = CudaObserver(kernels, self.schedule) if program.observe else None
        self.counters = {site: self.zeros(2, np.int64) for site in program.sites}

    def number(self, value: int) -> DeviceArray:
        """Return an array (1,) of the device that holds a number, the same for all replicas."""
        return upload(np.full((1, 1), value, np.int64))

    def zeros(self, size: int, dtype: type | np.dtype) -> DeviceArray:
        """Return an array of the device that no tensor has, of each replica its own."""
        return upload(np.zeros((self.replicas, size), dtype))

    def step(self, ops: Sequence[Op], *last: Launch) -> list[Launch]:
        """Return what a step launches: a batch is loaded, then ops, then the step is counted."""
        schedule, arrays, inputs = self.schedule, self.arrays, self.inputs
        launches = self.program.binding.load(kernels, inputs, arrays[schedule.given("act")])
        if name := schedule.given("label"):
            label, place = arrays[name], (inputs.labels, inputs.order, inputs.place)
            if name == "label":
                launches.append(Launch(kernels.load_labels, (*place, label), label.size))
            else:
                launches.append(Launch(kernels.load_rows, (*place, np.float32(1), label), label.size))
        launches += self.observer.loaded(arrays) if self.observer else []
        launches += self.calls(ops)
        for tensor in schedule.tensors.values():
            if tensor.storage == "previous":
                now, kept = flat(arrays[tensor.name.removesuffix(PREVIOUS)]), flat(arrays[tensor.name])
                launches.append(Launch(kernels.copy_fixed, (now, kept), kept.size))
        count = self.now, self.before, self.place, schedule.batch_size
        return [*launches, *last, Launch(kernels.advance, count, 1)]

    def calls(self, ops: Sequence[Op]) -> list[Launch]:
        """Return the launches of ops."""
        launches = []
        for op in ops:
            step = self.before if deferred(op) else self.now
            operands = Operands(kernels, self.schedule, op, self, step, self.counters.get(op.site))
            launches += self.program.binding.op(op, operands)
            launches += self.observer.calls(op, self.arrays) if self.observer else []
        return launches


def upload(array: np.ndarray) -> DeviceArray:
    """Put an array on the device, whose first axis is that of replicas, or 1."""
    return DeviceArray(kernels.cuda.to_device(np.ascontiguousarray(array)))


def _stacked(states: Sequence[State], name: str) -> np.ndarray:
    """Return what the device keeps of a tensor of all states: learning rates as the float32 that kernels use anyway."""
    arrays = [state[name] for state in states]
    whole = arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
    return whole.astype(np.float32) if whole.dtype == np.float64 else whole


def _is_buffered(tensor: Tensor) -> bool:
    """Return whether a program keeps an array for what a step computes, or reads of the data."""
    return tensor.storage in BUFFERED or (tensor.storage == "input" and tensor.cls in ("act", "label"))


def _flat(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape with maps as flat rows, and a number as one element."""
    return (tensor.shape or (1,)) if len(tensor.shape) < 2 else (tensor.shape[0], int(np.prod(tensor.shape[1:])))


def _dtype(tensor: Tensor) -> np.dtype:
    if tensor.name == "label" or tensor.name == "label" + PREVIOUS:
        return np.dtype(np.int64)
    if tensor.cls == "scalar":
        return np.dtype(np.float64 if tensor.format is None else np.int64)
    if tensor.format is None:
        return np.dtype(np.float32)
    if tensor.cls in ("accumulator", "signal", "gradient"):
        # two types of sums are enough: narrower ones would only add kernels to compile
        return np.dtype(np.int32 if tensor.format.bits <= 32 else np.int64)
    return tensor.format.dtype
