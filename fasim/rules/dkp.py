"""Direct Kolen-Pollack learning (anonymous manuscript with the code dkp-gist, 2021; its equations 9-11).

``signal.l = delta.L @ feedback.l``, as direct feedback alignment; but the feedback learns:
``feedback.l -= rate * delta.L.T @ act.l + lambda * feedback.l``, act.l that of the layer which the feedback feeds. For the
top hidden layer this is the update of the output weights themselves. Without rate and lambda it is dfa.
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def signal(step: Builder, layer: int) -> Value:
    """Send the output's delta straight to the layer, through the feedback as it was before this step."""
    return step.project(step.output_signal(), step.feedback(layer), layer, direct=True)


def learn(step: Builder, layer: int) -> None:
    """Let the feedback follow the product of the output's delta and the activation that it feeds."""
    step.learn_direct_feedback(layer)


RULE = Rule("dkp", "direct Kolen-Pollack", "direct Kolen-Pollack manuscript, 2021", signal, place=8, learn=learn)
