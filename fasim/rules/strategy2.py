"""General strategy 2 (Flam-Shepherd, general feedback strategies, table 1): direct feedback mixed with feedback from below.

``signal.l = mean(e.l @ feedback.l, delta.(l-1) @ feedback_below.l)``, bottom up; the first layer has the direct term alone.
The paper's table leaves this row blank: this is a reconstruction, the mirror image of strategy 1.
"""

from __future__ import annotations

from fasim.rules.direct_term import DirectTerm, auxiliary_term, output_term
from fasim.rules.rule import Rule, Signal
from fasim.schedule import Builder, Value


def _signal(direct: DirectTerm) -> Signal:
    def signal(step: Builder, layer: int) -> Value:
        """Mix the direct term with what the delta of the layer below brings."""
        step.needs_dense()
        terms = [direct(step, layer)]
        if layer > 1:
            terms.append(
                step.project(step.delta(layer - 1), step.feedback_below(layer), layer, direct=True, name="from_below")
            )
        return step.mean(terms, layer)

    return signal


SOURCE = "Flam-Shepherd, strategy 2"
NOTE = "reconstruction: the paper's table leaves the row of strategy 2 blank"
RULES = (
    Rule("strategy2", "general strategy 2, output error", SOURCE, _signal(output_term), 12, "up", note=NOTE),
    Rule("strategy2_aux", "general strategy 2, auxiliary errors", SOURCE, _signal(auxiliary_term), 15, "up", note=NOTE),
)
