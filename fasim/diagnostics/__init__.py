"""Diagnostics of learning: how far what a rule does is from backpropagation, in degrees.

A probe is a schedule like any other: the rule's step on one fixed batch, without updates, beside backpropagation's on the
same weights, dropout masks and batch statistics. It changes no bit of a run.

====================== ===============================================================================================
:func:`angles`         the rule's deltas against backpropagation's: ``global`` (through the whole network) and ``local``
                       (what backpropagation makes of the rule's own delta one layer above)
:func:`weight_angles`  feedback against the weights, or the product of weights, that it stands for
:func:`readout_angles` what feedback reads out of a hidden layer against the logits
:func:`gradient_norms` gradients of the weights, layer by layer and as a whole
:func:`drtp_alignment` the theorem of direct random target projection, on one sample of a linear network
:class:`Diagnostics`   all of it after every epoch of a run
====================== ===============================================================================================
"""

from __future__ import annotations

from fasim.diagnostics.collection import Diagnostics, collect
from fasim.diagnostics.gradients import GradientNorms, LayerNorms, gradient_norms
from fasim.diagnostics.matrices import WeightAngle, readout_angles, weight_angles
from fasim.diagnostics.numbers import float_state
from fasim.diagnostics.probe import PROBE_SAMPLES, Probe, Reading, probe_samples
from fasim.diagnostics.signals import Angle, Angles, angles
from fasim.diagnostics.theorem import drtp_alignment

__all__ = [
    "PROBE_SAMPLES",
    "Angle",
    "Angles",
    "Diagnostics",
    "GradientNorms",
    "LayerNorms",
    "Probe",
    "Reading",
    "WeightAngle",
    "angles",
    "collect",
    "drtp_alignment",
    "float_state",
    "gradient_norms",
    "probe_samples",
    "readout_angles",
    "weight_angles",
]
