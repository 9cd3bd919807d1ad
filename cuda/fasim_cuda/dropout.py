"""Dropout with a mask that is a function of (seed, site, step, element) alone, in float32 and in integers."""

from __future__ import annotations

from numba import float32, int64

from fasim.scalar.philox import random_word
from fasim_cuda.target import cuda, jit


@jit
def dropout(act, threshold, scale, seed, site, step, mask, out):
    """``mask[p] = 1 where word(p) >= threshold, else 0``, ``out = scale * mask * act``.

    Parameters
    ----------
    act : float32[P]
    threshold : int64       probability of silence times 2^32
    scale : float32         1 / (1 - probability) keeps the mean
    seed, site : int64      whose words are those of stochastic rounding
    step : int64[1]         step of the training
    mask : float32[P]       written
    out : float32[P]        written; may be `act`
    """
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        kept = float32(1) if random_word(seed, site, step[0], p) >= int64(threshold) else float32(0)
        mask[p] = kept
        out[p] = float32(float32(scale * kept) * act[p])


@jit
def dropout_fixed(act, seed, site, step, threshold, mask, out):
    """``mask[p] = word(p) >= threshold``, ``out = mask * act``; integers, the scale is in the binary point of `out`."""
    for p in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        keep = random_word(seed, site, step[0], p) >= int64(threshold)
        mask[p] = int64(1) if keep else int64(0)
        out[p] = int64(act[p]) if keep else int64(0)
