"""What both bindings of the CUDA backend share: launches, and the arrays of an op on the device."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple, Protocol, cast

import numpy as np

from fasim.fixedpoint.cast import limits
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from fasim.schedule import Op, Schedule


class RawArray(Protocol):
    """An array as the target knows it."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def reshape(self, *shape: int) -> RawArray:
        """Return another view."""

    def copy_to_host(self) -> np.ndarray:
        """Return a copy that the CPU can read, once all launches before are done."""


class DeviceArray:
    """An array on the device, of which each replica of a population has its own, or which all share.

    Shape and size are those that one replica sees, so that a binding need not know how many there are.

    Parameters
    ----------
    array : array of the device
        [R, ...], or [1, ...] where replicas share it.
    """

    def __init__(self, array: RawArray, whole: DeviceArray | None = None) -> None:
        self.array, self.replicas, self.shape = array, array.shape[0], tuple(array.shape[1:])
        self.size, self.dtype = math.prod(self.shape), array.dtype
        self.whole = whole or self
        """What this is a view of."""

    def reshape(self, *shape: int) -> DeviceArray:
        """Return another view."""
        return DeviceArray(self.array.reshape(self.replicas, *shape), self.whole)

    def copy_to_host(self) -> np.ndarray:
        """Return a copy of all replicas, once all launches before are done."""
        return self.array.copy_to_host()


def upload(kernels: ModuleType, array: np.ndarray) -> DeviceArray:
    """Put an array on the device, whose first axis is that of replicas, or 1.

    NumPy gives that one row the stride 0 where it was added by indexing, which numba-cuda takes for an array that repeats:
    it would compile other kernels for it and refuse to reshape it.
    """
    return DeviceArray(kernels.cuda.to_device(np.ascontiguousarray(array).ravel().reshape(array.shape)))


class Constant(DeviceArray):
    """Numbers of an op that no step changes, still on the host: on the device there is one array for what replicas share.

    Parameters
    ----------
    host : ndarray
        [1, ...], or [R, ...] with those of each replica.
    """

    def __init__(self, host: np.ndarray) -> None:
        super().__init__(cast(RawArray, host))
        self.host = host


class Kernel(Protocol):
    """A kernel for every replica of a population, see `fasim_cuda.replicas`."""

    def of(self, arrays: Sequence[bool]) -> Compiled:
        """Return it where these arguments are arrays, the others numbers."""


class Compiled(Protocol):
    """A kernel that a grid of blocks of threads makes callable."""

    def __getitem__(self, grid: tuple[tuple[int, int, int], int | tuple[int, int]]) -> Callable[..., None]:
        """Return what launches the kernel."""


Arrays = dict[str, DeviceArray]


class Launch(NamedTuple):
    """A kernel, its arguments and the work that its grid must cover."""

    kernel: Kernel
    arguments: tuple[object, ...]
    extent: int | tuple[int, int]
    """Elements, or rows and columns of a product of matrices."""


class Tile(Protocol):
    """How a product of matrices is divided, see `fasim_cuda.Tile`."""

    @property
    def threads(self) -> int:
        """Threads of a block, a side."""

    @property
    def side(self) -> int:
        """Rows, and columns, of results of a block."""


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

    threads: int
    blocks: int
    tile: Tile


Ready = tuple[Compiled, tuple[tuple[int, int, int], int | tuple[int, int]], list[object]]


