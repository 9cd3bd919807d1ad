"""Dropout in float32 with a mask that is a function of (seed, site, step, element) alone."""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.scalar.philox import random_block


@kernel
def dropout(act, threshold, scale, seed, site, step, first, mask, out):
    """Silence units at random (Srivastava et al. 2014).

    ``mask[n, j] = 1 where word(first + n J + j) >= threshold, else 0``, ``out = scale * mask * act``

    The words are those of stochastic rounding, see `fasim.scalar.philox.random_block`: a slice of the batch that states its
    `first` draws what the whole would. The way back is ``hidden_delta`` with `mask` for the slope.

    Parameters
    ----------
    act : float32[N, J]
    threshold : int64       probability of silence times 2^32
    scale : float32         1 / (1 - probability) keeps the mean
    seed : uint64
    site : int64            CRC-32 of the site's name
    step : int64[1]         step of the training
    first : int64           index of act[0, 0] in the whole batch
    mask : float32[N, J]    written
    out : float32[N, J]     written; may be `act`
    """
    values, kept, result = act.reshape(act.size), mask.reshape(mask.size), out.reshape(out.size)
    # Numba compares uint64 with int64 as floats
    least = np.uint64(threshold)
    last = first + act.size
    for block in range(first >> 2, (last + 3) >> 2):
        words = random_block(seed, site, step[0], block)
        for lane in range(4):
            i = 4 * block + lane - first
            if 0 <= i < act.size:
                kept[i] = np.float32(words[lane] >= least)
                result[i] = scale * kept[i] * values[i]


@kernel
def dropout_fixed(act, words, threshold, mask, out):
    """Silence units at random, in integers: ``mask = words >= threshold``, ``out = mask * act``.

    The scale is a power of two, which the binary point of `out` carries.

    Parameters
    ----------
    act : integer[N, J]
    words : uint32[N J]     from `philox_words` or `lfsr_words`
    threshold : int64       probability of silence times 2^32
    mask : integer[N, J]    written
    out : integer[N, J]     written; may be `act`
    """
    values, kept, result = act.reshape(act.size), mask.reshape(mask.size), out.reshape(out.size)
    for i in range(values.size):
        keep = np.int64(words[i]) >= threshold
        kept[i] = keep
        result[i] = values[i] if keep else 0
