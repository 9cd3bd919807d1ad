"""Layerwise auxiliary errors through fixed read-outs (Mostafa, Ramesh and Cauwenberghs 2018, arXiv:1711.06756).

Every hidden layer guesses the label through its own fixed matrix: ``signal.l = local_error.l @ feedback.l`` with
``local_error.l = softmax(act.l @ feedback.l.T) - target``. That is the exact gradient of the layer's own cross-entropy; no
error comes from above, so a layer is trained before the next one runs. ("LAFS" in Flam-Shepherd's paper, whose printed
equation reads the layer's input; the shapes only fit its output, which published code of local errors reads too.)
"""

from __future__ import annotations

from fasim.rules.rule import Rule
from fasim.schedule import Builder, Value


def signal(step: Builder, layer: int) -> Value:
    """Bring the layer's own error back through the matrix that it guessed with."""
    error = step.local_error(layer)
    return step.project(error, step.feedback(layer), layer, direct=True, scale=step.local_scale)


RULE = Rule("lafs", "layerwise auxiliary errors", "Mostafa et al. 2018", signal, place=9)
