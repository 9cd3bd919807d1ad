"""Numbers that are known in the step alone: shifts made of exponents, and the exponents themselves."""

from __future__ import annotations

import numpy as np
from numba import njit

from fasim.kernels.compile import kernel
from fasim.scalar.constants import ROOT_OF_TWO


@njit(inline="always", cache=True)
def _bit_length(magnitude):
    """Return how many bits a uint64 has."""
    length = np.int64(0)
    while magnitude:
        magnitude >>= np.uint64(1)
        length += 1
    return length


@kernel
def add_exponent(before, sign, exponent, out):
    """Add an exponent to a shift: ``out[0] = before + sign * exponent[0]``.

    Parameters
    ----------
    before, sign : int64
    exponent : int64[1]
    out : int64[1]      written
    """
    out[0] = before + sign * exponent[0]


@kernel
def choose_exponent(source, bits, nearest, out):
    """Choose how many bits a cast to a power-of-two scale drops, from the largest magnitude m of a tensor.

    ``out[0] = max(0, bit_length(m) - bits)``, or where it goes to the nearest power (`nearest`)
    ``bit_length(m^2) div 2 - bits``, which may be negative; 0 if all are zeros.

    Parameters
    ----------
    source : integer[M]     not empty
    bits : int64            bits of magnitude that are kept
    nearest : bool
    out : int64[1]          written
    """
    largest = np.uint64(0)
    for m in range(source.shape[0]):
        # of -2^63, which has no negative in 64 bits, the absolute value reads as 2^63 here
        largest = max(largest, np.uint64(abs(np.int64(source[m]))))
    length = _bit_length(largest)
    if length == 0:
        out[0] = 0
    elif nearest:
        # the square, which may need 128 bits, has 2 L bits or, below 2^(L - 1/2), one less
        out[0] = length - np.int64(largest <= ROOT_OF_TWO >> np.uint64(64 - length)) - bits
    else:
        out[0] = max(0, length - bits)


@kernel
def clear(out):
    """Set numbers to 0: ``out = 0``, float64[M]."""
    for m in range(out.shape[0]):
        out[m] = 0.0
