"""The random words of a slice of a tensor, for kernels that do not draw themselves."""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.scalar.lfsr import apply_columns, lfsr_jump, lfsr_power
from fasim.scalar.philox import random_block


@kernel
def philox_words(seed, site, step, first, out):
    """Draw the words of elements ``first``, ``first + 1``, ... of a site from Philox4x32-10.

    Parameters
    ----------
    seed : uint64
    site : int64       CRC-32 of the site's name
    step : int64[1]    step of the training
    first : int64      row-major index of the slice in the whole tensor
    out : uint32[n]    written: ``fasim.scalar.philox.random_word(seed, site, step, first + i)``
    """
    for block in range(first >> 2, (first + out.size + 3) >> 2):
        w0, w1, w2, w3 = random_block(seed, site, step[0], block)
        place = 4 * block - first
        if place >= 0 and place + 4 <= out.size:
            out[place] = w0
            out[place + 1] = w1
            out[place + 2] = w2
            out[place + 3] = w3
        else:
            words = (w0, w1, w2, w3)
            for lane in range(4):
                if 0 <= place + lane < out.size:
                    out[place + lane] = words[lane]


@kernel
def lfsr_words(width, taps, start, shifts, elements, step, first, out):
    """Draw the words of elements ``first``, ``first + 1``, ... of a site from its shift register.

    Draw t is the state after ``(t + 1) * shifts`` shifts from ``start``; element i of step n is draw ``n * elements + i``.
    A slice jumps to its first draw, so that all slices together draw what the whole would.

    Parameters
    ----------
    width : int64      bits of the register, 2 to 32
    taps : int64       mask of its tapped bits, see `fasim.scalar.lfsr.tap_mask`
    start : int64      state before the first shift, see `fasim.scalar.lfsr.lfsr_start`
    shifts : int64     shifts a draw, 1 or more
    elements : int64   elements of the whole tensor
    step : int64[1]    step of the training
    first : int64      row-major index of the slice in the whole tensor
    out : uint32[n]    written
    """
    draw = lfsr_power(width, np.uint64(taps), shifts)
    state = lfsr_jump(draw, step[0] * elements + first, np.uint64(start))
    for i in range(out.size):
        state = apply_columns(draw, state)
        out[i] = state
