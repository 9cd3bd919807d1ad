"""Indirect feedback alignment (Nokland 2016, arXiv:1609.01596).

``signal.1 = delta.L @ feedback.1`` and, going up, ``signal.l = delta.(l-1) @ weight.l.T``: the error reaches the first
hidden layer directly and travels from there through the same weights, in the same direction, as the activations. One
feedback matrix; no weight is read transposed. The weights are those before this step's update.
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def signal(step: Builder, layer: int) -> Value:
    """Send the output's delta to the first layer, and every other layer the delta of the layer below."""
    step.needs_dense()
    if layer == 1:
        return step.project(step.output_signal(), step.feedback(layer), layer, direct=True)
    return step.project_up(step.delta(layer - 1), step.weight(layer), layer)


RULE = Rule("ifa", "indirect feedback alignment", "Nokland 2016", signal, place=6, direction="up")
