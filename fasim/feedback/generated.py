"""Feedback from a linear feedback shift register (LFSR): a chip makes it anew wherever it reads it.

The register has 32 bits and the characteristic polynomial ``x^32 + x^22 + x^2 + x + 1``, which is primitive: every non-zero
state comes once in 2^32 - 1 shifts. Fibonacci form, shifted right: a shift puts out bit 0 and takes in
``bit 22 ^ bit 2 ^ bit 1 ^ bit 0`` as bit 31, so that the bits put out obey ``s[t+32] = s[t+22] ^ s[t+2] ^ s[t+1] ^ s[t]``
and the first 32 of them are the state, lowest bit first.

An element takes `bits` shifts of its own. With one shift per element neighbours would share all bits but one, which
correlates them by 0.5.
"""

from __future__ import annotations

import numpy as np

from fasim.rng import stream

LFSR_BITS = 32
# Besides x^32; bits of the state that are added to make the next one
LFSR_TAPS = (22, 2, 1, 0)


def lfsr_state(seed: int, layer: int) -> int:
    """Return the state from which the matrix into `layer` is made.

    The first integer of ``stream(seed, "feedback", layer)`` in 1 .. 2^32 - 1, never 0: that state would put out zeros for
    ever.
    """
    return int(stream(seed, "feedback", layer).integers(1, 2**LFSR_BITS))


def lfsr_stream(state: int, count: int) -> np.ndarray:
    """Return the first bits that the register puts out.

    Over GF(2) the polynomial at x^m, m a power of two, is its m-th power; so the same recurrence holds with all distances
    times m, and a few long steps of NumPy take the place of one step a bit.

    Parameters
    ----------
    state : int
        1 .. 2^32 - 1.
    count : int

    Returns
    -------
    uint8[count]
        Each 0 or 1.
    """
    out = np.empty(max(count, LFSR_BITS), np.uint8)
    out[:LFSR_BITS] = (state >> np.arange(LFSR_BITS)) & 1
    known = LFSR_BITS
    while known < count:
        stride = 1 << ((known // LFSR_BITS).bit_length() - 1)
        new = min((LFSR_BITS - max(LFSR_TAPS)) * stride, count - known)
        first = known - LFSR_BITS * stride
        terms = [out[first + tap * stride : first + tap * stride + new] for tap in LFSR_TAPS]
        out[known : known + new] = np.bitwise_xor.reduce(terms)
        known += new
    return out[:count]


def lfsr_integers(state: int, bits: int, count: int) -> np.ndarray:
    """Return signed integers of `bits` bits, two's complement, the bit put out first being the highest; int64[count]."""
    out = lfsr_stream(state, bits * count).reshape(count, bits)
    total = -out[:, 0].astype(np.int64)
    for place in range(1, bits):
        total = 2 * total + out[:, place]
    return total


def generate(state: int, bits: int, limit: float, outputs: int, units: int) -> np.ndarray:
    """Return a generated matrix.

    ``B[k, j] = limit * (2 * i + 1) / 2^bits`` with i the integer number ``k * J + j``: symmetric, and never 0.

    Parameters
    ----------
    state : int
        From :func:`lfsr_state`.
    bits : int
        1 .. 32 of each integer.
    limit : float
        Bound of the uniform base.
    outputs, units : int
        K and J.

    Returns
    -------
    float64[K, J]
    """
    whole = lfsr_integers(state, bits, outputs * units)
    return limit * np.ldexp((2 * whole + 1).astype(np.float64), -bits).reshape(outputs, units)
