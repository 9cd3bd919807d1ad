"""The product of a single row with a matrix, which is read once from beginning to end, a few of its rows side by side.

Panels that go all the way down a matrix take a part of each of its rows, a page apart, and keep their sums in registers.
For one row of A that is the slower way: 4.3 against 2.0 us for 240 x 240, 0.28 against 0.07 for 10 x 240, 151 against 136
for 1000 x 1000, which is what reading it takes.
"""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.kernels.micro.broadcast import STORED, broadcast_tile
from fasim.kernels.micro.kinds import FLOAT32

# Rows of B at once, and vectors of them: sums are stored and loaded again after so many terms, in the first-level cache
_TERMS, _VECTORS = 8, 4
_LANES = FLOAT32.sums.count
_WIDTH = _VECTORS * _LANES

_whole = broadcast_tile(FLOAT32, 1, _VECTORS, STORED, whole=True)
_part = broadcast_tile(FLOAT32, 1, 1, STORED)


@kernel
def one_row_float32(a, a_k, b, b_k, out, columns, terms):
    """``out[c] = sum_k a(k) b[k, c]`` of float32 at addresses, steps in bytes, int64; k ascending, one rounding a term."""
    whole = columns - columns % _WIDTH
    for k in range(0, max(terms, 1), _TERMS):
        here, fresh = min(_TERMS, terms - k), np.int64(k == 0)
        left, right = a + k * a_k, b + k * b_k
        for c in range(0, whole, _WIDTH):
            _whole(left, 0, a_k, right + 4 * c, b_k, here, 1, 0, (out + 4 * c, 0, fresh))
        for c in range(whole, columns, _LANES):
            _part(left, 0, a_k, right + 4 * c, b_k, here, 1, columns - c, (out + 4 * c, 0, fresh))
