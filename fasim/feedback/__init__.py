"""Families of fixed feedback matrices.

``uniform`` draws from +-sqrt(6 / J), J the units of the receiving layer (PyTorch's ``kaiming_uniform_`` of a (K, J)
matrix, as the DRTP authors do; the fan is the hidden size, not the number of outputs). ``uniform:a`` draws from +-a.
"""

from __future__ import annotations

import math

import numpy as np

from fasim.errors import ConfigError
from fasim.rng import stream

FAMILIES = ("uniform", "uniform:<a>")


def bound(family: str, shape: tuple[int, ...]) -> float:
    """Return the largest magnitude of a feedback matrix (K, J), or (K, R, S, C) for a convolution.

    Raises
    ------
    ConfigError
        If the family is unknown or its bound is not a positive number.
    """
    name, colon, value = family.partition(":")
    if name != "uniform":
        raise ConfigError(f"unknown feedback {family!r}: there are {', '.join(FAMILIES)}, such as uniform:0.5")
    if not colon:
        return math.sqrt(6 / math.prod(shape[1:]))
    try:
        given = float(value)
    except ValueError:
        given = math.nan
    if not 0 < given < math.inf:
        raise ConfigError(f"feedback {family!r}: the bound must be a positive number, such as uniform:0.5")
    return given


def draw(layer: int, shape: tuple[int, ...], limit: float, seed: int) -> np.ndarray:
    """Return the feedback matrix into `layer` in float64, uniform in +-`limit`.

    The stream is keyed by the receiving layer alone: with one hidden layer FA and DFA draw the same matrix.
    """
    return stream(seed, "feedback", layer).uniform(-limit, limit, shape)
