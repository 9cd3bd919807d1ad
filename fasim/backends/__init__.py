"""What runs a schedule. A backend turns it into a program once; the program then runs many steps.

``cpu`` runs Numba kernels; ``reference`` interprets the schedule op by op in float64 and Python integers: slow, and what
the others are held against.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from fasim.errors import ConfigError, unknown_name
from fasim.fixedpoint.trace import Trace
from fasim.schedule import Schedule
from fasim.state import State


class Samples(NamedTuple):
    """Inputs as uint8 codes (samples, I), value = code * 2^-8, and labels int64 (samples,)."""

    codes: np.ndarray
    labels: np.ndarray


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

    def outputs(self, state: State, codes: np.ndarray) -> np.ndarray:
        """Return the network's outputs (samples, K) as floats; the program must be an evaluation pass."""


class Backend(Protocol):
    """Makes programs."""

    def __call__(self, schedule: Schedule, *, threads: int = 1) -> Program:
        """Return the program of a schedule."""


def names() -> list[str]:
    """Return the names of the backends."""
    return ["cpu", "reference"]


def get(name: str) -> Backend:
    """Return a backend by name; importing one costs nothing to the others."""
    if name == "cpu":
        from fasim.backends.cpu import CpuProgram

        return CpuProgram
    if name == "reference":
        from fasim.backends.reference import ReferenceProgram

        return ReferenceProgram
    raise ConfigError(unknown_name("backend", name, names()))
