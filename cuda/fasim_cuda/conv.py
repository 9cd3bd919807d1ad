"""Convolution of maps and its way back, by tiles in shared memory, for float32 and for integers. Maps are NHWC.

A block of T x T threads computes T E pixels times T E channels, E x E results in the registers of each thread, from slices
of D terms: windows of the map, which are read in place (no patches are written), and weights. Every result is added up by
one thread in the order of `fasim.kernels.conv`, (r, s, c) or (p, q, j) ascending, in float32 with one rounding a term: no
size of tile changes a bit. Blocks are numbered by pixels along x, which may be millions, and by channels along y.

The way back through a stride is a correlation for each phase of rows and columns, as `fasim.scalar.phases` says.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from numba import float32, int32, int64

from fasim.scalar.phases import first_of, taps
from fasim_cuda.products import INTEGERS, TERMS, TILE, Tile
from fasim_cuda.target import cuda, device, jit

# a row that no map has, whichever tap is added
NOWHERE = -(1 << 28)


def _correlator(number, tile: Tile, *, back: bool):
    """Make what adds up a thread's results of a correlation in the type `number`.

    Parameters
    ----------
    back : bool
        Whether weights are read for the way back: taps turned around, [units, R, S, channels] as [terms, channels].
    """
    term = TERMS[number]
    threads, each, depth, side = tile.threads, tile.each, tile.depth, tile.side
    padded = side + 1  # numbers that threads write one below the other lie in different banks
    block = threads * threads
    size = depth * side

    @device
    def add_up(source, weight, channels, pixels, window, turn, sums):
        rows = cuda.shared.array((depth, padded), number)
        columns = cuda.shared.array((depth, padded), number)
        sample = cuda.shared.array(side, int32)
        top = cuda.shared.array(side, int32)
        left = cuda.shared.array(side, int32)
        down = cuda.shared.array(depth, int32)
        across = cuda.shared.array(depth, int32)
        inner = cuda.shared.array(depth, int32)
        high, wide, step, first_h, first_w = pixels
        tall, broad = window
        stride, phase_h, phase_w = turn
        x = int32(cuda.threadIdx.x)
        y = int32(cuda.threadIdx.y)
        thread = int32(y * threads + x)
        first_pixel = int64(int64(cuda.blockIdx.x) * side)
        first_column = int64(int64(cuda.blockIdx.y) * side)
        depth_of_map = source.shape[3]
        terms = tall * broad * depth_of_map
        strip = max(broad * depth_of_map, int64(1))  # a phase may meet no tap
        count = source.shape[0] * high * wide
        for m in range(thread, side, block):
            pixel = first_pixel + m
            n = pixel // (high * wide)
            place = pixel - n * (high * wide)
            i = place // wide
            sample[m] = n
            top[m] = i * step + first_h if pixel < count else NOWHERE
            left[m] = (place - i * wide) * step + first_w
        for k in range(thread, depth, block):
            u = k // strip
            v = (k - u * strip) // depth_of_map
            down[k] = u
            across[k] = v
            inner[k] = k - u * strip - v * depth_of_map
        cuda.syncthreads()
        for first in range(0, terms, depth):
            for place in range(thread, size, block):
                m = place // depth
                k = place - m * depth
                h = top[m] + down[k]
                w = left[m] + across[k]
                inside = first + k < terms and h >= 0 and h < source.shape[1] and w >= 0 and w < source.shape[2]
                rows[k, m] = number(source[sample[m], h, w, inner[k]]) if inside else number(0)
                if back:
                    k = place // side
                    m = place - k * side
                    inside = first + k < terms and first_column + m < channels
                    r = phase_h + stride * (tall - 1 - down[k])
                    s = phase_w + stride * (broad - 1 - across[k])
                    columns[k, m] = number(weight[inner[k], r, s, first_column + m]) if inside else number(0)
                else:
                    inside = first + k < terms and first_column + m < channels
                    columns[k, m] = number(weight[first_column + m, down[k], across[k], inner[k]]) if inside else number(0)
            cuda.syncthreads()
            for k in range(depth):
                for r in range(each):
                    here = rows[k, y + r * threads]
                    for c in range(each):
                        sums[r, c] = term(sums[r, c], here, columns[k, x + c * threads])
            # the taps of the next slice: nobody reads those of this one any more
            for k in range(thread, depth, block):
                t = first + depth + k
                u = t // strip
                v = (t - u * strip) // depth_of_map
                down[k] = u
                across[k] = v
                inner[k] = t - u * strip - v * depth_of_map
            cuda.syncthreads()

    return add_up


@cache
def float_convolutions(tile: Tile = TILE) -> SimpleNamespace:
    """Make the float32 kernels of one size of tile.

    Returns
    -------
    namespace
        ``conv_forward``, ``conv_input_gradient``.
    """
    threads, each, side = tile.threads, tile.each, tile.side
    forward = _correlator(float32, tile, back=False)
    backward = _correlator(float32, tile, back=True)

    @jit
    def conv_forward(act, weight, bias, stride, padding, out):
        """Pre-activations of a convolutional layer: a correlation, as everywhere in deep learning.

        ``out[n, p, q, j] = bias[j] + sum_r sum_s sum_c act[n, h, w, c] weight[j, r, s, c]``
        with h = p stride + r - padding, w = q stride + s - padding, act = 0 outside of the map

        Parameters
        ----------
        act : float32[N, H, W, C]
        weight : float32[J, R, S, C]
        bias : float32[J]
        stride, padding : int64
        out : float32[N, P, Q, J]   written; may not overlap an input

        Cost: N P Q J R S C multiply-accumulates. Order of additions: from the bias, (r, s, c) ascending, one rounding a
        term, padding included.
        """
        sums = cuda.local.array((each, each), float32)
        high, wide, units = out.shape[1], out.shape[2], out.shape[3]
        for c in range(each):
            j = int64(cuda.blockIdx.y) * side + cuda.threadIdx.x + c * threads
            start = bias[j] if j < units else float32(0)
            for r in range(each):
                sums[r, c] = start
        pixels = high, wide, int64(stride), -int64(padding), -int64(padding)
        window = int64(weight.shape[1]), int64(weight.shape[2])
        forward(act, weight, units, pixels, window, (int64(1), int64(0), int64(0)), sums)
        for r in range(each):
            pixel = int64(cuda.blockIdx.x) * side + cuda.threadIdx.y + r * threads
            n = pixel // (high * wide)
            p = pixel // wide - n * high
            q = pixel - (n * high + p) * wide
            for c in range(each):
                j = int64(cuda.blockIdx.y) * side + cuda.threadIdx.x + c * threads
                if n < out.shape[0] and j < units:
                    out[n, p, q, j] = sums[r, c]

    @jit
    def conv_input_gradient(delta, weight, scale, stride, padding, down, across, out):
        """Bring a delta back through a convolution: the transposed convolution of BP, or of FA with feedback for weights.

        ``out[n, h, w, c] = scale * sum_p sum_q sum_j delta[n, p, q, j] weight[j, r, s, c]`` over all p, q whose window
        holds (h, w): r = h + padding - p stride, s = w + padding - q stride; 0 where no window reaches

        Parameters
        ----------
        delta : float32[N, P, Q, J]
        weight : float32[J, R, S, C]
        scale : float32
        stride, padding : int64
        down, across : int64        phase: h and w with (h + padding) mod stride = down, (w + padding) mod stride = across
                                    are written; one launch for each pair
        out : float32[N, H, W, C]   written; may not overlap an input

        Cost: N P Q J R S C multiply-accumulates in all launches. Order of additions: from 0, (p, q, j) ascending, one
        rounding a term, deltas beyond the edges included; `scale` last.
        """
        sums = cuda.local.array((each, each), float32)
        height, width, channels = out.shape[1], out.shape[2], out.shape[3]
        for r in range(each):
            for c in range(each):
                sums[r, c] = float32(0)
        tall, broad = taps(weight.shape[1], stride, down), taps(weight.shape[2], stride, across)
        top, left = first_of(down, padding, stride), first_of(across, padding, stride)
        h, w = down + top * stride - padding, across + left * stride - padding
        high, wide = (height - h + stride - 1) // stride, (width - w + stride - 1) // stride
        pixels = high, wide, int64(1), top - tall + 1, left - broad + 1
        backward(delta, weight, channels, pixels, (tall, broad), (int64(stride), int64(down), int64(across)), sums)
        for r in range(each):
            pixel = int64(cuda.blockIdx.x) * side + cuda.threadIdx.y + r * threads
            n = pixel // (high * wide)
            i = pixel // wide - n * high
            l = pixel - (n * high + i) * wide  # noqa: E741
            for c in range(each):
                channel = int64(cuda.blockIdx.y) * side + cuda.threadIdx.x + c * threads
                if n < out.shape[0] and channel < channels:
                    out[n, h + i * stride, w + l * stride, channel] = float32(scale * sums[r, c])

    return SimpleNamespace(conv_forward=conv_forward, conv_input_gradient=conv_input_gradient)


@cache
def integer_convolutions(dtype: str, tile: Tile = TILE) -> SimpleNamespace:
    """Make the integer kernels of one size of tile, with sums in ``int32`` or ``int64``.

    Returns
    -------
    namespace
        ``conv_forward_fixed``, ``conv_input_gradient_fixed``.
    """
    number = INTEGERS[dtype]
    threads, each, side = tile.threads, tile.each, tile.side
    forward = _correlator(number, tile, back=False)
    backward = _correlator(number, tile, back=True)

    @jit
    def conv_forward_fixed(act, weight, bias, product_shift, bias_shift, stride, padding, out):
        """Exact accumulators of a convolutional layer, product sum and bias aligned to one binary point.

        ``out[n, p, q, j] = (sum_r sum_s sum_c act[n, h, w, c] weight[j, r, s, c] << product_shift) + (bias[j] <<
        bias_shift)`` with h = p stride + r - padding, w = q stride + s - padding, act = 0 outside of the map

        Parameters
        ----------
        act : integer[N, H, W, C]
        weight : integer[J, R, S, C]
        bias : integer[J]
        product_shift, bias_shift : int64, >= 0
        stride, padding : int64
        out : int32 or int64[N, P, Q, J]    written

        Cost: N P Q J R S C multiply-accumulates.
        """
        sums = cuda.local.array((each, each), number)
        high, wide, units = out.shape[1], out.shape[2], out.shape[3]
        for r in range(each):
            for c in range(each):
                sums[r, c] = number(0)
        pixels = high, wide, int64(stride), -int64(padding), -int64(padding)
        window = int64(weight.shape[1]), int64(weight.shape[2])
        forward(act, weight, units, pixels, window, (int64(1), int64(0), int64(0)), sums)
        for r in range(each):
            pixel = int64(cuda.blockIdx.x) * side + cuda.threadIdx.y + r * threads
            n = pixel // (high * wide)
            p = pixel // wide - n * high
            q = pixel - (n * high + p) * wide
            for c in range(each):
                j = int64(cuda.blockIdx.y) * side + cuda.threadIdx.x + c * threads
                if n < out.shape[0] and j < units:
                    total = int64(sums[r, c]) << int64(product_shift)
                    out[n, p, q, j] = number(total + (int64(bias[j]) << int64(bias_shift)))

    @jit
    def conv_input_gradient_fixed(delta, weight, stride, padding, down, across, out):
        """Bring an integer delta back through a convolution, exact; the formula is that of ``conv_input_gradient``.

        Parameters
        ----------
        delta : integer[N, P, Q, J]
        weight : integer[J, R, S, C]
        stride, padding, down, across : int64
        out : int32 or int64[N, H, W, C]    written

        Cost: N P Q J R S C multiply-accumulates in all launches.
        """
        sums = cuda.local.array((each, each), number)
        height, width, channels = out.shape[1], out.shape[2], out.shape[3]
        for r in range(each):
            for c in range(each):
                sums[r, c] = number(0)
        tall, broad = taps(weight.shape[1], stride, down), taps(weight.shape[2], stride, across)
        top, left = first_of(down, padding, stride), first_of(across, padding, stride)
        h, w = down + top * stride - padding, across + left * stride - padding
        high, wide = (height - h + stride - 1) // stride, (width - w + stride - 1) // stride
        pixels = high, wide, int64(1), top - tall + 1, left - broad + 1
        backward(delta, weight, channels, pixels, (tall, broad), (int64(stride), int64(down), int64(across)), sums)
        for r in range(each):
            pixel = int64(cuda.blockIdx.x) * side + cuda.threadIdx.y + r * threads
            n = pixel // (high * wide)
            i = pixel // wide - n * high
            l = pixel - (n * high + i) * wide  # noqa: E741
            for c in range(each):
                channel = int64(cuda.blockIdx.y) * side + cuda.threadIdx.x + c * threads
                if n < out.shape[0] and channel < channels:
                    out[n, h + i * stride, w + l * stride, channel] = sums[r, c]

    return SimpleNamespace(conv_forward_fixed=conv_forward_fixed, conv_input_gradient_fixed=conv_input_gradient_fixed)
