"""The CUDA backend: a schedule as a list of kernel launches, on data that stays on the device.

A run uploads data, order and state, launches its steps one behind the other in one stream without waiting for any, and
brings back the state that changed. What differs from step to step - which samples, the number of the step - is counted on
the device. In fixed point the bits are those of every other backend; in float32 products are added in ascending order, and
the compiler may contract a product and a sum to one rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import fasim_cuda as kernels
import numpy as np

from fasim.backends import Samples, chunks
from fasim.backends.cuda_bind import Arrays, DeviceArray, Inputs, Launch, Operands, flat
from fasim.backends.cuda_fixed import bind_fixed
from fasim.backends.cuda_float import bind_float
from fasim.errors import ConfigError
from fasim.fixedpoint.trace import SiteCount, Trace
from fasim.schedule import Op, Schedule, Tensor
from fasim.schedule import ops as kinds
from fasim.schedule.defer import PREVIOUS, deferred
from fasim.state import State

device_name = kernels.device_name
BUFFERED = ("temp", "register", "kept", "previous")


class Grid(NamedTuple):
    """How launches are divided; no division changes a bit.

    Parameters
    ----------
    threads : int
        Of a block of single elements.
    blocks : int
        At most; a thread takes several elements where there are more.
    tile : Tile
        Of products of matrices.
    """

    threads: int = 4 if kernels.is_simulated else 256
    blocks: int = 1 if kernels.is_simulated else 2048
    tile: kernels.Tile = kernels.TILE


class CudaProgram:
    """A schedule bound to buffers on the device.

    Parameters
    ----------
    schedule : Schedule
    threads : int
        Of the CPU: of no use here.
    grid : Grid

    Raises
    ------
    ConfigError
        If there is an op without a kernel.
    """

    def __init__(self, schedule: Schedule, *, threads: int = 1, grid: Grid | None = None) -> None:  # noqa: ARG002
        self.schedule = schedule
        self.binding = bind_float if schedule.datapath == "float32" else bind_fixed
        for op in schedule.ops:
            if missing := self.binding.missing(op):
                raise ConfigError(
                    f"backend cuda has no kernel for {missing} on the datapath {schedule.datapath} yet; use the backend cpu"
                )
        self.grid = grid or Grid()
        self.buffers: Arrays = {
            tensor.name: kernels.cuda.to_device(np.zeros(_flat(tensor), _dtype(tensor)))
            for tensor in schedule.tensors.values()
            if tensor.storage in BUFFERED or (tensor.storage == "input" and tensor.cls in ("act", "label"))
        }
        self.buffers |= {name: _upload(table) for name, table in schedule.tables.items()}
        written = {value.tensor for op in schedule.ops for value in op.writes}
        self.changed = [name for name in written if schedule[name].storage == "state"]
        # dropout draws at its site, but casts nothing
        self.sites = {op.site: op.writes[0] for op in schedule.ops if op.site and op.kind != kinds.DROPOUT}

    def run(self, state: State, data: Samples, order: np.ndarray, first_step: int) -> Trace:
        """Train; see :class:`fasim.backends.Program`."""
        size = self.schedule.batch_size
        steps = len(order) // size
        if not steps:
            return Trace()
        bound = _Bound(self, state, data, order[: steps * size], first_step)
        late = [op for op in self.schedule.ops if deferred(op)]
        now = [op for op in self.schedule.ops if not deferred(op)]
        self._launch(bound.step(now))
        body = bound.step(self.schedule.ops)
        for _ in range(steps - 1):
            self._launch(body)
        self._launch(bound.calls(late))
        for name in self.changed:
            np.copyto(state[name], bound.arrays[name].copy_to_host())
        return self._trace(steps, bound.counters.copy_to_host()) if self.sites else Trace()

    def outputs(self, state: State, data: Samples) -> np.ndarray:
        """Return outputs as floats; see :class:`fasim.backends.Program`."""
        output = self.schedule["output"]
        parts = [rows for _, rows, _ in chunks(len(data.codes), self.schedule.batch_size)]
        bound = _Bound(self, state, data, np.concatenate(parts), 0)
        results = kernels.cuda.to_device(np.zeros((len(data.codes), output.shape[1]), _dtype(output)))
        found = self.buffers["output"]
        keep = Launch(kernels.keep_rows, (found, bound.place, results), found.size)
        launches = bound.step(self.schedule.ops, keep)
        for _ in parts:
            self._launch(launches)
        return results.copy_to_host() * np.float32(self._scale(output))

    def values(self, state: State, data: Samples, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return tensors of one batch as floats; see :class:`fasim.backends.Program`."""
        self.run(state, data, np.arange(self.schedule.batch_size), 0)
        tensors = [self.schedule[name] for name in names]
        return {
            tensor.name: self.buffers[tensor.name].copy_to_host().reshape(tensor.shape) * np.float32(self._scale(tensor))
            for tensor in tensors
        }

    def _scale(self, tensor: Tensor) -> float:
        """Return the value of a raw 1, with the exponents of the last step."""
        if tensor.format is None:
            return 1.0
        moved = sum(sign * int(self.buffers[name].copy_to_host()[0]) for name, sign in tensor.points)
        return 2.0 ** -(tensor.format.frac + moved)

    def _launch(self, launches: Sequence[Launch]) -> None:
        """Launch one kernel after the other; none is waited for."""
        for kernel, arguments, extent in launches:
            if isinstance(extent, int):
                blocks = min(-(-extent // self.grid.threads), self.grid.blocks)
                kernel[blocks, self.grid.threads](*arguments)
            else:
                side, threads = self.grid.tile.side, self.grid.tile.threads
                kernel[(-(-extent[1] // side), -(-extent[0] // side)), (threads, threads)](*arguments)

    def _trace(self, steps: int, counted: np.ndarray) -> Trace:
        trace = Trace()
        for (site, written), (saturations, wraps) in zip(self.sites.items(), counted.tolist(), strict=True):
            trace.add(site, SiteCount(steps * self.schedule[written].elements, saturations, wraps))
        return trace


class _Bound:
    """A program on the arrays of one run."""

    def __init__(self, program: CudaProgram, state: State, data: Samples, order: np.ndarray, first_step: int) -> None:
        self.program, self.schedule, self.tile = program, program.schedule, program.grid.tile
        self.arrays: Arrays = program.buffers | {name: _upload(_device_type(array)) for name, array in state.items()}
        self.seed = int(state["seed"][0])
        self.now, self.before, self.place = (self.number(value) for value in (first_step, first_step - 1, 0))
        gain, offset = (None if array is None else _upload(array) for array in (data.gain, data.offset))
        codes, labels, places = (_upload(array) for array in (data.codes, data.labels, np.array(order, np.int64)))
        self.inputs = Inputs(codes, labels, gain, offset, data.scale, places, self.place)
        # a device has no arrays without elements
        self.counters = kernels.cuda.to_device(np.zeros((len(program.sites) or 1, 2), np.int64))

    def number(self, value: int) -> DeviceArray:
        """Return an array (1,) of the device that holds a number."""
        return _upload(np.full(1, value, np.int64))

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
        launches += self.calls(ops)
        for tensor in schedule.tensors.values():
            if tensor.storage == "previous":
                now, kept = flat(arrays[tensor.name.removesuffix(PREVIOUS)]), flat(arrays[tensor.name])
                launches.append(Launch(kernels.copy_fixed, (now, kept), kept.size))
        count = self.now, self.before, self.place, schedule.batch_size
        return [*launches, *last, Launch(kernels.advance, count, 1)]

    def calls(self, ops: Sequence[Op]) -> list[Launch]:
        """Return the launches of ops."""
        launches, sites, counters = [], list(self.program.sites), self.counters
        for op in ops:
            counter = counters[sites.index(op.site)] if op.site in sites else None
            step = self.before if deferred(op) else self.now
            operands = Operands(kernels, self.schedule, op, self, step, counter)
            launches += self.program.binding.op(op, operands)
        return launches


def _upload(array: np.ndarray) -> DeviceArray:
    uploaded: DeviceArray = kernels.cuda.to_device(np.ascontiguousarray(array))
    return uploaded


def _device_type(array: np.ndarray) -> np.ndarray:
    """Return what the device keeps of a state: learning rates as the float32 that kernels round them to anyway."""
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _flat(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape with maps as flat rows, and a number as one element."""
    return (tensor.shape or (1,)) if len(tensor.shape) < 2 else (tensor.shape[0], int(np.prod(tensor.shape[1:])))


def _dtype(tensor: Tensor) -> np.dtype:
    if tensor.name == "label" or tensor.name == "label" + PREVIOUS:
        return np.dtype(np.int64)
    if tensor.format is None:
        return np.dtype(np.float32)
    if tensor.cls == "scalar":
        return np.dtype(np.int64)
    if tensor.cls in ("accumulator", "signal", "gradient"):
        # two types of sums are enough: narrower ones would only add kernels to compile
        return np.dtype(np.int32 if tensor.format.bits <= 32 else np.int64)
    return tensor.format.dtype
