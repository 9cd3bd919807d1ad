"""Pooling of maps in fixed point: exact sums of integers, of any integer storage types. Maps are NHWC.

The integer twins of `fasim.kernels.pool`, with the same sizes P, Q. Each function works on a slice of the batch rows. Sums
are held in the type of `out`, which the lowering has proven wide enough.
"""

from __future__ import annotations

from numba import njit

from fasim.kernels.compile import kernel
from fasim.kernels.pool import max_pool, max_pool_value


@njit(inline="always", cache=True)
def _clear(array):
    """Set a matrix to 0."""
    for i in range(array.shape[0]):
        for j in range(array.shape[1]):
            array[i, j] = 0


# The window's size is called `side` below: `kernel` is the decorator.
@kernel
def max_pool_fixed(act, side, stride, out, index):
    """Largest code of each window, and where it was.

    ``out[n, p, q, c] = max_r max_s act[n, p stride + r, q stride + s, c]``, ``index = r side + s`` of the first such code

    Parameters
    ----------
    act : integer[N, H, W, C]
    side, stride : int64                    of the window
    out : integer[N, P, Q, C]               written
    index : uint8 or uint16[N, P, Q, C]     written; must hold side^2 - 1

    Cost: N P Q C (side^2 - 1) comparisons.
    """
    max_pool(act, side, stride, out, index)


@kernel
def max_pool_value_fixed(act, side, stride, out):
    """Largest code of each window alone, as `max_pool_fixed` has it: for evaluation, which needs no way back.

    Parameters
    ----------
    act : integer[N, H, W, C]
    side, stride : int64        of the window
    out : integer[N, P, Q, C]   written
    """
    max_pool_value(act, side, stride, out)


@kernel
def max_unpool_fixed(signal, index, side, stride, out):
    """Bring a signal back to where the largest codes were, exact; where windows share one, their signals add up.

    ``out[n, h, w, c] = sum_p sum_q signal[n, p, q, c]`` over all p, q whose `index` points at (h, w); 0 elsewhere

    Parameters
    ----------
    signal : integer[N, P, Q, C]
    index : uint8 or uint16[N, P, Q, C]     from `max_pool_fixed`
    side, stride : int64                    of the window
    out : integer[N, H, W, C]               written; wide enough for the sums (one signal where stride >= side)

    Cost: at most N P Q C additions.
    """
    cast = out.dtype.type
    for n in range(out.shape[0]):
        _clear(out[n].reshape(out.shape[1], out.shape[2] * out.shape[3]))
        for p in range(signal.shape[1]):
            for q in range(signal.shape[2]):
                source, place = signal[n, p, q], index[n, p, q]
                # Every place of the window against the index: no division, vectorised, and never outside of the map
                for t in range(side * side):
                    target = out[n, p * stride + t // side, q * stride + t % side]
                    for c in range(source.shape[0]):
                        target[c] = cast(target[c] + (cast(source[c]) if place[c] == t else cast(0)))


@kernel
def window_sum_fixed(act, side, stride, out):
    """Sum of each window: average pooling before its cast, the mean at log2(side^2) fraction bits more.

    ``out[n, p, q, c] = sum_r sum_s act[n, p stride + r, q stride + s, c]``

    Parameters
    ----------
    act : integer[N, H, W, C]
    side, stride : int64                of the window
    out : int32 or int64[N, P, Q, C]    written

    Cost: N P Q C side^2 additions.
    """
    cast = out.dtype.type
    for n in range(out.shape[0]):
        for p in range(out.shape[1]):
            for q in range(out.shape[2]):
                total = out[n, p, q]
                for c in range(total.shape[0]):
                    total[c] = 0
                for t in range(side * side):
                    source = act[n, p * stride + t // side, q * stride + t % side]
                    for c in range(total.shape[0]):
                        total[c] = cast(total[c] + cast(source[c]))


@kernel
def window_spread_fixed(signal, side, stride, out):
    """Bring a signal back to each place of its window: the way back of average pooling, at log2(side^2) fraction bits more.

    ``out[n, h, w, c] = sum_p sum_q signal[n, p, q, c]`` over all p, q whose window holds (h, w); 0 elsewhere

    Parameters
    ----------
    signal : integer[N, P, Q, C]
    side, stride : int64        of the window
    out : integer[N, H, W, C]   written; wide enough for the sums (one signal where stride >= side)

    Cost: N P Q C side^2 additions.
    """
    cast = out.dtype.type
    for n in range(out.shape[0]):
        _clear(out[n].reshape(out.shape[1], out.shape[2] * out.shape[3]))
        for p in range(signal.shape[1]):
            for q in range(signal.shape[2]):
                source = signal[n, p, q]
                for t in range(side * side):
                    target = out[n, p * stride + t // side, q * stride + t % side]
                    for c in range(source.shape[0]):
                        target[c] = cast(target[c] + cast(source[c]))
