"""From a state as a datapath stores it to the float32 numbers that it stands for, and from figures to plain JSON values."""

from __future__ import annotations

import math

import numpy as np

from fasim.schedule import Schedule
from fasim.state import State

PLACES = ("index", "start")
READ_BY_PROBES = ("weight", "bias", "norm", "feedback")


def float_state(state: State, schedule: Schedule) -> State:
    """Return the values of weights, biases, normalisation and feedback in float32.

    Parameters
    ----------
    state : dict of str to ndarray
    schedule : Schedule
        The training step of the run, which says the formats: value = raw * 2^-frac.

    Returns
    -------
    dict of str to ndarray
        Arrays that are float32 already, and places of non-zeros, are those of `state` themselves.
    """
    found = dict(state)
    for tensor in schedule.of_class(*READ_BY_PROBES):
        if tensor.name not in state or tensor.format is None or (tensor.draw and tensor.draw.part in PLACES):
            continue
        found[tensor.name] = np.ldexp(state[tensor.name].astype(np.float32), -tensor.format.frac)
    return found


def plain(number: float) -> float | None:
    """Return a number for JSON; what is not finite becomes None."""
    return float(number) if math.isfinite(number) else None
