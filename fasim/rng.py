"""Random streams by name, so that no draw depends on another.

A run's seed gives independent streams for ``init``, ``feedback``, ``shuffle`` and ``validation``: drawing a larger feedback
matrix never moves the initial weights, and a rule that needs no feedback sees the same shuffles as one that does.
Stochastic rounding has its own counter-based generator (:mod:`fasim.scalar.philox`); the test set belongs to the data set
and knows no seed.
"""

from __future__ import annotations

import zlib

import numpy as np

from fasim.errors import ConfigError

MAX_SEED = 2**63 - 1


def check_seed(seed: int) -> int:
    """Return `seed`, or refuse one outside of 0..2^63-1.

    Raises
    ------
    ConfigError
        If the seed is negative or too large for the 64-bit key of the generators.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed {seed}: a whole number from 0 to {MAX_SEED} is needed")
    return seed


def stream(seed: int, name: str, index: int = 0) -> np.random.Generator:
    """Return the generator of stream `name`, number `index`, of a run.

    Parameters
    ----------
    seed : int
        The run's seed, 0 <= seed < 2^63.
    name : str
        ``"init"``, ``"feedback"``, ``"shuffle"`` or ``"validation"``; the CRC-32 of the name enters the key.
    index : int
        Layer or epoch, so that each starts afresh: a resumed run needs no generator state.
    """
    key = np.random.SeedSequence([check_seed(seed), zlib.crc32(name.encode()), index])
    return np.random.Generator(np.random.Philox(key))
