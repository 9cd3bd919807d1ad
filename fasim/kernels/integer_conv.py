"""Convolution of maps in fixed point: exact sums of integers, of any integer storage types. Maps are NHWC.

The integer twins of `fasim.kernels.conv`, with the same sizes P, Q. Each function works on a slice of the batch rows (a
weight gradient: of the units). Sums are held in the type of `out`, which the lowering has proven wide enough. Those of
operands of 16 bits or fewer are formed by register tiles: in int32 by four bytes at a time (int8 or uint8 times int8, on a
CPU with VNNI) or by pairs of 16 bits, in int64 by pairs, in parts that int32 is seen to hold. All else is left to plain
loops. Results are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fasim.kernels.compile import kernel
from fasim.kernels.integer_conv_loops import forward_loops, input_gradient_loops, weight_gradient_loops
from fasim.kernels.integer_conv_tiles import forward_tiles, input_gradient_tiles, weight_gradient_tiles
from fasim.kernels.integer_conv_wide import forward_wide, input_gradient_wide, weight_gradient_wide
from fasim.kernels.micro.correlate import (
    correlate_bytes,
    correlate_words,
    gradient_bytes,
    gradient_words,
    interleave_bytes,
    interleave_words,
)
from fasim.kernels.micro.kinds import VNNI
from fasim.scalar.target import TARGET

_OPTIONS: Any = {"error_model": "numpy", "nogil": True}
_SHORT = (types.int8, types.uint8, types.int16)
_WIDE = -2
_UINT8, _INT8, _INT16 = np.empty(0, np.uint8), np.empty(0, np.int8), np.empty(0, np.int16)


def _tiles(source: Any, other: Any, out: Any) -> tuple[int, int]:  # noqa: ANN401
    """Return how many numbers of these types tiles multiply at once (0: no tiles), and what they add to the first.

    ``_WIDE`` stands for pairs whose sums are then int64.
    """
    kinds = source.dtype, other.dtype
    if TARGET == "portable":
        return 0, 0
    if out.dtype != types.int32:
        return (_WIDE if out.dtype == types.int64 and all(kind in _SHORT for kind in kinds) else 0), 0
    if VNNI and kinds[0] in (types.int8, types.uint8) and kinds[1] == types.int8:
        return 4, 128 if kinds[0] == types.int8 else 0
    return (2 if all(kind in _SHORT for kind in kinds) else 0), 0


def _forward(act, weight, bias, product_shift, bias_shift, stride, padding, out):
    raise NotImplementedError


@overload(_forward, jit_options=_OPTIONS)
def _choose_forward(act, weight, bias, product_shift, bias_shift, stride, padding, out):
    group, offset = _tiles(act, weight, out)

    def by_bytes(act, weight, bias, product_shift, bias_shift, stride, padding, out):
        forward_tiles(
            correlate_bytes, 4, offset, _UINT8, _INT8, act, weight, bias, product_shift, bias_shift, stride, padding, out
        )

    def by_words(act, weight, bias, product_shift, bias_shift, stride, padding, out):
        forward_tiles(
            correlate_words, 2, 0, _INT16, _INT16, act, weight, bias, product_shift, bias_shift, stride, padding, out
        )

    def by_words_wide(act, weight, bias, product_shift, bias_shift, stride, padding, out):
        forward_wide(act, weight, bias, product_shift, bias_shift, stride, padding, out)

    def by_loops(act, weight, bias, product_shift, bias_shift, stride, padding, out):
        forward_loops(act, weight, bias, product_shift, bias_shift, stride, padding, out)

    return {4: by_bytes, 2: by_words, _WIDE: by_words_wide, 0: by_loops}[group]


@kernel
def conv_forward_fixed(act, weight, bias, product_shift, bias_shift, stride, padding, out):
    """Exact accumulators of a convolutional layer, product sum and bias aligned to one binary point.

    ``out[n, p, q, j] = (sum_r sum_s sum_c act[n, h, w, c] weight[j, r, s, c] << product_shift) + (bias[j] << bias_shift)``
    with h = p stride + r - padding, w = q stride + s - padding, act = 0 outside of the map

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
    _forward(act, weight, bias, product_shift, bias_shift, stride, padding, out)


