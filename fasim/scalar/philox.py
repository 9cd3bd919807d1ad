"""The random words of stochastic rounding: Philox4x32-10, a counter in, four words out.

A word depends on (seed, site, step, index) only, never on who asked before: the bits are the same
for any thread count, batch split and backend. All arithmetic is on uint64 that hold 32-bit numbers,
so it never wraps and runs unchanged as NumPy scalars.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_MULTIPLY_0 = np.uint64(0xD2511F53)
_MULTIPLY_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_2 = np.uint64(2)
_3 = np.uint64(3)


@njit(inline="always", cache=True)
def philox4x32_10(c0, c1, c2, c3, k0, k1):
    """Return the four words of Philox4x32-10 for one counter and key.

    Parameters
    ----------
    c0, c1, c2, c3 : uint64
        The counter, each below 2^32.
    k0, k1 : uint64
        The key, each below 2^32.

    Returns
    -------
    tuple of four uint64
        Each below 2^32.
    """
    a = np.uint64(c0)
    b = np.uint64(c1)
    c = np.uint64(c2)
    d = np.uint64(c3)
    key_0 = np.uint64(k0)
    key_1 = np.uint64(k1)
    for _ in range(10):
        # The masks change no value; they show LLVM that a 32-bit multiplication is enough.
        left = _MULTIPLY_0 * (a & _MASK)
        right = _MULTIPLY_1 * (c & _MASK)
        a = (right >> _32) ^ b ^ key_0
        b = right & _MASK
        c = (left >> _32) ^ d ^ key_1
        d = left & _MASK
        key_0 = (key_0 + _WEYL_0) & _MASK
        key_1 = (key_1 + _WEYL_1) & _MASK
    return a, b, c, d


@njit(inline="always", cache=True)
def random_block(seed, site, step, block):
    """Return the words of elements ``4 * block`` to ``4 * block + 3`` of a tensor.

    Counter ``(block mod 2^32, block >> 32, step mod 2^32, site)``, key ``(seed mod 2^32,
    seed >> 32)``.

    Parameters
    ----------
    seed : uint64
        Seed of the run, 0 .. 2^64 - 1; from Python ``np.uint64(seed)``, because Numba reads a
        plain int as int64.
    site : uint32
        CRC-32 of the site's name.
    step : int64
        Training step, counted from 0 over the whole training.
    block : int64
        Row-major index of an element in the whole tensor, divided by 4.

    Returns
    -------
    tuple of four uint64
        Each below 2^32.
    """
    key = np.uint64(seed)
    count = np.uint64(block)
    return philox4x32_10(
        count & _MASK,
        count >> _32,
        np.uint64(step) & _MASK,
        np.uint64(site) & _MASK,
        key & _MASK,
        key >> _32,
    )


@njit(inline="always", cache=True)
def random_word(seed, site, step, index):
    """Return the random word of one element: word ``index mod 4`` of its block.

    Parameters
    ----------
    seed, site, step
        As for `random_block`.
    index : int64
        Row-major index of the element in the whole tensor.

    Returns
    -------
    int64
        0 .. 2^32 - 1.
    """
    place = np.uint64(index)
    w0, w1, w2, w3 = random_block(seed, site, step, place >> _2)
    lane = place & _3
    word = w0
    if lane == 1:
        word = w1
    elif lane == 2:
        word = w2
    elif lane == 3:
        word = w3
    return np.int64(word)
