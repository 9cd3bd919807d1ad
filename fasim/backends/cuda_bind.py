"""What both bindings of the CUDA backend share: launches, and the arrays of an op on the device."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple, Protocol, Self

import numpy as np

from fasim.fixedpoint.cast import limits
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from fasim.schedule import Op, Schedule


class DeviceArray(Protocol):
    """An array on the device, whose type depends on the target."""

    shape: tuple[int, ...]
    size: int
    dtype: np.dtype

    def reshape(self, *shape: int) -> Self:
        """Return another view."""

    def copy_to_host(self) -> np.ndarray:
        """Return a copy that the CPU can read, once all launches before are done."""


class Kernel(Protocol):
    """A kernel, which a grid of blocks of threads makes callable."""

    def __getitem__(self, grid: tuple[int | tuple[int, int], int | tuple[int, int]]) -> Callable[..., None]:
        """Return what launches the kernel."""


Arrays = dict[str, DeviceArray]


class Launch(NamedTuple):
    """A kernel, its arguments and the work that its grid must cover."""

    kernel: Kernel
    arguments: tuple[object, ...]
    extent: int | tuple[int, int]
    """Elements, or rows and columns of a product of matrices."""


class Inputs(NamedTuple):
    """What batches are gathered from, on the device."""

    codes: DeviceArray
    labels: DeviceArray
    gain: DeviceArray | None
    offset: DeviceArray | None
    scale: np.float32
    """Value of one code step where there is no gain."""
    order: DeviceArray
    """int64[M], the samples of the whole run."""
    place: DeviceArray
    """int64[1], where in that order the batch begins."""


class Bound(Protocol):
    """What an op needs of a run."""

    arrays: Arrays
    seed: int

    @property
    def tile(self) -> object:
        """How products of matrices are divided."""

    def number(self, value: int) -> DeviceArray:
        """Return an array (1,) that holds a number."""


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
        int64[2], of the op's site.
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
        self.arrays, self.seed, self.tile, self.number = bound.arrays, bound.seed, bound.tile, bound.number
        self.read = [self.arrays[value.tensor] for value in op.reads]
        self.out = self.arrays[op.writes[0].tensor]

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

    def zeros(self, size: int, dtype: type) -> DeviceArray:
        """Return an array of the device that no tensor has."""
        made: DeviceArray = self.kernels.cuda.to_device(np.zeros(size, dtype))
        return made

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
    def place(self) -> tuple[int, int, DeviceArray]:
        """Return seed, site and step: where random words come from."""
        return self.seed, zlib.crc32(self.op.site.encode()), self.step


def flat(array: DeviceArray) -> DeviceArray:
    """Return an array of the device as one row."""
    return array.reshape(array.size)
