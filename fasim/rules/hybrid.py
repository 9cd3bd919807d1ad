"""Hybrid of backpropagation and direct feedback alignment (Han and Yoo 2019, arXiv:1901.01986).

Dense layers get the output's delta directly, ``signal.l = delta.L @ feedback.l``. Convolutions are backpropagated from the
first dense layer on: ``signal.l = delta.(l+1)`` back through ``weight.(l+1)``. A network without convolutions is dfa.
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def signal(step: Builder, layer: int) -> Value:
    """Backpropagate into a convolution, send the output's delta straight to a dense layer."""
    if step.is_conv(layer):
        return step.project(step.delta(layer + 1), step.weight(layer + 1), layer)
    return step.project(step.output_signal(), step.feedback(layer), layer, direct=True)


RULE = Rule("hybrid", "backpropagation in conv, DFA in dense layers", "Han and Yoo 2019", signal, place=10)
