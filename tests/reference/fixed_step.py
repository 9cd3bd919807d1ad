"""One fixed-point training step of each rule in plain Python integers.

A matrix is a list of rows of ints, value = raw * 2^-frac. Lists start at layer 1; shapes: N batch,
I inputs of a layer, J its units, K outputs.

`spec` describes the datapath: formats under "input", "weight", "master" (or None), "bias",
"preact", "act", "slope", "error", "delta" as (bits, frac, signed); "feedback" a list of formats,
one per hidden layer; "cast" a dict from the kind of a site (preact, error, delta, update, weight)
to (rounding, overflow). `state` holds the lists "weight", "master" (or None), "bias" and
"feedback" (or None).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .fixed_rules import RULES, Backward
from .fixed_sites import Counts, Matrix, Sites, multiply, times, to_ints, transposed
from .integers import (
    Fmt,
    cast,
    function_value,
    limits,
    round_shift,
    slope_table,
    slope_value,
    table,
)

__all__ = ["Fmt", "cast", "evaluate", "round_shift", "slope_table", "step", "table"]


@dataclass
class _Forward:
    """What the forward pass leaves: acts of the layers 0..L, slopes of 1..L (None if linear)."""

    acts: list[Matrix]
    slopes: list[Matrix | None]


def _functions(name: str, preact: Matrix, spec: dict[str, Any], functions: str) -> tuple[Matrix, Matrix | None]:
    """Return (act, slope) of one layer, from a table or computed entry by entry."""
    z_fmt, act_fmt, slope_fmt = spec["preact"], spec["act"], spec["slope"]
    linear = name == "linear"
    if functions == "table":
        low = limits(z_fmt)[0]
        acts = table(name, z_fmt, act_fmt)
        slopes = () if linear else slope_table(name, z_fmt, slope_fmt)
        act = [[acts[z - low] for z in row] for row in preact]
        return act, None if linear else [[slopes[z - low] for z in row] for row in preact]
    if functions == "exact":
        act = [[function_value(name, z, z_fmt, act_fmt) for z in row] for row in preact]
        if linear:
            return act, None
        return act, [[slope_value(name, z, z_fmt, slope_fmt) for z in row] for row in preact]
    raise ValueError(f"unknown functions {functions!r}")


def _forward(
    state: dict[str, Any],
    codes: Any,
    spec: dict[str, Any],
    hidden: str,
    output: str,
    functions: str,
    sites: Sites,
) -> _Forward:
    acts: list[Matrix] = [to_ints(codes)]
    slopes: list[Matrix | None] = []
    act_frac, bias_frac = spec["input"][1], spec["bias"][1]
    layers = len(state["weight"])
    for layer in range(1, layers + 1):
        weight, bias = to_ints(state["weight"][layer - 1]), to_ints(state["bias"][layer - 1])
        product_frac = act_frac + spec["weight"][1]
        acc_frac = max(product_frac, bias_frac)
        p, q = 2 ** (acc_frac - product_frac), 2 ** (acc_frac - bias_frac)
        products = multiply(acts[-1], transposed(weight))
        acc = [[x * p + b * q for x, b in zip(row, bias, strict=True)] for row in products]
        preact = sites.cast(f"preact.{layer}", acc, acc_frac, spec["preact"])
        act, slope = _functions(output if layer == layers else hidden, preact, spec, functions)
        acts.append(act)
        slopes.append(slope)
        act_frac = spec["act"][1]
    return _Forward(acts, slopes)


def evaluate(
    state: dict[str, Any],
    codes: Any,
    spec: dict[str, Any],
    *,
    hidden: str,
    output: str,
    functions: str = "table",
    seed: int = 0,
    step: int = 0,
) -> Matrix:
    """Return the raw output act of the forward pass, (N, K)."""
    sites = Sites(spec, seed, step)
    return _forward(state, codes, spec, hidden, output, functions, sites).acts[-1]


def step(
    rule: str,
    state: dict[str, Any],
    codes: Any,
    labels: Any,
    spec: dict[str, Any],
    *,
    hidden: str,
    output: str,
    loss: str,
    lr_shift: int,
    seed: int,
    step: int,
    error_scale: str = "loss_gradient",
    functions: str = "table",
) -> tuple[dict[str, Any], Counts]:
    """Return (new state, counts) of one training step with learning rate 2^-lr_shift.

    Every delta is computed before any update. `error_scale` has no effect on bp, fa, shallow.
    Counts are (saturations, wraps) by site name.
    """
    if error_scale not in ("loss_gradient", "raw"):
        raise ValueError(f"unknown error_scale {error_scale!r}")
    sites = Sites(spec, seed, step)
    forward = _forward(state, codes, spec, hidden, output, functions, sites)
    out, act_frac = forward.acts[-1], spec["act"][1]
    target = [[int(k == int(label)) for k in range(len(out[0]))] for label in labels]
    difference = [[y - t * 2**act_frac for y, t in zip(ys, ts, strict=True)] for ys, ts in zip(out, target, strict=True)]
    error = sites.cast("error", difference, act_frac, spec["error"])

    layers = len(state["weight"])
    error_frac, delta_frac = spec["error"][1], spec["delta"][1]
    if loss == "bce" and output == "sigmoid":
        last, last_frac = error, error_frac
    elif loss == "mse":
        slope = forward.slopes[-1]
        product = error if slope is None else times(error, slope)
        frac = error_frac - 1 if slope is None else error_frac + spec["slope"][1] - 1
        last, last_frac = sites.cast(f"delta.{layers}", product, frac, spec["delta"]), delta_frac
    else:
        raise ValueError(f"no fixed-point output delta for {loss!r} with {output!r}")
    backward = Backward(
        weights=to_ints(state["weight"]),
        feedback=to_ints(state["feedback"]) or [],
        slopes=forward.slopes,
        error=error,
        target=target,
        last=last,
        last_frac=last_frac,
        two=loss == "mse",
        raw=error_scale == "raw",
        spec=spec,
        sites=sites,
    )
    deltas = [*RULES[rule](backward), last]
    fracs = [delta_frac] * (layers - 1) + [last_frac]
    return _update(state, forward.acts, deltas, fracs, lr_shift, spec, sites), sites.counts


def _update(
    state: dict[str, Any],
    acts: list[Matrix],
    deltas: list[Matrix | None],
    delta_fracs: list[int],
    lr_shift: int,
    spec: dict[str, Any],
    sites: Sites,
) -> dict[str, Any]:
    """Return the state after the update of each layer that has a delta."""
    new = {key: to_ints(state.get(key)) for key in ("weight", "master", "bias", "feedback")}
    with_master = spec["master"] is not None
    trained, fmt = ("master", spec["master"]) if with_master else ("weight", spec["weight"])
    for layer, (delta, delta_frac) in enumerate(zip(deltas, delta_fracs, strict=True), start=1):
        if delta is None:
            continue
        act, act_frac = acts[layer - 1], spec["input" if layer == 1 else "act"][1]
        sums = multiply(transposed(delta), act)
        shift = delta_frac + act_frac + lr_shift - fmt[1]
        moved = sites.update(f"update.weight.{layer}", new[trained][layer - 1], sums, shift, fmt)
        new[trained][layer - 1] = moved
        if with_master:
            copy = sites.cast(f"weight.{layer}", moved, fmt[1], spec["weight"])
            new["weight"][layer - 1] = copy
        sums = [[sum(column) for column in transposed(delta)]]
        shift, bias = delta_frac + lr_shift - spec["bias"][1], [new["bias"][layer - 1]]
        new["bias"][layer - 1] = sites.update(f"update.bias.{layer}", bias, sums, shift, spec["bias"])[0]
    return new
