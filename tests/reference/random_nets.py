"""Random segments, inputs and feedback for tests: a plan of a network and a seed give every array."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .float_optimizers import Array
from .segments import Norm, Passed, Pool, Segment, forward


@dataclass(frozen=True)
class Plan:
    """One segment to draw; `keep` is the share that dropout keeps (1 / keep is its factor)."""

    kind: str
    units: int
    activation: str = "tanh"
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    norm: bool = False
    keep: float = 1.0
    pool: Pool | None = None


def draw(seed: int, samples: int, shape: tuple[int, ...], plans: list[Plan]) -> tuple[Array, list[Segment]]:
    """Return (x, segments): x uniform in 0..1, (N, I) or (N, H, W, C); weights +-sqrt(3 / fan in), all else random too."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.0, 1.0, (samples, *shape))
    segments: list[Segment] = []
    given = x
    for plan in plans:
        inputs = (plan.kernel, plan.kernel, given.shape[-1]) if plan.kind == "conv" else (math.prod(given.shape[1:]),)
        bound = math.sqrt(3.0 / math.prod(inputs))
        weight = rng.uniform(-bound, bound, (plan.units, *inputs))
        bias = rng.uniform(-0.5, 0.5, plan.units)
        norm = None
        if plan.norm:
            low, high = (0.5, -0.5, -1.0, 0.5), (1.5, 0.5, 1.0, 2.0)
            norm = Norm(*(rng.uniform(a, b, plan.units) for a, b in zip(low, high, strict=True)))
        segment = Segment(plan.kind, weight, bias, plan.activation, plan.stride, plan.padding, norm, pool=plan.pool)
        passed = forward(given, [segment])[0]
        if plan.keep < 1.0:
            mask = (rng.uniform(size=passed.act.shape) < plan.keep).astype(np.float64)
            segment = replace(segment, mask=mask, scale=1.0 / plan.keep)
            passed = forward(given, [segment])[0]
        segments.append(segment)
        given = passed.end
        if given.size == 0:
            raise ValueError(f"{plan} leaves no map: start with a larger one than {shape}")
    return x, segments


def direct_feedback(seed: int, passed: list[Passed], at: str) -> list[Array]:
    """Return B.l, (K, units of layer l at the site), uniform in +-1, for the hidden layers."""
    rng = np.random.default_rng(seed)
    outputs = passed[-1].end.shape[1]
    return [rng.uniform(-1.0, 1.0, (outputs, p.activity(at).shape[1])) for p in passed[:-1]]


def chained_feedback(seed: int, segments: list[Segment]) -> list[Array]:
    """Return B.l in the shape of weight.(l+1), uniform in +-1, for the hidden layers."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1.0, 1.0, segment.weight.shape) for segment in segments[1:]]
