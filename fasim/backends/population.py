"""Replicas of one network that train side by side: together where a backend can, else one after another.

They have the same schedule and the same data, and differ in their state - weights, feedback, seed, learning rate - and in
the order of their samples. Whichever way they run, each has the bits of a run of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from fasim.backends import Program, Samples
from fasim.fixedpoint.trace import Trace
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
        self, states: Sequence[State], data: Samples, orders: Sequence[np.ndarray], first_step: int
    ) -> list[Trace]:
        """Train each state on the samples that its order names, all orders being as long; see `Program.run`."""

    def outputs_together(self, states: Sequence[State], data: Samples) -> list[np.ndarray]:
        """Return the outputs of each state; see `Program.outputs`."""


def run_all(
    program: Program, states: Sequence[State], data: Samples, orders: Sequence[np.ndarray], first_step: int
) -> list[Trace]:
    """Train every state on the samples that its order names, updating it in place.

    Parameters
    ----------
    program : Program
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
    if isinstance(program, Together) and len(states) > 1:
        return program.run_together(states, data, orders, first_step)
    return [program.run(state, data, order, first_step) for state, order in zip(states, orders, strict=True)]


def outputs_of_all(program: Program, states: Sequence[State], data: Samples) -> list[np.ndarray]:
    """Return the outputs (samples, K) of an evaluation pass for every state."""
    if isinstance(program, Together) and len(states) > 1:
        return program.outputs_together(states, data)
    return [program.outputs(state, data) for state in states]


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
