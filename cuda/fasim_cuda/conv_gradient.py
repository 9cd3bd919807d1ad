"""Gradient of a convolution's weights, by tiles in shared memory, for float32 and for integers. Maps are NHWC.

A layer has few weights and many pixels, so that one result a thread over all of them would keep a GPU idle: each sample's
gradient is added up by blocks of its own, then the samples are added. That is the order of the CPU too: within a sample
from 0, (p, q) ascending, in float32 one rounding a term; then the sums of samples, ascending. No size of tile changes a
bit.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from numba import float32, int32, int64

from fasim_cuda.products import INTEGERS, TERMS, TILE, Tile
from fasim_cuda.target import cuda, device, jit


def _adder(number, tile: Tile):
    """Make what adds up a thread's results of one sample in the type `number`."""
    term = TERMS[number]
    threads, each, depth, side = tile.threads, tile.each, tile.depth, tile.side
    padded = side + 1
    block = threads * threads
    size = depth * side

    @device
    def add_up(delta, act, sample, first_unit, places, given, sums):
        rows = cuda.shared.array((depth, padded), number)
        columns = cuda.shared.array((depth, padded), number)
        down = cuda.shared.array(side, int32)
        across = cuda.shared.array(side, int32)
        inner = cuda.shared.array(side, int32)
        window, stride, padding = given
        first_place, all_places = places
        x = int32(cuda.threadIdx.x)
        y = int32(cuda.threadIdx.y)
        thread = int32(y * threads + x)
        channels = act.shape[3]
        strip = window * channels
        wide = delta.shape[2]
        terms = delta.shape[1] * wide
        for m in range(thread, side, block):
            place = first_place + m
            r = place // strip
            s = (place - r * strip) // channels
            down[m] = r - padding
            across[m] = s - padding
            inner[m] = place - r * strip - s * channels
        for r in range(each):
            for c in range(each):
                sums[r, c] = number(0)
        cuda.syncthreads()
        for first in range(0, terms, depth):
            for at in range(thread, size, block):
                k = at // side
                m = at - k * side
                p = (first + k) // wide
                q = first + k - p * wide
                known = first + k < terms
                inside = known and first_unit + m < delta.shape[3]
                rows[k, m] = number(delta[sample, p, q, first_unit + m]) if inside else number(0)
                h = p * stride + down[m]
                w = q * stride + across[m]
                inside = known and first_place + m < all_places
                inside = inside and h >= 0 and h < act.shape[1] and w >= 0 and w < act.shape[2]
                columns[k, m] = number(act[sample, h, w, inner[m]]) if inside else number(0)
            cuda.syncthreads()
            for k in range(depth):
                for r in range(each):
                    here = rows[k, y + r * threads]
                    for c in range(each):
                        sums[r, c] = term(sums[r, c], here, columns[k, x + c * threads])
            cuda.syncthreads()

    return add_up


def _gradient(number, tile: Tile):
    """Make the kernel of one type of sums."""
    threads, each, side = tile.threads, tile.each, tile.side
    add = _adder(number, tile)

    @jit
    def conv_weight_gradient(delta, act, first, window, stride, padding, out):
        """Gradients of a convolution's weights, of each sample apart.

        ``out[n, j, (r, s, c)] = sum_p sum_q delta[first + n, p, q, j] act[first + n, h, w, c]``
        with h, w and act as in ``conv_forward``; blocks are numbered by samples and units along x, by (r, s, c) along y

        Parameters
        ----------
        delta : number[N, P, Q, J]
        act : number[N, H, W, C]
        first : int64               first sample
        window : int64              R = S
        stride, padding : int64
        out : number[n, J, R S C]   written, samples first .. first + n - 1; see `add_samples`

        Cost: n P Q J R S C multiply-accumulates. Order of additions: from 0, (p, q) ascending, in float32 one rounding a
        term.
        """
        sums = cuda.local.array((each, each), number)
        units, places = int64(out.shape[1]), int64(out.shape[2])
        tiles = (units + side - 1) // side
        n = int64(cuda.blockIdx.x) // tiles
        first_unit = (int64(cuda.blockIdx.x) - n * tiles) * side
        first_place = int64(cuda.blockIdx.y) * side
        given = int64(window), int64(stride), int64(padding)
        add(delta, act, int64(first) + n, first_unit, (first_place, places), given, sums)
        for r in range(each):
            j = first_unit + cuda.threadIdx.y + r * threads
            for c in range(each):
                place = first_place + cuda.threadIdx.x + c * threads
                if j < units and place < places:
                    out[n, j, place] = sums[r, c]

    return conv_weight_gradient


@cache
def float_gradients(tile: Tile = TILE) -> SimpleNamespace:
    """Make the float32 kernel of one size of tile: ``conv_weight_gradient``."""
    return SimpleNamespace(conv_weight_gradient=_gradient(float32, tile))


@cache
def integer_gradients(dtype: str, tile: Tile = TILE) -> SimpleNamespace:
    """Make the integer kernel of one size of tile, sums in ``int32`` or ``int64``: ``conv_weight_gradient_fixed``."""
    return SimpleNamespace(conv_weight_gradient_fixed=_gradient(INTEGERS[dtype], tile))


@jit
def add_samples(parts, further, out):
    """Add up what each sample gave: ``out[i] = (out[i] if further else 0) + parts[0, i] + parts[1, i] + ...``, float32.

    Parameters
    ----------
    parts : float32[n, P]
    further : int64         0 for the first samples of a batch
    out : float32[P]        written
    """
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        total = out[i] if further else float32(0)
        for n in range(parts.shape[0]):
            total = float32(total + parts[n, i])
        out[i] = total


@jit
def add_samples_fixed(parts, further, out):
    """Add up what each sample gave, exact; as `add_samples`, int32 or int64."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        total = int64(out[i]) if further else int64(0)
        for n in range(parts.shape[0]):
            total = int64(total + int64(parts[n, i]))
        out[i] = total
