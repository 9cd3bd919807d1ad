"""Pooling of maps in float32: the largest or the mean of each kernel x kernel window, and the way back. Maps are NHWC.

P = (H - kernel) // stride + 1, Q likewise from W. There is no padding; rows and columns that no window reaches count for
nothing and get 0 on the way back. Windows overlap where stride < kernel.
"""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel

ZERO = np.float32(0.0)


# The window's size is called `side` below: `kernel` is the decorator.
@kernel
def max_pool(act, side, stride, out, index):
    """Largest value of each window, and where it was.

    ``out[n, p, q, c] = max_r max_s act[n, p stride + r, q stride + s, c]``, ``index = r side + s`` of the first such value

    Parameters
    ----------
    act : float32[N, H, W, C]
    side, stride : int64                    of the window
    out : float32[N, P, Q, C]               written
    index : uint8 or uint16[N, P, Q, C]     written; must hold side^2 - 1

    Cost: N P Q C (side^2 - 1) comparisons. A NaN wins only where it comes first.
    """
    for n in range(out.shape[0]):
        for p in range(out.shape[1]):
            for q in range(out.shape[2]):
                best, place = out[n, p, q], index[n, p, q]
                source = act[n, p * stride, q * stride]
                for c in range(best.shape[0]):
                    best[c] = source[c]
                    place[c] = 0
                for t in range(1, side * side):
                    source = act[n, p * stride + t // side, q * stride + t % side]
                    for c in range(best.shape[0]):
                        larger = source[c] > best[c]
                        best[c] = source[c] if larger else best[c]
                        place[c] = t if larger else place[c]


@kernel
def max_pool_value(act, side, stride, out):
    """Largest value of each window alone, as `max_pool` has it: for evaluation, which needs no way back.

    Parameters
    ----------
    act : float32[N, H, W, C]
    side, stride : int64        of the window
    out : float32[N, P, Q, C]   written
    """
    for n in range(out.shape[0]):
        for p in range(out.shape[1]):
            for q in range(out.shape[2]):
                best = out[n, p, q]
                source = act[n, p * stride, q * stride]
                for c in range(best.shape[0]):
                    best[c] = source[c]
                for t in range(1, side * side):
                    source = act[n, p * stride + t // side, q * stride + t % side]
                    for c in range(best.shape[0]):
                        best[c] = source[c] if source[c] > best[c] else best[c]


@kernel
def max_unpool(signal, index, side, stride, out):
    """Bring a signal back to where the largest values were; where windows share one, their signals add up.

    ``out[n, h, w, c] = sum_p sum_q signal[n, p, q, c]`` over all p, q whose `index` points at (h, w); 0 elsewhere

    Parameters
    ----------
    signal : float32[N, P, Q, C]
    index : uint8 or uint16[N, P, Q, C]     from `max_pool`
    side, stride : int64                    of the window
    out : float32[N, H, W, C]               written; may not overlap an input

    Cost: at most N P Q C additions. Order of summation: (p, q) ascending.
    """
    for n in range(out.shape[0]):
        for h in range(out.shape[1]):
            for w in range(out.shape[2]):
                for c in range(out.shape[3]):
                    out[n, h, w, c] = ZERO
        for p in range(signal.shape[1]):
            for q in range(signal.shape[2]):
                source, place = signal[n, p, q], index[n, p, q]
                # Every place of the window against the index: no division, vectorised, and never outside of the map
                for t in range(side * side):
                    target = out[n, p * stride + t // side, q * stride + t % side]
                    for c in range(source.shape[0]):
                        target[c] += source[c] if place[c] == t else ZERO


@kernel
def average_pool(act, side, stride, out):
    """Mean of each window.

    ``out[n, p, q, c] = (sum_r sum_s act[n, p stride + r, q stride + s, c]) / side^2``

    Parameters
    ----------
    act : float32[N, H, W, C]
    side, stride : int64        of the window
    out : float32[N, P, Q, C]   written

    Cost: N P Q C side^2 additions, N P Q C divisions. Order of summation: (r, s) ascending.
    """
    area = np.float32(side * side)
    for n in range(out.shape[0]):
        for p in range(out.shape[1]):
            for q in range(out.shape[2]):
                total = out[n, p, q]
                for c in range(total.shape[0]):
                    total[c] = ZERO
                for t in range(side * side):
                    source = act[n, p * stride + t // side, q * stride + t % side]
                    for c in range(total.shape[0]):
                        total[c] += source[c]
                for c in range(total.shape[0]):
                    total[c] /= area


@kernel
def average_unpool(signal, side, stride, out):
    """Spread a signal evenly over its window.

    ``out[n, h, w, c] = sum_p sum_q signal[n, p, q, c] / side^2`` over all p, q whose window holds (h, w); 0 elsewhere

    Parameters
    ----------
    signal : float32[N, P, Q, C]
    side, stride : int64        of the window
    out : float32[N, H, W, C]   written; may not overlap an input

    Cost: N P Q C side^2 additions and divisions. Order of summation: (p, q) ascending.
    """
    area = np.float32(side * side)
    for n in range(out.shape[0]):
        for h in range(out.shape[1]):
            for w in range(out.shape[2]):
                for c in range(out.shape[3]):
                    out[n, h, w, c] = ZERO
        for p in range(signal.shape[1]):
            for q in range(signal.shape[2]):
                source = signal[n, p, q]
                for t in range(side * side):
                    target = out[n, p * stride + t // side, q * stride + t % side]
                    for c in range(source.shape[0]):
                        target[c] += source[c] / area
