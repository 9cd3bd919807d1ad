"""Direct random target projection (Frenkel, Lefebvre and Bol 2021, doi:10.3389/fnins.2021.629892).

``signal.l = s * target @ feedback.l``: one row of the matrix, chosen by the label - no product and no waiting for the
output, so a layer is trained and its input freed before the next layer runs. The gradient has the sign +target.
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def signal(step: Builder, layer: int) -> Value:
    """Fetch the row of the feedback matrix that belongs to the label."""
    return step.select(step.feedback(layer), layer, scale=step.target_scale)


RULE = Rule("drtp", "direct random target projection", "Frenkel et al. 2021", signal, place=4)
