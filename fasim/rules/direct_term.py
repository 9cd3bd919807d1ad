"""The direct term of the general strategies: the output's delta, or a layer's own error, through fixed feedback."""

from __future__ import annotations

from collections.abc import Callable

from fasim.schedule import Builder, Value

DirectTerm = Callable[[Builder, int], Value]


def output_term(step: Builder, layer: int) -> Value:
    """Return ``delta.L @ feedback.l``, emitted once."""
    return step.once(
        f"direct.{layer}",
        lambda: step.project(step.output_signal(), step.feedback(layer), layer, direct=True, name="direct"),
    )


def auxiliary_term(step: Builder, layer: int) -> Value:
    """Return the layer's own error, as in lafs, through its feedback, emitted once."""
    return step.once(
        f"direct.{layer}",
        lambda: step.project(
            step.local_error(layer), step.feedback(layer), layer, direct=True, scale=step.local_scale, name="direct"
        ),
    )
