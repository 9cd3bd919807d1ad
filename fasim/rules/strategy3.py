"""General strategy 3 (Flam-Shepherd, general feedback strategies, table 1): every layer hears from both neighbours.

With ``t.l = (e.l @ feedback.l) * slope.l``, the deltas that direct feedback alone would give,
``signal.l = mean(e.l @ feedback.l, t.(l-1) @ feedback_below.l, t.(l+1) @ feedback_above.l)``, over the terms that there
are: neighbours send their pure direct deltas, at the same time. For two hidden layers these are the paper's equations.
"""

from __future__ import annotations

from fasim.rules.direct_term import DirectTerm, auxiliary_term, output_term
from fasim.rules.rule import Rule, Signal
from fasim.schedule import Builder, Value


def _signal(direct: DirectTerm) -> Signal:
    def signal(step: Builder, layer: int) -> Value:
        """Mix the direct term with what the pure direct deltas of both neighbours bring."""
        step.needs_dense()
        terms = [direct(step, layer)]
        if layer > 1:
            below = step.direct_delta(layer - 1, direct(step, layer - 1))
            terms.append(step.project(below, step.feedback_below(layer), layer, direct=True, name="from_below"))
        if layer + 1 < step.last:
            above = step.direct_delta(layer + 1, direct(step, layer + 1))
            matrix = step.layered_feedback(layer, "feedback_above")
            terms.append(step.project(above, matrix, layer, name="from_above"))
        return step.mean(terms, layer)

    return signal


SOURCE = "Flam-Shepherd, strategy 3"
RULES = (
    Rule("strategy3", "general strategy 3, output error", SOURCE, _signal(output_term), place=13),
    Rule("strategy3_aux", "general strategy 3, auxiliary errors", SOURCE, _signal(auxiliary_term), place=16),
)
