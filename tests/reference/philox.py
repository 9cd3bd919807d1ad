"""Philox4x32-10 in plain Python integers (Salmon et al., "Parallel Random Numbers", SC 2011)."""

from __future__ import annotations

import zlib

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, ...]:
    """Return the four 32-bit words of one block, ten rounds.

    Parameters
    ----------
    counter : tuple of four int
        32-bit counter words, the lowest first.
    key : tuple of two int
        32-bit key words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0 = MULTIPLIERS[0] * c0
        product1 = MULTIPLIERS[1] * c2
        high0, low0 = product0 >> 32, product0 & MASK
        high1, low1 = product1 >> 32, product1 & MASK
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 = (k0 + WEYL[0]) & MASK
        k1 = (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def random_word(seed: int, site_name: str, step: int, index: int) -> int:
    """Return the 32-bit word that rounds element `index` of a site in step `step`.

    Parameters
    ----------
    seed : int
        64-bit seed of the run; its halves are the key.
    site_name : str
        Name of the cast, for example ``"delta.1"``; its CRC-32 is the last counter word.
    step : int
        Training step, counted from 0.
    index : int
        Row-major position in the whole tensor.
    """
    counter = (
        (index >> 2) & MASK,
        (index >> 34) & MASK,
        step & MASK,
        zlib.crc32(site_name.encode()),
    )
    return philox4x32(counter, (seed & MASK, (seed >> 32) & MASK))[index & 3]
