"""The alignment theorem of direct random target projection (Frenkel, Lefebvre and Bol 2021)."""

from __future__ import annotations

import numpy as np

from fasim.backends import Samples
from fasim.diagnostics.signals import angles
from fasim.errors import ConfigError
from fasim.network import Network
from fasim.schedule import StepSettings
from fasim.state import State


def drtp_alignment(network: Network, settings: StepSettings, state: State, sample: Samples) -> np.ndarray:
    """Return the cosine between what drtp and backpropagation send to each hidden layer, for one sample.

    ``cos(target @ feedback.l, (output - target) @ weight.L @ ... @ weight.(l+1))``. The theorem: with linear hidden layers
    that start at zero, trained by drtp on this one sample, every cosine is positive after every step from which on it is
    defined (less than 90 degrees) - both with the sign of a gradient, as fasim has it.

    Parameters
    ----------
    network : Network
        Dense, with linear hidden layers.
    settings : StepSettings
    state : dict of str to ndarray
        Of drtp, in float32; not a bit of it changes.
    sample : Samples
        Exactly one.

    Returns
    -------
    float64[L - 1]
        By hidden layer from 1; NaN where a signal is zero, as before the first steps.

    Raises
    ------
    ConfigError
        If the hidden layers are not linear or not dense, or there is more than one sample.
    """
    dense = all(len(segment.map_shape) == 1 for segment in network.segments)
    if network.hidden != "linear" or not dense or network.batch_norm:
        raise ConfigError(
            f"network {network} with hidden {network.hidden}: the theorem is about dense, linear hidden layers without "
            "batch normalisation"
        )
    if len(sample.codes) != 1:
        raise ConfigError(f"the theorem is about one sample, but {len(sample.codes)} are given; give one")
    found = angles(network, "drtp", settings, state, sample, where="act")
    hidden = range(1, len(network.segments))
    return np.cos(np.radians([found.find("global", layer).mean for layer in hidden]))