def _input_gradient(delta, weight, stride, padding, out):
    raise NotImplementedError


@overload(_input_gradient, jit_options=_OPTIONS)
def _choose_input_gradient(delta, weight, stride, padding, out):
    group, offset = _tiles(delta, weight, out)

    def by_bytes(delta, weight, stride, padding, out):
        input_gradient_tiles(correlate_bytes, 4, offset, _UINT8, _INT8, delta, weight, stride, padding, out)

    def by_words(delta, weight, stride, padding, out):
        input_gradient_tiles(correlate_words, 2, 0, _INT16, _INT16, delta, weight, stride, padding, out)

    def by_words_wide(delta, weight, stride, padding, out):
        input_gradient_wide(delta, weight, stride, padding, out)

    def by_loops(delta, weight, stride, padding, out):
        input_gradient_loops(delta, weight, stride, padding, out)

    return {4: by_bytes, 2: by_words, _WIDE: by_words_wide, 0: by_loops}[group]


@kernel
def conv_input_gradient_fixed(delta, weight, stride, padding, out):
    """Bring an integer delta back through a convolution, exact: the transposed convolution of BP, or of FA with feedback.

    ``out[n, h, w, c] = sum_p sum_q sum_j delta[n, p, q, j] weight[j, r, s, c]`` over all p, q whose window holds (h, w):
    r = h + padding - p stride, s = w + padding - q stride; 0 where no window reaches

    Parameters
    ----------
    delta : integer[N, P, Q, J]
    weight : integer[J, R, S, C]
    stride, padding : int64
    out : int32 or int64[N, H, W, C]    written

    Cost: N P Q J R S C multiply-accumulates.
    """
    _input_gradient(delta, weight, stride, padding, out)


def _weight_gradient(delta, act, first, stride, padding, out):
    raise NotImplementedError


@overload(_weight_gradient, jit_options=_OPTIONS)
def _choose_weight_gradient(delta, act, first, stride, padding, out):
    group, offset = _tiles(act, delta, out)

    def by_bytes(delta, act, first, stride, padding, out):
        weight_gradient_tiles(gradient_bytes, interleave_bytes, 4, offset, _UINT8, delta, act, first, stride, padding, out)

    def by_words(delta, act, first, stride, padding, out):
        weight_gradient_tiles(
            gradient_words, interleave_words, 2, 0, _INT16, delta.astype(np.int16), act, first, stride, padding, out
        )

    def by_words_wide(delta, act, first, stride, padding, out):
        weight_gradient_wide(delta, act, first, stride, padding, out)

    def by_loops(delta, act, first, stride, padding, out):
        weight_gradient_loops(delta, act, first, stride, padding, out)

    return {4: by_bytes, 2: by_words, _WIDE: by_words_wide, 0: by_loops}[group]


@kernel
def conv_weight_gradient_fixed(delta, act, first, stride, padding, out):
    """Exact gradient of a convolution's units first, first+1, ..., summed over the batch and all pixels.

    ``out[j, r, s, c] = sum_n sum_p sum_q delta[n, p, q, first + j] act[n, h, w, c]``
    with h, w and act as in `conv_forward_fixed`; that of the biases is ``bias_gradient_fixed`` of delta as [N P Q, J]

    Parameters
    ----------
    delta : integer[N, P, Q, J]
    act : integer[N, H, W, C]
    first : int64                       first unit of this slice
    stride, padding : int64
    out : int32 or int64[j, R, S, C]    written

    Cost: N P Q j R S C multiply-accumulates.
    """
    _weight_gradient(delta, act, first, stride, padding, out)
