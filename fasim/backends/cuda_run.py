"""A CUDA program on the arrays of one run, of one network or of replicas that train side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Protocol

import numpy as np

from fasim.backends import Samples
from fasim.backends.buffers import flattened, stored_as
from fasim.backends.cuda_bind import (
    Arrays,
    Binding,
    Constant,
    DeviceArray,
    Grid,
    Inputs,
    Launch,
    Operands,
    flat,
    upload,
)
from fasim.backends.cuda_merge import Scratch, merged
from fasim.backends.cuda_observe import CudaObserver
from fasim.schedule import Op, Schedule, Tensor, Value
from fasim.schedule.defer import PREVIOUS, deferred
from fasim.state import State

BUFFERED = ("temp", "register", "kept", "previous")


class Given(Protocol):
    """What a run needs of its program."""

    schedule: Schedule
    binding: Binding
    grid: Grid
    ways: set[str]
    buffers: Arrays
    sites: dict[str, Value]
    observe: bool

    @property
    def kernels(self) -> ModuleType:
        """``fasim_cuda``."""


class Outline:
    """An array of which nothing is there but shape and type: a program is bound to such ones to reckon its memory.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype = shape, dtype

    def reshape(self, *shape: int) -> Outline:
        """Return another view."""
        return Outline(shape, self.dtype)

    def copy_to_host(self) -> np.ndarray:
        """Return zeros, as good as any."""
        return np.zeros(self.shape, self.dtype)


class BoundRun:
    """A program on the arrays of one run.

    Parameters
    ----------
    program : Given
    schedules : sequence of Schedule
        Of the replicas: the program's own, or others that differ from it by numbers alone.
    which : sequence of int
        The schedule of each replica.
    states : sequence of State
    data : Samples
    orders : sequence of ndarray of int
    first_step : int
    """

    def __init__(
        self,
        program: Given,
        schedules: Sequence[Schedule],
        which: Sequence[int],
        states: Sequence[State],
        data: Samples,
        orders: Sequence[np.ndarray],
        first_step: int,
    ) -> None:
        self.program, self.schedule, self.schedules, self.which = program, program.schedule, schedules, which
        self.tile, self.replicas, self.ways = program.grid.tile, len(states), program.ways
        self.kernels, self.upload = program.kernels, partial(upload, program.kernels)
        self.arrays: Arrays = program.buffers | {name: self.upload(_stacked(states, name)) for name in states[0]}
        self.seed = self.arrays["seed"].reshape()
        self.now, self.before, self.place = (self._number(value) for value in (first_step, first_step - 1, 0))
        gain, offset = (None if array is None else self.upload(array[None]) for array in (data.gain, data.offset))
        places = self.upload(np.stack([np.asarray(order, np.int64) for order in orders]))
        self.inputs = Inputs(
            self.upload(data.codes[None]), self.upload(data.labels[None]), gain, offset, data.scale, places, self.place
        )
        self.observer = CudaObserver(self.kernels, self.schedule) if program.observe else None
        self.scratch = Scratch(self._zeros)
        self.counters = {site: self._zeros(2, np.int64) for site in program.sites}
        self._made: dict[int, list[Launch]] = {}

    def _zeros(self, size: int, dtype: type | np.dtype) -> DeviceArray:
        return self.upload(np.zeros((self.replicas, size), dtype))

    def _number(self, value: int) -> DeviceArray:
        """Return an array (1,) of the device that holds a number, the same for all replicas."""
        return self.upload(np.full((1, 1), value, np.int64))

    def zeros(self, size: int, dtype: type | np.dtype) -> DeviceArray:
        """Return an array of the device that no tensor has, of each replica its own."""
        return self.scratch.zeros(size, dtype)

    def step(self, ops: Sequence[Op], *last: Launch) -> list[Launch]:
        """Return what a step launches: a batch is loaded, then ops, then the step is counted."""
        kernels, schedule, arrays, inputs = self.kernels, self.schedule, self.arrays, self.inputs
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
        """Return the launches of ops of the program; what an op needs for itself is made once a run."""
        launches, asked = list[Launch](), {id(op) for op in ops}
        for number, op in enumerate(self.schedule.ops):
            if id(op) not in asked:
                continue
            if number not in self._made:
                self._made[number] = self._bind(number)
            launches += self._made[number]
            launches += self.observer.calls(op, self.arrays) if self.observer else []
        return launches

    def _bind(self, number: int) -> list[Launch]:
        """Return the launches of the op of this number, with the numbers of every replica."""
        self.scratch = Scratch(self._zeros)
        of_schedules = []
        for schedule in self.schedules:
            self.scratch.rewind()
            of_schedules.append(bind(self.program.binding, schedule, schedule.ops[number], self))
        return merged(of_schedules, self.which, self.upload)


def bind(binding: Binding, schedule: Schedule, op: Op, bound: BoundRun | Sketch) -> list[Launch]:
    """Return the launches of an op of one schedule."""
    step = bound.before if deferred(op) else bound.now
    return binding.op(op, Operands(bound.kernels, schedule, op, bound, step, bound.counters.get(op.site)))


class Sketch:
    """A program bound to arrays of which nothing is there, to reckon what its ops need for themselves.

    Parameters
    ----------
    kernels : module
        ``fasim_cuda``.
    grid : Grid
    schedule : Schedule
    replicas : int
        How many arrays that all replicas share are divided among.
    """

    def __init__(self, kernels: ModuleType, grid: Grid, schedule: Schedule, replicas: int) -> None:
        self.kernels, self.tile, self.replicas, self.ways = kernels, grid.tile, replicas, set[str]()
        self.arrays: Arrays = {
            tensor.name: DeviceArray(
                Outline((1, *(flattened(tensor) if buffered(tensor) else tensor.shape)), stored_as(tensor))
            )
            for tensor in schedule.tensors.values()
        }
        self.seed = DeviceArray(Outline((1,), np.dtype(np.int64)))
        self.now = self.before = Constant(np.zeros((1, 1), np.int64))
        self.counters: Arrays = {}
        self.bytes = 0

    def zeros(self, size: int, dtype: type | np.dtype) -> DeviceArray:
        """Count an array that no tensor has."""
        self.bytes += size * np.dtype(dtype).itemsize
        return DeviceArray(Outline((1, size), np.dtype(dtype)))


def buffered(tensor: Tensor) -> bool:
    """Return whether a program keeps an array for what a step computes, or reads of the data."""
    return tensor.storage in BUFFERED or (tensor.storage == "input" and tensor.cls in ("act", "label"))


def _stacked(states: Sequence[State], name: str) -> np.ndarray:
    """Return what the device keeps of a tensor of all states: learning rates as the float32 that kernels use anyway."""
    arrays = [state[name] for state in states]
    whole = arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
    return whole.astype(np.float32) if whole.dtype == np.float64 else whole
