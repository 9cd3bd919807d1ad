"""Sizes of a rule's weight gradients beside those of backpropagation, and the angle of both as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fasim.backends import Samples
from fasim.diagnostics.geometry import norm
from fasim.diagnostics.numbers import plain
from fasim.diagnostics.probe import GRADIENT, Probe, Reading
from fasim.network import Network
from fasim.rules import Rule
from fasim.schedule import StepSettings
from fasim.state import State


@dataclass(frozen=True)
class LayerNorms:
    """Euclidean norms of the weight gradient of one layer; that of a rule which does not train it is 0."""

    layer: int
    rule: float
    bp: float


@dataclass(frozen=True)
class GradientNorms:
    """Norms layer by layer, and the cosine between both gradients of all weights, each as one vector.

    The cosine is NaN if one of them is zero or not finite.
    """

    layers: tuple[LayerNorms, ...]
    cosine: float

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON; what is not a finite number becomes None."""
        layers = [{"layer": one.layer, "rule": plain(one.rule), "bp": plain(one.bp)} for one in self.layers]
        return {"cosine": plain(self.cosine), "layers": layers}


def gradient_norms(
    network: Network, rule: str | Rule, settings: StepSettings, state: State, samples: Samples
) -> GradientNorms:
    """Measure the gradients of the weights (without biases and normalisation) on one batch.

    Parameters
    ----------
    network : Network
    rule : str or Rule
    settings : StepSettings
        Of the training; reduction and error scale count. Clipping, freezing and weight decay are off.
    state : dict of str to ndarray
        In float32; not a bit of it changes.
    samples : Samples
        The batch, of any size N.

    Returns
    -------
    GradientNorms

    Raises
    ------
    ConfigError
        If the state or the samples do not fit the network and the rule.
    """
    probe = Probe(network, rule, settings, len(samples.codes))
    return norms_of(probe, probe.read(state, samples))


def norms_of(probe: Probe, reading: Reading) -> GradientNorms:
    """Return the gradient norms of what a probe has read."""
    layers, product = [], 0.0
    for layer in range(1, probe.step.last + 1):
        name = f"{GRADIENT}.{layer}"
        exact = reading.bp[name].reshape(-1).astype(np.float64)
        own = reading.rule.get(name, np.zeros(1)).reshape(-1).astype(np.float64)
        layers.append(LayerNorms(layer, norm(own), norm(exact)))
        if name in reading.rule:
            with np.errstate(all="ignore"):  # of a run that has diverged
                product += float(own @ exact)
    size = math.sqrt(sum(one.rule**2 for one in layers)) * math.sqrt(sum(one.bp**2 for one in layers))
    cosine = min(1.0, max(-1.0, product / size)) if size > 0 and math.isfinite(size + product) else math.nan
    return GradientNorms(tuple(layers), cosine)
