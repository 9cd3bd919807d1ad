"""Angles of feedback itself: against the weights that it stands for, and of what it reads out against the logits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fasim import feedback, rules
from fasim.backends import Samples
from fasim.diagnostics.geometry import norm, vector_angle
from fasim.diagnostics.numbers import plain
from fasim.diagnostics.probe import DELTA, FEEDBACK, Probe, Reading, check_state, has_feedback, probe_settings
from fasim.diagnostics.signals import Angle
from fasim.feedback.sparse import write_out
from fasim.network import Conv2d, Network
from fasim.rules import Rule
from fasim.schedule import Builder, StepSettings
from fasim.state import State

PARTS = {"dense": ("",), "ell": ("", "index"), "csr": ("", "index", "start"), "low_rank": ("in", "out")}


@dataclass(frozen=True)
class WeightAngle:
    """A feedback matrix against what it stands for.

    Parameters
    ----------
    layer : int
        The hidden layer that the feedback feeds.
    against : str
        ``weight.3``, or a product such as ``weight.3 @ weight.2``.
    angle : float
        In degrees, of both matrices as vectors; NaN if one of them is zero or not finite.
    norm_ratio : float
        Norm of the feedback divided by that of the weights; NaN where the weights are zero.
    """

    layer: int
    against: str
    angle: float
    norm_ratio: float

    def as_dict(self) -> dict[str, str | int | float | None]:
        """Return plain values for JSON; what is not a finite number becomes None."""
        figures = {"angle": plain(self.angle), "norm_ratio": plain(self.norm_ratio)}
        return {"layer": self.layer, "against": self.against, **figures}


def weight_angles(network: Network, rule: str | Rule, settings: StepSettings, state: State) -> tuple[WeightAngle, ...]:
    """Measure the angle between feedback and the weights that it stands for.

    Feedback that transports the delta of the layer above (fa, kp): ``feedback.l`` against ``weight.(l+1)``. Feedback from
    the outputs (dfa, dkp, sdfa, drtp, ...): ``feedback.l``, written out as (K, J), against
    ``weight.L @ ... @ weight.(l+1)``, which is what backpropagation transports where all slopes are 1. With drtp more than
    90 degrees are normal: it sends the target, to which the error has the other sign.

    Parameters
    ----------
    network : Network
    rule : str or Rule
    settings : StepSettings
    state : dict of str to ndarray
        In float32.

    Returns
    -------
    tuple of WeightAngle
        No entry for a layer without feedback, nor where no product has its shape: below a convolution, or where feedback
        enters before pooling.

    Raises
    ------
    ConfigError
        If the state lacks the feedback of the rule.
    """
    step = rules.get(rule).step(network, probe_settings(settings, settings.batch_size))
    check_state(step, state)
    return matrix_angles(step, state)


def matrix_angles(step: Builder, state: State) -> tuple[WeightAngle, ...]:
    """Return the weight angles of a step in a state that has all that it reads."""
    products = _products(step.network, state)
    found = []
    for layer in range(1, step.last):
        if not has_feedback(step, layer):
            continue
        layered, first, last = is_layered(step, layer), f"weight.{layer + 1}", f"weight.{step.last}"
        weights = state[first] if layered else products.get(layer)
        matrix = written_out(step, state, layer)
        if weights is None or matrix.size != weights.size:
            continue
        size = norm(weights)
        ratio = norm(matrix) / size if size else math.nan
        chain = dict.fromkeys((last, "..." if step.last - layer > 2 else first, first))
        against = first if layered else " @ ".join(chain)
        found.append(WeightAngle(layer, against, vector_angle(matrix, weights), ratio))
    return tuple(found)


def readout_angles(
    network: Network, rule: str | Rule, settings: StepSettings, state: State, samples: Samples
) -> tuple[Angle, ...]:
    """Measure the angle between what feedback reads out of a hidden layer and the logits, sample by sample.

    ``act.l @ feedback.l.T`` (the activation where direct feedback arrives) against ``preact.L``, as in figure 2 of the
    direct Kolen-Pollack manuscript: where the angle is small, the feedback is a good read-out of the layer, and the other
    way round a good way back into it.

    Parameters
    ----------
    network : Network
    rule : str or Rule
    settings : StepSettings
    state : dict of str to ndarray
        In float32; not a bit of it changes.
    samples : Samples
        The batch, of any size N.

    Returns
    -------
    tuple of Angle
        Of the layers whose feedback has K rows.

    Raises
    ------
    ConfigError
        If the state or the samples do not fit the network and the rule.
    """
    probe = Probe(network, rule, settings, len(samples.codes))
    return read_out(probe, probe.read(state, samples))


def read_out(probe: Probe, reading: Reading) -> tuple[Angle, ...]:
    """Return the readout angles of what a probe has read."""
    logits = reading.rule[probe.logits]
    found = []
    for layer, hook in probe.hooks.items():
        if is_layered(probe.step, layer):
            continue
        act, matrix = reading.rule[hook].reshape(len(logits), -1), written_out(probe.step, reading.state, layer)
        if matrix.shape[1] == act.shape[1]:
            with np.errstate(all="ignore"):  # of a run that has diverged
                found.append(Angle.of("readout", layer, act @ matrix.T, logits))
    return tuple(found)


def is_layered(step: Builder, layer: int) -> bool:
    """Tell whether feedback into a layer transports the delta of a hidden layer above; at the top that is the output's."""
    names, above = {f"{name}.{layer}" for name in FEEDBACK}, f"{DELTA}.{layer + 1}"
    reading = [op for op in step.ops if any(value.tensor in names for value in op.reads[1:])]
    return layer + 1 < step.last and any(op.reads[0].tensor == above for op in reading)


def written_out(step: Builder, state: State, layer: int) -> np.ndarray:
    """Return the whole feedback matrix of a layer, (K, J), however it is stored."""
    tensor = next(step.tensors[f"{name}.{layer}"] for name in FEEDBACK if f"{name}.{layer}" in step.tensors)
    assert tensor.draw is not None
    shape = tensor.draw.shape
    storage = feedback.parse(tensor.draw.family).storage(shape)
    names = {part: f"feedback_{part}.{layer}" if part else f"feedback.{layer}" for part in PARTS[storage]}
    arrays = {part: state[name] for part, name in names.items()}
    return write_out(arrays, storage, shape[0], math.prod(shape[1:]))


def _products(network: Network, state: State) -> dict[int, np.ndarray]:
    """Return ``weight.L @ ... @ weight.(l+1)``, float64[K, J], for each hidden layer l above which all is dense."""
    found: dict[int, np.ndarray] = {}
    product = np.eye(network.outputs)
    for layer in range(len(network.segments) - 1, 0, -1):
        if isinstance(network.segments[layer].layer, Conv2d):
            break
        with np.errstate(all="ignore"):  # of a run that has diverged
            product = product @ state[f"weight.{layer + 1}"].astype(np.float64)
        found[layer] = product
    return found
