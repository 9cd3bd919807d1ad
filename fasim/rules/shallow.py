"""The control: only the output layer learns, hidden layers keep their initial weights.

Whatever a rule gains over this, its hidden layers have learnt.
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder


def signal(step: Builder, layer: int) -> None:  # noqa: ARG001
    """Leave the layer untrained."""


RULE = Rule("shallow", "output layer only", "control", signal, place=5)