def ready(launch: Launch, grid: Grid) -> Ready:
    """Return a kernel, its grid and its arguments as the device takes them.

    The grid's z axis counts replicas: as many as the array that holds most of them. What all share is written once.
    """
    kernel, given, extent = launch
    arrays = [argument.array if isinstance(argument, DeviceArray) else None for argument in given]
    replicas = max(array.shape[0] for array in arrays if array is not None)
    arguments = [number if array is None else array for number, array in zip(given, arrays, strict=True)]
    compiled = kernel.of([array is not None for array in arrays])
    if isinstance(extent, int):
        return compiled, ((min(-(-extent // grid.threads), grid.blocks), 1, replicas), grid.threads), arguments
    side, threads = grid.tile.side, grid.tile.threads
    return compiled, ((-(-extent[1] // side), -(-extent[0] // side), replicas), (threads, threads)), arguments


class Inputs(NamedTuple):
    """What batches are gathered from, on the device."""

    codes: DeviceArray
    labels: DeviceArray
    gain: DeviceArray | None
    offset: DeviceArray | None
    scale: np.float32
    """Value of one code step where there is no gain."""
    order: DeviceArray
    """int64[M], the samples of the whole run, of each replica its own or one for all."""
    place: DeviceArray
    """int64[1], where in that order the batch begins."""


class Binding(Protocol):
    """Launches of the kernels of one kind of numbers."""

    def missing(self, op: Op) -> str:
        """Return what of an op there is no kernel for; nothing if all is there."""

    def load(self, kernels: ModuleType, data: Inputs, act: DeviceArray) -> list[Launch]:
        """Return the launches that gather a batch."""

    def op(self, op: Op, operands: Operands) -> list[Launch]:
        """Return the launches of an op."""


class Bound(Protocol):
    """What an op needs of a run."""

    arrays: Arrays
    seed: DeviceArray
    """A number, of each replica its own."""
    ways: set[str]
    """Ways in which integer matrices are multiplied, see `fasim.backends.cuda_products`."""

    @property
    def tile(self) -> Tile:
        """How products of matrices are divided."""

    @property
    def replicas(self) -> int:
        """How many there are."""

    def zeros(self, size: int, dtype: type | np.dtype) -> DeviceArray:
        """Return an array that no tensor has, of each replica its own."""


class Operands:
    """The arrays of an op and what its kernels need besides.

    Parameters
    ----------
    kernels : module
        ``fasim_cuda``.
    schedule : Schedule
    op : Op
    bound : Bound
        The program on the arrays of a run.
    step : array
        int64[1], the step of what the op draws.
    counter : array or None
        int64[2], of the op's site, for each replica.
    """

    def __init__(
        self,
        kernels: ModuleType,
        schedule: Schedule,
        op: Op,
        bound: Bound,
        step: DeviceArray,
        counter: DeviceArray | None,
    ) -> None:
        self.kernels, self.schedule, self.op, self.step, self.counter = kernels, schedule, op, step, counter
        self.arrays, self.seed, self.tile, self.replicas = bound.arrays, bound.seed, bound.tile, bound.replicas
        self.zeros, self.ways = bound.zeros, bound.ways
        self.read = [self.arrays[value.tensor] for value in op.reads]
        self.out = self.arrays[op.writes[0].tensor]

    def number(self, value: int) -> DeviceArray:
        """Return an array (1,) that holds a number."""
        return Constant(np.full((1, 1), value, np.int64))

    def by_element(self, kernel: Kernel, *others: object) -> list[Launch]:
        """Launch a kernel on what is read, on other arguments and on what is written, all of them flat."""
        return [Launch(kernel, (*(flat(array) for array in self.read), *others, flat(self.out)), self.out.size)]

    def by_row(self, kernel: Kernel, *others: object) -> list[Launch]:
        """Launch a kernel of single elements that knows rows and columns."""
        return [Launch(kernel, (*self.read, *others, self.out), self.out.size)]

    def product(self, kernel: Kernel, *others: object) -> list[Launch]:
        """Launch a product of matrices."""
        rows, columns = self.out.shape
        return [Launch(kernel, (*self.read, *others, self.out), (rows, columns))]

    @property
    def scale(self) -> np.float32:
        """Return the scale of a float32 op."""
        return np.float32(self.op.attrs["scale"])

    @property
    def modes(self) -> tuple[int, int, int, int]:
        """Return lo, hi, rounding and overflow of the cast into what the op writes."""
        fmt = self.schedule[self.op.writes[0]].format
        assert fmt is not None
        mode = self.op.attrs["overflow"]
        return (*limits(fmt, mode), ROUNDINGS[self.op.attrs["rounding"]], OVERFLOWS[mode])

    @property
    def place(self) -> tuple[DeviceArray, int, DeviceArray]:
        """Return seed, site and step: where random words come from."""
        return self.seed, zlib.crc32(self.op.site.encode()), self.step


def flat(array: DeviceArray) -> DeviceArray:
    """Return an array of the device as one row."""
    return array.reshape(array.size)
