"""The bases: which numbers a feedback matrix holds before a modifier wires, codes or generates it.

Every base is a pattern of ones (none, all, the diagonal, a random few) plus noise (none, uniform or Gaussian) of one
scale. Values are drawn row by row of the whole (K, J) matrix in float64; a random pattern is drawn after the noise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

# Gaussian draws are clipped here, so that a fixed-point format has a largest magnitude; 1 draw in 16 000 is
CLIP_STD = 4.0
# Noise of B1..B7 is "N(0, 0.01)" in the source, variance or deviation not said: taken as the deviation
NOISE_OF_ONES = 0.01
# How many ones B4 and B6 hold is not said anywhere: inferred
DENSITY_OF_ONES = 0.1

_SHEPHERD = "Flam-Shepherd's comparison of feedback matrices"


class Base(NamedTuple):
    """What a base holds.

    Parameters
    ----------
    number : str
        What the number after the colon is; empty if there is none.
    noise : str
        ``uniform``, ``gaussian`` or ``none``.
    ones : str
        Where 1 is added: ``none``, ``all``, ``diagonal`` or ``sparse``.
    source : str
    """

    number: str
    noise: str
    ones: str
    source: str


BASES = {
    "uniform": Base(
        "bound", "uniform", "none", "original code of DRTP: +-sqrt(6 / J), PyTorch's kaiming_uniform_ of (K, J)"
    ),
    "kaiming": Base(
        "", "uniform", "none", "He et al. 2015 (arXiv:1502.01852) with fan J, as PyTorch reads a (K, J) matrix"
    ),
    "nokland": Base("", "uniform", "none", "original code of Nokland 2016 (dfa-torch): +-1 / sqrt(J)"),
    "gaussian": Base("std", "gaussian", "none", "inferred: deviation 1 / sqrt(J), clipped at 4 deviations"),
    "crafton": Base("", "uniform", "none", "original code of Crafton et al. 2019 (ssdfa): +-1 / sqrt(J / sqrt(K s))"),
    "pocketnn": Base(
        "inputs", "uniform", "none", "original code of PocketNN: whole numbers, +-floor(sqrt(12 * 32767 / (I + J)))"
    ),
    "b1": Base("std", "gaussian", "all", f"paper: B1 of {_SHEPHERD}, ones + noise; inferred: 0.01 is the deviation"),
    "b2": Base("", "none", "diagonal", f"paper: B2 of {_SHEPHERD}, the identity"),
    "b3": Base(
        "std", "gaussian", "diagonal", f"paper: B3 of {_SHEPHERD}, identity + noise; inferred: 0.01 is the deviation"
    ),
    "b4": Base("density", "none", "sparse", f"paper: B4 of {_SHEPHERD}, a few ones; inferred: one entry in ten"),
    "b5": Base("bound", "uniform", "all", f"paper: B5 of {_SHEPHERD}, ones + uniform noise in +-0.01"),
    "b6": Base(
        *("std", "gaussian", "sparse"),
        f"paper: B6 of {_SHEPHERD}, a few ones + noise; inferred: one entry in ten, 0.01 is the deviation",
    ),
    "b7": Base("std", "gaussian", "none", f"paper: B7 of {_SHEPHERD}, noise alone; inferred: 0.01 is the deviation"),
}


def scale_of(name: str, number: float | None, outputs: int, units: int, per_unit: int | None = None) -> float:
    """Return the scale of a base's noise: the bound of uniform, the standard deviation of Gaussian noise, 0 without any.

    Parameters
    ----------
    name : str
        One of :data:`BASES`.
    number : float or None
        As given after the colon.
    outputs, units : int
        K and J of the matrix.
    per_unit : int, optional
        Non-zeros of a hidden unit where ``+k`` says so; only ``crafton`` depends on it.
    """
    if BASES[name].noise == "none":
        return 0.0
    if name == "pocketnn":
        # I of the receiving layer, which the schedule fills in
        return float(math.isqrt(12 * 32767 // (int(number or units) + units)))
    if number is not None:
        return number
    if name in ("uniform", "kaiming"):
        return math.sqrt(6 / units)
    if name == "crafton" and per_unit is not None:
        return 1 / math.sqrt(units / math.sqrt(outputs * per_unit))
    return 1 / math.sqrt(units) if name in ("nokland", "gaussian", "crafton") else NOISE_OF_ONES


def limit_of(name: str, scale: float) -> float:
    """Return the largest magnitude that a base draws with this scale."""
    noise = {"uniform": scale, "gaussian": CLIP_STD * scale, "none": 0.0}[BASES[name].noise]
    return noise if BASES[name].ones == "none" else 1.0 + noise


def rms_of(name: str, scale: float) -> float:
    """Return the root mean square of a base without ones (the clipping of Gaussian draws, 6e-5 of it, is left out)."""
    return scale if BASES[name].noise == "gaussian" else scale / math.sqrt(3)


def count_ones(name: str, number: float | None, outputs: int, units: int) -> int:
    """Return how many ones ``b4`` and ``b6`` hold: exactly ``round(density K J)``."""
    density = number if BASES[name].number == "density" and number is not None else DENSITY_OF_ONES
    return round(density * outputs * units)


def draw_base(
    random: np.random.Generator, name: str, number: float | None, scale: float, outputs: int, units: int
) -> np.ndarray:
    """Return the whole matrix of a base.

    ``B = ones + noise``

    Parameters
    ----------
    random : numpy.random.Generator
    name, number
        The base; `number` is the density of ``b4``.
    scale : float
        From :func:`scale_of`.
    outputs, units : int
        K and J.

    Returns
    -------
    float64[K, J]
    """
    shape = (outputs, units)
    base = BASES[name]
    if base.noise == "uniform":
        matrix = random.uniform(-scale, scale, shape)
    elif base.noise == "gaussian":
        matrix = np.clip(random.normal(0.0, scale, shape), -CLIP_STD * scale, CLIP_STD * scale)
    else:
        matrix = np.zeros(shape)
    if base.ones == "all":
        matrix += 1.0
    elif base.ones == "diagonal":
        matrix += np.eye(outputs, units)
    elif base.ones == "sparse":
        flat = random.choice(outputs * units, count_ones(name, number, outputs, units), replace=False, shuffle=False)
        matrix.reshape(-1)[flat] += 1.0
    return matrix
