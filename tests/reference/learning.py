"""One whole update of a network and of feedback that learns, from gradients that read the old values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .float_optimizers import update
from .rules import Gradients, Matrices, Step
from .segments import Norm, Segment


@dataclass(frozen=True)
class Learning:
    """How a group of parameters learns: optimizer, learning rate and weight decay (kinds of `update`)."""

    optimizer: str
    rate: float
    decay: float = 0.0
    decay_kind: str = "coupled"

    def apply(self, params: list[Any], grads: list[Any], state: Any, step: int) -> tuple[list[Any], Any]:
        """Return (params, state) after one step."""
        return update(
            self.optimizer,
            params,
            grads,
            state,
            lr=self.rate,
            step=step,
            decay=self.decay,
            decay_kind=self.decay_kind,
        )


def learn(
    at: Step,
    gradients: Gradients,
    feedback: Matrices,
    state: dict[str, Any],
    *,
    weights: Learning,
    feedback_learning: Learning | None = None,
    step: int = 0,
    decay_all: bool = False,
) -> tuple[list[Segment], Matrices, dict[str, Any]]:
    """Return (segments, feedback, state) after the update; step counts from 0, an empty state starts.

    Weights decay; biases, gains and shifts learn alike but decay only with `decay_all`. Running statistics become
    those of the step's forward pass. Feedback moves only if the rule gives it gradients, with its own rate and decay.
    """
    segments = [passed.segment for passed in at.passed]
    norms = [segment.norm for segment in segments if segment.norm is not None]
    new_weights, of_weights = weights.apply([s.weight for s in segments], gradients.weights, state.get("weights"), step)
    others = [s.bias for s in segments] + [norm.gain for norm in norms] + [norm.shift for norm in norms]
    grads = list(gradients.biases)
    for each in (gradients.gains, gradients.shifts):
        grads += [gradient for gradient, s in zip(each, segments, strict=True) if s.norm is not None]
    rest = weights if decay_all else replace(weights, decay=0.0)
    others, of_others = rest.apply(others, grads, state.get("others"), step)
    count = len(segments)
    biases, gains, shifts = others[:count], iter(others[count : count + len(norms)]), iter(others[count + len(norms) :])
    new_segments = []
    for segment, passed, weight, bias in zip(segments, at.passed, new_weights, biases, strict=True):
        norm, seen = segment.norm, passed.normalised
        if norm is not None and seen is not None:
            norm = Norm(next(gains), next(shifts), seen.running_mean, seen.running_var)
        new_segments.append(replace(segment, weight=weight, bias=bias, norm=norm))
    of_feedback = state.get("feedback")
    if gradients.feedback is not None and feedback_learning is not None:
        feedback, of_feedback = feedback_learning.apply(feedback, gradients.feedback, of_feedback, step)
    return new_segments, feedback, {"weights": of_weights, "others": of_others, "feedback": of_feedback}
