"""General strategy 1 (Flam-Shepherd, general feedback strategies, table 1): direct feedback mixed with feedback from above.

``signal.l = mean(e.l @ feedback.l, delta.(l+1) @ feedback_above.l)``, top down; the top hidden layer has the direct term
alone. ``e.l`` is the output's delta, or (``strategy1_aux``) the layer's own auxiliary error as in lafs. All matrices are
fixed.
"""

from __future__ import annotations

from fasim.rules.direct_term import DirectTerm, auxiliary_term, output_term
from fasim.rules.rule import Rule, Signal
from fasim.schedule import Builder, Value


def _signal(direct: DirectTerm) -> Signal:
    def signal(step: Builder, layer: int) -> Value:
        """Mix the direct term with what the next layer's delta brings."""
        step.needs_dense()
        terms = [direct(step, layer)]
        if layer + 1 < step.last:
            above = step.layered_feedback(layer, "feedback_above")
            terms.append(step.project(step.delta(layer + 1), above, layer, name="from_above"))
        return step.mean(terms, layer)

    return signal


SOURCE = "Flam-Shepherd, strategy 1"
RULES = (
    Rule("strategy1", "general strategy 1, output error", SOURCE, _signal(output_term), place=11),
    Rule("strategy1_aux", "general strategy 1, auxiliary errors", SOURCE, _signal(auxiliary_term), place=14),
)
