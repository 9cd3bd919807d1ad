"""Convolution of maps in float32: forward, input gradient, weight gradient. Maps are NHWC, kernels square.

All three are correlations by the register tiles of `fasim.kernels.micro.correlate`, which read the windows of a sample's
padded map in place: no patches are copied. Every sum is a chain of fused multiply-adds in the order stated, so the bits do
not depend on the batch or on the CPU's vectors (a CPU that cannot fuse rounds each product too).

P = (H + 2 padding - R) // stride + 1, Q likewise from W, and S = R; what no window reaches at the far edges is left out.
All arrays are in C order.
"""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.kernels.conv_layout import load_map, pack, pack_back, panels
from fasim.kernels.micro.correlate import PANEL, correlate_float32, gradient_float32, grid
from fasim.scalar.phases import first_of, taps

ZERO, ONE = np.float32(0.0), np.float32(1.0)
# x + -0.0 is x, for every x: a copy
NOTHING = np.float32(-0.0)
# of the type of a variable: for a literal number, kernels are compiled anew
SIZE, CORNER = np.int64(4), np.int64(0)


@kernel
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

    Cost: N P Q J R S C multiply-accumulates. Order of summation: from the bias, (r, s, c) ascending by fused multiply-adds,
    padding included.
    """
    samples, height, width, channels = act.shape
    units, side = weight.shape[:2]
    strip = side * channels
    packed = np.zeros((panels(units), side * strip, PANEL, 1), np.float32)
    pack(weight, packed)
    line = (width + 2 * padding) * channels
    places = grid(out.shape[1], out.shape[2], CORNER, stride * line * SIZE, stride * channels * SIZE)
    pixels = out.shape[1] * out.shape[2]
    targets = grid(out.shape[1], out.shape[2], CORNER, out.shape[2] * units * SIZE, units * SIZE)
    image = np.zeros((height + 2 * padding) * line if padding else 0, np.float32)
    for n in range(samples):
        result = out[n].reshape(pixels * units)
        if padding:
            load_map(act[n], padding, NOTHING, line, image)
            correlate_float32(image, places, pixels, line * SIZE, side, strip, packed, bias, ONE, targets, result)
        else:
            source = act[n].reshape(height * line)
            correlate_float32(source, places, pixels, line * SIZE, side, strip, packed, bias, ONE, targets, result)


@kernel
def conv_input_gradient(delta, weight, scale, stride, padding, out):
    """Bring a delta back through a convolution: the transposed convolution of BP, or of FA with feedback for weights.

    ``out[n, h, w, c] = scale * sum_p sum_q sum_j delta[n, p, q, j] weight[j, r, s, c]`` over all p, q whose window holds
    (h, w): r = h + padding - p stride, s = w + padding - q stride; 0 where no window reaches

    Parameters
    ----------
    delta : float32[N, P, Q, J]
    weight : float32[J, R, S, C]
    scale : float32
    stride, padding : int64
    out : float32[N, H, W, C]   written; may not overlap an input

    Cost: N P Q J R S C multiply-accumulates. Order of summation: from 0, (p, q, j) ascending by fused multiply-adds; deltas
    beyond the edges are zeros that are added too; `scale` last.
    """
    samples, height, width, channels = out.shape
    units, side = weight.shape[:2]
    most = taps(side, stride, 0)
    line = ((width - 1 + padding) // stride + most) * units
    image = np.zeros(((height - 1 + padding) // stride + most) * line, np.float32)
    start = np.zeros(channels, np.float32)
    for phases in range(stride * stride):
        down, across = phases // stride, phases % stride
        rows, columns = taps(side, stride, down), taps(side, stride, across)
        top, left = first_of(down, padding, stride), first_of(across, padding, stride)
        h, w = down + top * stride - padding, across + left * stride - padding
        tall, wide = max(height - h + stride - 1, 0) // stride, max(width - w + stride - 1, 0) // stride
        packed = np.zeros((panels(channels), rows * columns * units, PANEL, 1), np.float32)
        pack_back(weight, stride, down, across, packed)
        corner = (top + most - rows) * line + (left + most - columns) * units
        places = grid(tall, wide, corner * SIZE, line * SIZE, units * SIZE)
        step = channels * SIZE
        targets = grid(tall, wide, (h * width + w) * step, stride * width * step, stride * step)
        for n in range(samples):
            load_map(delta[n], most - 1, NOTHING, line, image)
            result = out[n].reshape(height * width * channels)
            correlate_float32(
                image, places, tall * wide, line * SIZE, rows, columns * units, packed, start, scale, targets, result
            )


@kernel
def conv_weight_gradient(delta, act, first, stride, padding, out):
    """Gradient of a convolution's weights, summed over the batch and all pixels.

    ``out[j, r, s, c] = sum_n sum_p sum_q delta[n, p, q, first + j] act[n, h, w, c]``
    with h, w and act as in `conv_forward`; that of the biases is ``bias_gradient`` of delta as [N P Q, J]

    Parameters
    ----------
    delta : float32[N, P, Q, channels]
    act : float32[N, H, W, C]
    first : int64               channel of delta that unit 0 of `out` has
    stride, padding : int64
    out : float32[J, R, S, C]   written; may not overlap an input

    Cost: N P Q J R S C multiply-accumulates. Order of summation: within a sample from 0, (p, q) ascending by fused
    multiply-adds; then these sums over n, ascending, which keeps the rounding errors of N P Q terms small.
    """
    samples, height, width, channels = act.shape
    units, side = out.shape[:2]
    strip = side * channels
    window = side * strip
    line = (width + 2 * padding) * channels
    places = grid(side, strip, CORNER, line * SIZE, SIZE)
    down, across = stride * line * SIZE, stride * channels * SIZE
    image = np.zeros((height + 2 * padding) * line if padding else 0, np.float32)
    sums, totals = np.empty((window, units), np.float32), np.zeros((window, units), np.float32)
    signals = delta.reshape((*delta.shape, 1))[:, :, :, first : first + units]
    for n in range(samples):
        if padding:
            load_map(act[n], padding, NOTHING, line, image)
            gradient_float32(image, places, down, across, signals[n], True, sums)
        else:
            gradient_float32(act[n].reshape(height * line), places, down, across, signals[n], True, sums)
        for i in range(window):
            for j in range(units):
                totals[i, j] += sums[i, j]
    result = out.reshape(units, window)
    for j in range(units):
        for i in range(window):
            result[j, i] = totals[i, j]
