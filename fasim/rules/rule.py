"""What a learning rule is: a name, a source, and the signal that enters each hidden segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fasim.network import Network
from fasim.schedule import Builder, Schedule, StepSettings, Value

Signal = Callable[[Builder, int], Value | None]


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
        untrained. Layers are asked from the top down.
    place : int
        Position in lists and legends.
    """

    name: str
    title: str
    source: str
    signal: Signal
    place: int

    def schedule(self, network: Network, settings: StepSettings) -> Schedule:
        """Return one training step of this rule, in float and in the sequence of emission."""
        step = Builder(network, settings, self.name)
        step.forward()
        step.output_error()
        for layer in range(len(network.segments) - 1, 0, -1):
            signal = self.signal(step, layer)
            if signal is not None:
                step.backward(layer, signal)
        return step.schedule()
