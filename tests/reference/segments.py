"""A network as a list of segments: forward pass, the exact backward pass inside a segment, transport between two.

One segment is ``layer -> batch normalisation -> activation -> dropout -> pool``; all but the layer and the
activation may be absent. A learning rule chooses the signal that enters a hidden segment and where:

``at="end"``
    dLoss/d(what the next segment reads): back through pooling, then dropout, then the slope, then the
    normalisation. All transport from the next layer enters here, and direct feedback with hook post_pool.
``at="activation"``
    dLoss/dact: past dropout and pooling (hook pre_pool).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .float_functions import activation, slope
from .float_optimizers import Array
from .maps import (
    Index,
    Normalised,
    average_pool,
    average_unpool,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    conv_forward,
    conv_input_gradient,
    conv_weight_gradient,
    dropout,
    max_pool,
    max_unpool,
)


@dataclass(frozen=True)
class Norm:
    """Batch normalisation: gain, shift and the running statistics, one number per channel (or unit)."""

    gain: Array
    shift: Array
    running_mean: Array
    running_var: Array


@dataclass(frozen=True)
class Pool:
    """Pooling of kind "max" or "average", no padding."""

    kind: str
    kernel: int
    stride: int


@dataclass(frozen=True)
class Segment:
    """One trained layer and what follows it; kind "dense" has weight (J, I), "conv" (J, R, S, C); bias (J,).

    `mask` is the given dropout mask (0/1, shape of the activation with N) and `scale` its factor, 1 / (1 - p)
    for inverted dropout.
    """

    kind: str
    weight: Array
    bias: Array
    activation: str
    stride: int = 1
    padding: int = 0
    norm: Norm | None = None
    mask: Array | None = None
    scale: float = 1.0
    pool: Pool | None = None


@dataclass(frozen=True)
class Passed:
    """A segment after its forward pass: every value on the way, in order."""

    segment: Segment
    source: Array
    preact: Array
    normalised: Normalised | None
    act: Array
    winners: Index | None
    end: Array

    def activity(self, at: str) -> Array:
        """Return the activation at a site, (N, units): before ("activation") or after dropout and pooling ("end")."""
        return _flat({"activation": self.act, "end": self.end}[at])


@dataclass(frozen=True)
class Inside:
    """Gradients of one segment; delta is at the layer's own pre-activation, before any normalisation."""

    delta: Array
    weight: Array
    bias: Array
    gain: Array | None = None
    shift: Array | None = None


def _flat(values: Array) -> Array:
    return values.reshape(len(values), -1)


def _pass(segment: Segment, given: Array, training: bool) -> Passed:
    if segment.kind == "dense":
        source = _flat(given)
        preact = source @ segment.weight.T + segment.bias
    elif segment.kind == "conv":
        source = given
        preact = conv_forward(source, segment.weight, segment.bias, segment.stride, segment.padding)
    else:
        raise ValueError(f"unknown kind {segment.kind!r}")
    norm, read, normalised = segment.norm, preact, None
    if norm is not None and training:
        normalised = batch_norm(preact, norm.gain, norm.shift, norm.running_mean, norm.running_var)
        read = normalised.out
    elif norm is not None:
        read = batch_norm_inference(preact, norm.gain, norm.shift, norm.running_mean, norm.running_var)
    act = activation(segment.activation, read)
    end, winners, pool = dropout(act, segment.mask if training else None, segment.scale), None, segment.pool
    if pool is not None and pool.kind == "max":
        end, winners = max_pool(end, pool.kernel, pool.stride)
    elif pool is not None and pool.kind == "average":
        end = average_pool(end, pool.kernel, pool.stride)
    elif pool is not None:
        raise ValueError(f"unknown pool {pool.kind!r}")
    return Passed(segment, source, preact, normalised, act, winners, end)


def forward(
    x: Array,
    segments: list[Segment],
    *,
    input_mask: Array | None = None,
    input_scale: float = 1.0,
    training: bool = True,
) -> list[Passed]:
    """Return every segment after the forward pass of x, (N, I) or (N, H, W, C).

    Training normalises with the batch's statistics and drops; evaluation reads the running statistics
    and drops nothing (inverted dropout needs no factor then).
    """
    given = dropout(np.asarray(x, dtype=np.float64), input_mask if training else None, input_scale)
    passed: list[Passed] = []
    for segment in segments:
        passed.append(_pass(segment, given, training))
        given = passed[-1].end
    return passed


def from_delta(passed: Passed, delta: Array) -> Inside:
    """Return the layer's gradients for delta = dLoss/dpreact: ``delta^T source``, a convolution's likewise."""
    segment = passed.segment
    if segment.kind == "dense":
        return Inside(delta, delta.T @ passed.source, delta.sum(axis=0))
    rows, columns = segment.weight.shape[1:3]
    weight = conv_weight_gradient(delta, passed.source, (rows, columns), segment.stride, segment.padding)
    return Inside(delta, weight, delta.sum(axis=(0, 1, 2)))


def backward_inside(passed: Passed, signal: Array, at: str = "end") -> Inside:
    """Return the segment's gradients for a signal of N rows that enters at its "end" or at its "activation".

    ``signal -> unpool -> scale mask -> f' -> batch normalisation -> delta``; "activation" starts at f'.
    """
    segment, pool = passed.segment, passed.segment.pool
    if at == "end":
        signal = signal.reshape(passed.end.shape)
        if pool is not None:
            size = passed.act.shape[1], passed.act.shape[2]
            if passed.winners is None:
                signal = average_unpool(signal, pool.kernel, pool.stride, size)
            else:
                signal = max_unpool(signal, passed.winners, pool.kernel, pool.stride, size)
        signal = dropout(signal, segment.mask, segment.scale)
    elif at == "activation":
        signal = signal.reshape(passed.act.shape)
    else:
        raise ValueError(f"unknown site {at!r}")
    delta = signal * slope(segment.activation, passed.act)
    if segment.norm is None:
        return from_delta(passed, delta)
    if passed.normalised is None:
        raise ValueError("the backward pass of batch normalisation needs a forward pass in training")
    normal, inverse_std = passed.normalised.normal, passed.normalised.inverse_std
    delta, gain, shift = batch_norm_backward(delta, normal, inverse_std, segment.norm.gain)
    inside = from_delta(passed, delta)
    return Inside(delta, inside.weight, inside.bias, gain, shift)


def transport(passed: Passed, delta: Array, matrix: Any) -> Array:
    """Return the signal, (N, units below), of a delta carried down through a matrix of the weight's shape.

    With matrix = weight it is dLoss/d(what the layer reads): ``delta @ matrix``, or the transposed convolution.
    """
    matrix = np.asarray(matrix).reshape(passed.segment.weight.shape)
    if passed.segment.kind == "dense":
        return delta @ matrix
    _, height, width, _ = passed.source.shape
    stride, padding = passed.segment.stride, passed.segment.padding
    return _flat(conv_input_gradient(delta, matrix, (height, width), stride, padding))
