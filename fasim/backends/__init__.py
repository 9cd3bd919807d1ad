"""What runs a schedule. A backend turns it into a program once; the program then runs many steps.

``cpu`` runs Numba kernels, ``cuda`` their twins on a GPU; ``reference`` interprets the schedule op by op in float64 and
Python integers: slow, and what the others are held against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from fasim.data import CODE_FRAC
from fasim.errors import ConfigError, unknown_name
from fasim.fixedpoint.trace import Trace
from fasim.schedule import Schedule
from fasim.state import State


class Samples(NamedTuple):
    """Inputs and what the outputs are held against.

    Parameters
    ----------
    codes : ndarray of uint8 or float32, shape (samples, I)
    labels : ndarray
        int64 (samples,), or float32 (samples, K) for regression.
    gain, offset : ndarray of float32, shape (I,), or None
        A network reads ``codes * gain + offset``; None: uint8 codes times 2^-8, float32 as it is.
    """

    codes: np.ndarray
    labels: np.ndarray
    gain: np.ndarray | None = None
    offset: np.ndarray | None = None

    @property
    def scale(self) -> np.float32:
        """Value of one code step where there is no gain."""
        return np.float32(2.0**-CODE_FRAC if self.codes.dtype == np.uint8 else 1.0)


def chunks(count: int, size: int) -> Iterator[tuple[int, np.ndarray, int]]:
    """Divide an evaluation into batches: yield number, rows to run and how many of them count.

    The last batch is filled up with its last sample. The number is the step of a stochastic cast, so that an evaluation
    has the same bits on every backend.
    """
    for number, start in enumerate(range(0, count, size)):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        yield number, rows, min(size, count - start)


class Program(Protocol):
    """A schedule made ready to run."""

    schedule: Schedule

    def run(self, state: State, data: Samples, order: np.ndarray, first_step: int) -> Trace:
        """Train over ``len(order) // N`` batches of the samples that `order` names, updating `state` in place."""

    def outputs(self, state: State, data: Samples) -> np.ndarray:
        """Return the network's outputs (samples, K) as floats; the program must be an evaluation pass."""

    def values(self, state: State, data: Samples, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Run one batch, `data` having exactly N samples, and return tensors that it wrote as floats.

        `state` changes as in a training step; a diagnostic schedule writes none.
        """


class Backend(Protocol):
    """Makes programs."""

    def __call__(self, schedule: Schedule, *, threads: int = 1) -> Program:
        """Return the program of a schedule."""


def names() -> list[str]:
    """Return the names of the backends."""
    return ["cpu", "cuda", "reference"]


def get(name: str) -> Backend:
    """Return a backend by name; importing one costs nothing to the others."""
    if name == "cpu":
        from fasim.backends.cpu import CpuProgram

        return CpuProgram
    if name == "cuda":
        from fasim.backends.cuda import CudaProgram

        return CudaProgram
    if name == "reference":
        from fasim.backends.reference import ReferenceProgram

        return ReferenceProgram
    raise ConfigError(unknown_name("backend", name, names()))


def observing(name: str) -> Backend:
    """Return a backend whose programs count the range of every tensor, into ``Trace.tensors``."""
    get(name)
    if name == "cpu":
        from fasim.backends.cpu import CpuProgram

        return partial(CpuProgram, observe=True)
    if name == "cuda":
        from fasim.backends.cuda import CudaProgram

        return partial(CudaProgram, observe=True)
    raise ConfigError(f"backend {name} does not observe tensors; trace with the backend cpu")
