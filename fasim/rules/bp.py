"""Backpropagation (Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0).

``signal.l = delta.(l+1) @ weight.(l+1)``: the exact gradient, at the price of reading every weight a second time,
transposed, and of one layer waiting for the next.
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def signal(step: Builder, layer: int) -> Value:
    """Bring the next layer's delta back through its weights."""
    return step.project(step.delta(layer + 1), step.weight(layer + 1), layer)


RULE = Rule("bp", "backpropagation", "Rumelhart et al. 1986", signal, place=0)
