"""Feedback alignment (Lillicrap, Cownden, Tweed and Akerman 2016, doi:10.1038/ncomms13276).

``signal.l = delta.(l+1) @ feedback.l``: backpropagation with a fixed random matrix in the place of the transposed
weights. The matrix has the shape of ``weight.(l+1)``; the first layer needs none.
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def signal(step: Builder, layer: int) -> Value:
    """Bring the next layer's delta back through fixed random weights."""
    return step.project(step.delta(layer + 1), step.layered_feedback(layer), layer)


RULE = Rule("fa", "feedback alignment", "Lillicrap et al. 2016", signal, place=1)
