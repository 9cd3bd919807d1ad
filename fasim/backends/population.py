"""Replicas of one network that train side by side: together where a backend can, else one after another.

They have the same data and differ in their state - weights, feedback, seed, learning rate -, in the order of their samples
and in the numbers of their schedules, see `fasim.backends.alike`. Whichever way they run, each has the bits of a run of its
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from fasim import backends
from fasim.backends import Program, Samples
from fasim.fixedpoint.trace import Trace
from fasim.schedule import Schedule
from fasim.state import State

MOST = 65535
"""Replicas of a launch, which a GPU's grid counts by its third axis."""
SHARE = 0.8
"""Of the free memory that a population may take; the data lie beside it."""


@runtime_checkable
class Together(Program, Protocol):
    """A program that can run several states at once."""

    @property
    def is_small(self) -> bool:
        """Whether replicas of this schedule can share launches."""

    @property
    def replica_bytes(self) -> int:
        """Memory of the device that one more replica takes."""

    def free_bytes(self) -> int:
        """Return how much memory of the device is free."""

    def run_together(
        self,
        states: Sequence[State],
        data: Samples,
        orders: Sequence[np.ndarray],
        first_step: int,
        schedules: Sequence[Schedule] = (),
    ) -> list[Trace]:
        """Train each state on the samples that its order names, all orders being as long; see `Program.run`.

        `schedules` are those of the replicas where they are not all the program's own.
        """

    def outputs_together(
        self,
        states: Sequence[State],
        data: Samples,
        rows: Sequence[np.ndarray] | None = None,
        schedules: Sequence[Schedule] = (),
    ) -> list[np.ndarray]:
        """Return the outputs of each state, for all samples or for as many rows of its own; see `Program.outputs`."""


def run_all(
    programs: Sequence[Program],
    states: Sequence[State],
    data: Samples,
    orders: Sequence[np.ndarray],
    first_step: int,
) -> list[Trace]:
    """Train every state on the samples that its order names, updating it in place.

    Parameters
    ----------
    programs : sequence of Program
        One for each state; those of replicas with one schedule are one object.
    states : sequence of State
    data : Samples
    orders : sequence of ndarray of int, shape (samples,)
        One for each state, all as long.
    first_step : int

    Returns
    -------
    list of Trace
        What each replica counted.
    """
    first = programs[0]
    if isinstance(first, Together) and len(states) > 1:
        return first.run_together(states, data, orders, first_step, _schedules(programs))
    replicas = zip(programs, states, orders, strict=True)
    return [program.run(state, data, order, first_step) for program, state, order in replicas]


def outputs_of_all(
    programs: Sequence[Program], states: Sequence[State], data: Samples, rows: Sequence[np.ndarray] | None = None
) -> list[np.ndarray]:
    """Return the outputs (samples, K) of an evaluation pass for every state, on all samples or on rows of its own."""
    first = programs[0]
    if isinstance(first, Together) and len(states) > 1:
        return first.outputs_together(states, data, rows, _schedules(programs))
    if rows is None:
        return [program.outputs(state, data) for program, state in zip(programs, states, strict=True)]
    of_each = [data._replace(codes=data.codes[own], labels=data.labels[own]) for own in rows]
    return [program.outputs(state, own) for program, state, own in zip(programs, states, of_each, strict=True)]


def has_populations(backend: str) -> bool:
    """Return whether a backend trains several networks in the same launches."""
    return hasattr(backends.get(backend), "run_together")


def _schedules(programs: Sequence[Program]) -> list[Schedule]:
    """Return the schedules of programs; none where all are one."""
    return [] if all(program is programs[0] for program in programs) else [program.schedule for program in programs]


def largest(programs: Sequence[Program], beside: int = 0) -> int:
    """Return how many replicas can share the launches of all these programs: 1 where a backend has no such launches.

    Parameters
    ----------
    programs : sequence of Program
    beside : int
        Bytes that one more replica takes besides its state and its steps: its order of samples, its outputs.
    """
    together = [program for program in programs if isinstance(program, Together)]
    if len(together) < len(programs) or not all(program.is_small for program in together):
        return 1
    free = min(program.free_bytes() for program in together)
    return max(1, min(MOST, int(SHARE * free) // (beside + sum(program.replica_bytes for program in together))))
