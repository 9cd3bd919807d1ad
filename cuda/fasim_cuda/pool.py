"""Pooling of maps and the way back, one thread a result; `fasim.kernels.pool` has the sizes. Maps are NHWC.

The way back gathers: a thread looks at the windows that hold its pixel, (p, q) ascending, so nothing is added atomically.
"""

from __future__ import annotations

from numba import float32, int64

from fasim_cuda.target import cuda, device, jit


@device
def _place(x, like):
    """Return sample, row, column and channel of element x of a map."""
    channels = int64(like.shape[3])
    pixel = x // channels
    row = pixel // like.shape[2]
    n = row // like.shape[1]
    return n, row - n * like.shape[1], pixel - row * like.shape[2], x - pixel * channels


@device
def _first(place, side, stride):
    """Return the first window that holds a row, or a column."""
    return max(int64(0), (place - int64(side) + int64(stride)) // int64(stride))


@device
def _end(place, stride, windows):
    """Return one more than the last window that holds a row, or a column."""
    return min(place // int64(stride) + 1, int64(windows))


@jit
def max_pool(act, side, stride, out, index):
    """Largest value of each window, and where it was; of floats and of integers.

    ``out[n, p, q, c] = max_r max_s act[n, p stride + r, q stride + s, c]``, ``index = r side + s`` of the first such value

    Parameters
    ----------
    act : number[N, H, W, C]
    side, stride : int64                    of the window
    out : number[N, P, Q, C]                written
    index : uint8 or uint16[N, P, Q, C]     written; must hold side^2 - 1

    Cost: N P Q C (side^2 - 1) comparisons. A NaN wins only where it comes first.
    """
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, p, q, c = _place(x, out)
        best = act[n, p * stride, q * stride, c]
        where = int64(0)
        for r in range(side):
            for s in range(side):
                value = act[n, p * stride + r, q * stride + s, c]
                if value > best:
                    best = value
                    where = int64(r * side + s)
        out[n, p, q, c] = best
        index[n, p, q, c] = where


@jit
def max_pool_value(act, side, stride, out):
    """Largest value of each window alone, as `max_pool` has it: for evaluation, which needs no way back.

    Parameters
    ----------
    act : number[N, H, W, C]
    side, stride : int64        of the window
    out : number[N, P, Q, C]    written
    """
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, p, q, c = _place(x, out)
        best = act[n, p * stride, q * stride, c]
        for r in range(side):
            for s in range(side):
                value = act[n, p * stride + r, q * stride + s, c]
                if value > best:
                    best = value
        out[n, p, q, c] = best


@jit
def max_unpool(signal, index, side, stride, out):
    """Bring a signal back to where the largest values were; where windows share one, their signals add up.

    ``out[n, h, w, c] = sum_p sum_q signal[n, p, q, c]`` over all p, q whose `index` points at (h, w); 0 elsewhere

    Parameters
    ----------
    signal : float32[N, P, Q, C]
    index : uint8 or uint16[N, P, Q, C]     from `max_pool`
    side, stride : int64                    of the window
    out : float32[N, H, W, C]               written; may not overlap an input

    Cost: at most N P Q C additions. Order of additions: (p, q) ascending.
    """
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, h, w, c = _place(x, out)
        total = float32(0)
        for p in range(_first(h, side, stride), _end(h, stride, signal.shape[1])):
            for q in range(_first(w, side, stride), _end(w, stride, signal.shape[2])):
                if int64(index[n, p, q, c]) == (h - p * stride) * side + w - q * stride:
                    total = float32(total + signal[n, p, q, c])
        out[n, h, w, c] = total


@jit
def max_unpool_fixed(signal, index, side, stride, out):
    """Bring a signal back to where the largest codes were, exact; as `max_unpool`, integers.

    Parameters
    ----------
    signal : integer[N, P, Q, C]
    index : uint8 or uint16[N, P, Q, C]
    side, stride : int64
    out : integer[N, H, W, C]   written; wide enough for the sums (one signal where stride >= side)
    """
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, h, w, c = _place(x, out)
        total = int64(0)
        for p in range(_first(h, side, stride), _end(h, stride, signal.shape[1])):
            for q in range(_first(w, side, stride), _end(w, stride, signal.shape[2])):
                if int64(index[n, p, q, c]) == (h - p * stride) * side + w - q * stride:
                    total = int64(total + int64(signal[n, p, q, c]))
        out[n, h, w, c] = total


@jit
def average_pool(act, side, stride, out):
    """Mean of each window.

    ``out[n, p, q, c] = (sum_r sum_s act[n, p stride + r, q stride + s, c]) / side^2``

    Parameters
    ----------
    act : float32[N, H, W, C]
    side, stride : int64        of the window
    out : float32[N, P, Q, C]   written

    Cost: N P Q C side^2 additions, N P Q C divisions. Order of additions: (r, s) ascending.
    """
    area = float32(side * side)
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, p, q, c = _place(x, out)
        total = float32(0)
        for r in range(side):
            for s in range(side):
                total = float32(total + act[n, p * stride + r, q * stride + s, c])
        out[n, p, q, c] = float32(total / area)


@jit
def window_sum_fixed(act, side, stride, out):
    """Sum of each window: average pooling before its cast, the mean at log2(side^2) fraction bits more.

    ``out[n, p, q, c] = sum_r sum_s act[n, p stride + r, q stride + s, c]``

    Parameters
    ----------
    act : integer[N, H, W, C]
    side, stride : int64                of the window
    out : int32 or int64[N, P, Q, C]    written
    """
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, p, q, c = _place(x, out)
        total = int64(0)
        for r in range(side):
            for s in range(side):
                total = int64(total + int64(act[n, p * stride + r, q * stride + s, c]))
        out[n, p, q, c] = total


@jit
def average_unpool(signal, side, stride, out):
    """Spread a signal evenly over its window.

    ``out[n, h, w, c] = sum_p sum_q signal[n, p, q, c] / side^2`` over all p, q whose window holds (h, w); 0 elsewhere

    Parameters
    ----------
    signal : float32[N, P, Q, C]
    side, stride : int64        of the window
    out : float32[N, H, W, C]   written; may not overlap an input

    Order of additions: (p, q) ascending, each signal divided first.
    """
    area = float32(side * side)
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, h, w, c = _place(x, out)
        total = float32(0)
        for p in range(_first(h, side, stride), _end(h, stride, signal.shape[1])):
            for q in range(_first(w, side, stride), _end(w, stride, signal.shape[2])):
                total = float32(total + float32(signal[n, p, q, c] / area))
        out[n, h, w, c] = total


@jit
def window_spread_fixed(signal, side, stride, out):
    """Bring a signal back to each place of its window, exact: average pooling's way back at log2(side^2) bits more.

    Parameters
    ----------
    signal : integer[N, P, Q, C]
    side, stride : int64        of the window
    out : integer[N, H, W, C]   written; wide enough for the sums (one signal where stride >= side)
    """
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, h, w, c = _place(x, out)
        total = int64(0)
        for p in range(_first(h, side, stride), _end(h, stride, signal.shape[1])):
            for q in range(_first(w, side, stride), _end(w, stride, signal.shape[2])):
                total = int64(total + int64(signal[n, p, q, c]))
        out[n, h, w, c] = total
