"""Phases of the way back through a convolution with a stride.

Of the map that was read, the rows h with (h + padding) mod stride = phase meet the taps r = phase, phase + stride, ...
alone, and columns likewise: each pair of phases is a correlation of its own.
"""

from __future__ import annotations

from numba import njit


@njit(inline="always", cache=True)
def taps(side, stride, phase):
    """Return how many of `side` taps a phase meets."""
    return max(side - phase + stride - 1, 0) // stride


@njit(inline="always", cache=True)
def first_of(phase, padding, stride):
    """Return the least i for which ``phase + i stride - padding``, a row or column of the map, is not below 0."""
    return (max(padding - phase, 0) + stride - 1) // stride
