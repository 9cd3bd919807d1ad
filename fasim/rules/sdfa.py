"""Direct feedback alignment of the error's sign (Frenkel, Lefebvre and Bol 2021, doi:10.3389/fnins.2021.629892).

``signal.l = s * sign(error) @ feedback.l``: additions only. For outputs between 0 and 1 and one-hot targets the sign of
the error is known from the label, so it carries no more than a label does; sign(0) is 0. "sDFA" here is never sparse DFA.
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def signal(step: Builder, layer: int) -> Value:
    """Send the sign of the output error straight to the layer."""
    return step.project(step.sign_of_error(), step.feedback(layer), layer, direct=True, scale=step.target_scale)


RULE = Rule("sdfa", "direct feedback alignment of the error's sign", "Frenkel et al. 2021", signal, place=3)
