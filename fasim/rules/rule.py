"""What a learning rule is: a name, a source, the signal that enters each hidden segment, and how its feedback learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fasim.errors import ConfigError, unknown_name
from fasim.network import Network
from fasim.schedule import Builder, Schedule, StepSettings, Value

Signal = Callable[[Builder, int], Value | None]
Learn = Callable[[Builder, int], None]

DIRECTIONS = ("down", "up")


@dataclass(frozen=True)
class Rule:
    """A learning rule.

    Parameters
    ----------
    name : str
        As users write it.
    title : str
        Its full name.
    source : str
        The paper that states it.
    signal : callable
        ``signal(step, layer)`` emits what brings the signal to hidden layer `layer` and returns it; None leaves the layer
        untrained.
    place : int
        Position in lists and legends.
    direction : str
        Whether layers are asked from the top ``down`` or from the bottom ``up``: a signal may be made of the deltas of
        layers that have been asked before.
    learn : callable, optional
        ``learn(step, layer)`` emits how the feedback into hidden layer `layer` learns.
    note : str
        What a reader of its results must know, such as what in it is a reconstruction.
    """

    name: str
    title: str
    source: str
    signal: Signal
    place: int
    direction: str = "down"
    learn: Learn | None = None
    note: str = ""

    def __str__(self) -> str:
        return self.name

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ConfigError(unknown_name(f"direction of rule {self.name}", self.direction, DIRECTIONS))

    def schedule(self, network: Network, settings: StepSettings) -> Schedule:
        """Return one training step of this rule, in float and in the sequence of emission."""
        return self.step(network, settings).schedule()

    def step(self, network: Network, settings: StepSettings) -> Builder:
        """Return the builder that has written the training step of this rule."""
        step = Builder(network, settings, self.name)
        step.forward()
        step.output_error()
        hidden = range(1, len(network.segments))
        for layer in hidden if self.direction == "up" else reversed(hidden):
            signal = self.signal(step, layer)
            if signal is not None:
                step.backward(layer, signal)
        if self.learn is not None:
            for layer in hidden:
                self.learn(step, layer)
        return step
