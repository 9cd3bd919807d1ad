"""Windows of maps written out as rows, for sums in registers of limited width, whose order is that of the rows.

`fasim_cuda.accumulate` then adds up rows of products as it does for dense layers: padding is products of 0 there too.
"""

from __future__ import annotations

from numba import int64

from fasim_cuda.target import cuda, jit


@jit
def copy_windows(act, side, stride, padding, high, wide, out):
    """Write the window of each pixel as a row: ``out[(n, p, q), (r, s, c)] = act[n, h, w, c]``, 0 outside of the map.

    h = p stride + r - padding, w = q stride + s - padding

    Parameters
    ----------
    act : integer[N, H, W, C]
    side, stride, padding : int64
    high, wide : int64              P, Q
    out : integer[N P Q, R S C]     written
    """
    channels = int64(act.shape[3])
    strip = int64(side) * channels
    terms = int64(out.shape[1])
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        pixel = x // terms
        k = x - pixel * terms
        n = pixel // (high * wide)
        p = pixel // wide - n * high
        q = pixel - (n * high + p) * wide
        r = k // strip
        s = (k - r * strip) // channels
        h = p * stride + r - padding
        w = q * stride + s - padding
        inside = h >= 0 and h < act.shape[1] and w >= 0 and w < act.shape[2]
        out[pixel, k] = act[n, h, w, k - r * strip - s * channels] if inside else 0


@jit
def copy_deltas(delta, side, stride, padding, high, wide, out):
    """Write the deltas whose windows hold a pixel as a row: ``out[(n, h, w), (r, s, j)] = delta[n, p, q, j]``, else 0.

    p stride = h + padding - r, q stride = w + padding - s

    Parameters
    ----------
    delta : integer[N, P, Q, J]
    side, stride, padding : int64
    high, wide : int64              H, W
    out : integer[N H W, R S J]     written
    """
    units = int64(delta.shape[3])
    strip = int64(side) * units
    terms = int64(out.shape[1])
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        pixel = x // terms
        k = x - pixel * terms
        n = pixel // (high * wide)
        h = pixel // wide - n * high
        w = pixel - (n * high + h) * wide
        r = k // strip
        s = (k - r * strip) // units
        down = h + padding - r
        across = w + padding - s
        p = down // stride
        q = across // stride
        inside = down == p * stride and across == q * stride
        inside = inside and p >= 0 and p < delta.shape[1] and q >= 0 and q < delta.shape[2]
        out[pixel, k] = delta[n, p, q, k - r * strip - s * units] if inside else 0


@jit
def turn_weights(weight, out):
    """Write weights in the order of `copy_deltas`: ``out[(r, s, j), c] = weight[j, r, s, c]``.

    Parameters
    ----------
    weight : integer[J, R, S, C]
    out : integer[R S J, C]         written
    """
    units, channels = int64(weight.shape[0]), int64(weight.shape[3])
    for x in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        k = x // channels
        tap = k // units
        r = tap // weight.shape[2]
        out[k, x - k * channels] = weight[k - tap * units, r, tap - r * weight.shape[2], x - k * channels]
