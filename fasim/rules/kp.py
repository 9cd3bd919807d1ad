"""Kolen-Pollack learning (Kolen and Pollack 1994; Akrout et al. 2019, arXiv:1904.05391; equations 4-6 of the DKP paper).

``signal.l = delta.(l+1) @ feedback.l``, as feedback alignment; but the feedback learns with the gradient of the weights
that it stands for: ``feedback.l -= rate * gradient.weight.(l+1) + lambda * feedback.l``. With the same rate and the same
decoupled lambda for both, ``weight.(l+1) - feedback.l`` shrinks by 1 - lambda in every step: they become the same.
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def signal(step: Builder, layer: int) -> Value:
    """Bring the next layer's delta back through the feedback as it was before this step."""
    return step.project(step.delta(layer + 1), step.layered_feedback(layer), layer)


def learn(step: Builder, layer: int) -> None:
    """Let the feedback follow the weights of the next layer."""
    step.learn_layered_feedback(layer)


RULE = Rule("kp", "Kolen-Pollack", "Kolen and Pollack 1994; Akrout et al. 2019", signal, place=7, learn=learn)
