"""Casts of integers to another format, and what a step must know before: shifts made of exponents that it chose itself.

A shift is an array of one number on the device, because some datapaths choose it from the data. Counters grow by atomic
additions of integers, whose order changes nothing: each thread adds what it counted once.
"""

from __future__ import annotations

from numba import int64, uint64

from fasim.scalar.constants import ROOT_OF_TWO
from fasim_cuda.scalars import cast, column, quotient, word_of
from fasim_cuda.target import cuda, jit


@jit
def requantize(raw, shift, lo, hi, rounding, overflow_mode, seed, site, step, bits, half, out, counters):
    """Cast ``raw`` to a format: ``out = overflow(round(raw / 2^shift))``, element by element.

    Exact for every int64, also where a left shift leaves 64 bits. ``out`` may be ``raw``.

    Parameters
    ----------
    raw : integer[P]
    shift : int64[1]            fraction bits of `raw` minus those of `out`; negative shifts left
    lo, hi : int64              range of the target format, see `fasim.fixedpoint.cast.limits`
    rounding, overflow_mode : int64
        Codes of :mod:`fasim.scalar.rounding`.
    seed, site : int64          element p draws word p of the site's stream, see :mod:`fasim.scalar.philox`
    step : int64[1]             step of the training
    bits, half : int64, bool    of the random word, see `fasim.scalar.rounding.random_round`
    out : integer[P]            written
    counters : int64[2]         grows by saturations and wraps
    """
    outside = int64(0)
    count = shift[0]
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        word = word_of(rounding, count, seed, site, step[0], p)
        value, beyond = cast(int64(raw[p]), count, lo, hi, rounding, overflow_mode, word, bits, half)
        out[p] = value
        outside = int64(outside + beyond)
    if outside > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), outside)


@jit
def divide_fixed(raw, divisor, shift, lo, hi, rounding, overflow_mode, out, counters):
    """Cast by a division: ``out = overflow(round(raw * 2^-shift / divisor))``, one rounding.

    Parameters
    ----------
    raw : integer[P]            ``raw * 2^-shift`` must fit 64 bits, which the caller has proven
    divisor : int64             1 or more
    shift : int64               0 or less
    lo, hi, rounding, overflow_mode, out, counters
        As for `requantize`; the rounding must be one that can divide.
    """
    outside = int64(0)
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        value, beyond = quotient(int64(raw[p]), divisor, shift, lo, hi, rounding, overflow_mode)
        out[p] = value
        outside = int64(outside + beyond)
    if outside > int64(0):
        cuda.atomic.add(counters, column(overflow_mode), outside)


@jit
def add_exponent(before, sign, exponent, out):
    """Add an exponent to a shift: ``out[0] = before[0] + sign * exponent[0]``, int64[1] each but `sign`; one thread."""
    if cuda.grid(1) == 0:
        out[0] = int64(before[0] + int64(int64(sign) * exponent[0]))


@jit
def largest_magnitude(source, out):
    """Find the largest magnitude of a tensor: ``out[0] = max(out[0], max_p |source[p]|)``.

    Parameters
    ----------
    source : integer[P]
    out : uint64[1]     grows; set to 0 before
    """
    largest = uint64(0)
    for p in range(cuda.grid(1), source.size, cuda.gridsize(1)):
        value = int64(source[p])
        # of -2^63, which has no negative in 64 bits, the sum reads as 2^63
        magnitude = uint64(~value) + uint64(1) if value < int64(0) else uint64(value)
        largest = max(largest, uint64(magnitude))
    cuda.atomic.max(out, 0, largest)


@jit
def choose_exponent(largest, bits, nearest, out):
    """Choose how many bits a cast to a power-of-two scale drops, from the largest magnitude m; one thread.

    ``out[0] = max(0, bit_length(m) - bits)``, or where it goes to the nearest power (`nearest`)
    ``bit_length(m^2) div 2 - bits``, which may be negative; 0 if all are zeros.

    Parameters
    ----------
    largest : uint64[1]     of `largest_magnitude`; set to 0 for the next step
    bits : int64            bits of magnitude that are kept
    nearest : bool
    out : int64[1]          written
    """
    if cuda.grid(1) == 0:
        magnitude = uint64(largest[0])
        length = int64(0)
        left = magnitude
        while left > uint64(0):
            left = uint64(left >> uint64(1))
            length = int64(length + int64(1))
        if length == int64(0):
            out[0] = 0
        elif nearest:
            # the square, which may need 128 bits, has 2 L bits or, below 2^(L - 1/2), one less
            below = magnitude <= uint64(ROOT_OF_TWO >> uint64(64 - length))
            out[0] = int64(length - int64(below) - int64(bits))
        else:
            out[0] = max(int64(0), int64(length - int64(bits)))
        largest[0] = uint64(0)
