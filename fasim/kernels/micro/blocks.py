"""How K is divided: in float32 part of the order of additions, so one statement for every path."""

from __future__ import annotations

from numba import njit

# lanes of a float32 sum, on every CPU
LANES = 16
# Bytes of a row that are taken at once: 8 rows of B and 4 of A just fill a first-level cache of 48 KB. Half of it, with
# 16 rows of B, took 6 % longer for 64 x 784 x 500
BLOCK_BYTES = 4096


@njit(inline="always", cache=True)
def block_length(terms, most, step):
    """Return the terms of a block: equal blocks of at most `most`, in whole steps (which `most` is a multiple of)."""
    blocks = max((terms + most - 1) // most, 1)
    each = (terms + blocks - 1) // blocks
    return max((each + step - 1) // step, 1) * step
