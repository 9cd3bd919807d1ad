"""Direct feedback alignment (Nokland 2016, arXiv:1609.01596).

``signal.l = delta.L @ feedback.l``: the output's delta goes straight to every hidden layer, so the hidden layers need
not wait for each other - but all of them wait for the output.
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def signal(step: Builder, layer: int) -> Value:
    """Send the output's delta straight to the layer."""
    return step.project(step.output_signal(), step.feedback(layer), layer, direct=True)


RULE = Rule("dfa", "direct feedback alignment", "Nokland 2016", signal, place=2)
