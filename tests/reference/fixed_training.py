"""One whole training step on Python integers, for every rule and layer.

From a plain description of network, settings and datapath (the tables of a TOML file as a dict) and a state by tensor
names. `fixed_forward.py` says what a network is. Settings: ``loss``, ``rate``, and where they are not these: ``hook``
"pre_pool", ``error_scale`` "loss_gradient", ``target`` "label", ``optimizer`` "sgd", ``feedback_optimizer`` and
``feedback_rate`` those of the weights, ``weight_decay`` and ``feedback_decay`` 0, ``clip`` "", ``fgsm`` 0, ``freeze`` ().
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .fixed_back import Back, one_hot, times_slope
from .fixed_casts import Counts, Run
from .fixed_datapath import Tables
from .fixed_forward import Forward, codes, forward, slope
from .fixed_numbers import Num, Raw, aligned, each
from .fixed_signals import RULES, bp
from .fixed_updates import (
    Rule,
    bias_gradient,
    clipped,
    feedback_gradient,
    learn,
    norm_gradients,
    weight_gradient,
)

State = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """New state (arrays of Python integers by name), every tensor on the way, (saturations, wraps) by site."""

    state: State
    tensors: dict[str, Num]
    counts: Counts


def _error(run: Run, at: Forward, clean: Num, labels: Any, settings: dict[str, Any]) -> Num:
    """Return ``cast(output - target)``."""
    output, site = at.output, f"{at.prefix}error"
    if settings.get("target", "label") == "label":
        return run.cast(site, output.like(output.raw - one_hot(run, labels, output)), "error")
    (found, wanted), frac = aligned(output, clean.reshaped(len(clean.raw), -1))
    return run.cast(site, Num(found - wanted, frac), "error")


def _output_delta(run: Run, at: Forward, error: Num, loss: str) -> Num:
    """Return delta.L: the error, or for mse ``cast(2 * error * slope.L)``, the factor as one fraction bit less."""
    if loss != "mse":
        return error
    last = at.passed[-1]
    product = times_slope(error, slope(run, last, at.prefix))
    return run.cast(f"{at.prefix}delta.{last.index}", Num(product.raw, product.frac - 1), "delta")


def _back(run: Run, at: Forward, state: State, clean: Num, labels: Any, settings: dict[str, Any], bounds: Any) -> Back:
    error = _error(run, at, clean, labels, settings)
    last = _output_delta(run, at, error, settings["loss"])
    found = Back(run, at, state, bounds, settings, labels, error, last, prefix=at.prefix)
    found.deltas[len(at.passed)] = last
    return found


def _moved(run: Run, net: dict[str, Any], state: State, clean: Num, labels: Any, settings: dict[str, Any]) -> Num:
    """Return ``act.0 = cast(clean + sign(signal) * RND(eps * 2^F))``, the signal by true backpropagation."""
    at = forward(run, net, state, clean, "clean.")
    b = _back(run, at, state, clean, labels, settings, {})
    bp(b)
    signal = b.down("clean.signal.0", 1, b.deltas[1], b.passed(1).weight).reshaped(*clean.raw.shape)
    if at.input_mask is not None:
        signal = run.keep("clean.signal_masked.0", Num(signal.raw * at.input_mask, signal.frac - at.input_scale_bits))
    eps = math.floor(Fraction(settings["fgsm"]) * Fraction(2) ** clean.frac + Fraction(1, 2))
    raw: Raw = clean.raw + each(lambda x: (x > 0) - (x < 0), signal.raw) * eps
    return run.keep("act.0", run.into("act.0", Num(raw, clean.frac), run.tables.fmt("input", "act.0"), ("RND", "SAT")))


def train_step(
    rule: str,
    net: dict[str, Any],
    datapath: dict[str, Any],
    settings: dict[str, Any],
    state: State,
    given: Any,
    labels: Any,
    *,
    seed: int,
    step: int,
    bounds: dict[str, float] | None = None,
) -> Result:
    """Return one training step. `given` are N rows of codes, `bounds` the largest magnitude of each feedback tensor."""
    run = Run(Tables(datapath), seed, step)
    labels = [int(label) for label in labels]
    clean = codes(given, run.tables.fmt("input", "act.0"), tuple(net["input_shape"]))
    moved = clean
    if settings.get("fgsm"):
        run.keep("clean.act.0", clean)
        moved = _moved(run, net, state, clean, labels, settings)
    at = forward(run, net, state, moved)
    b = _back(run, at, state, clean, labels, settings, bounds or {})
    RULES[rule](b)
    new = dict(state)
    _update(rule, run, b, net, settings, state, new)
    for passed in at.passed:
        if passed.normed is not None:
            new[f"running_mean.{passed.index}"] = passed.normed.mean
            new[f"running_var.{passed.index}"] = passed.normed.variance
    return Result(new, run.tensors, run.counts)


def _update(rule: str, run: Run, b: Back, net: dict[str, Any], settings: dict[str, Any], state: State, new: State) -> None:
    tables, clip, optimizer = run.tables, settings.get("clip", ""), settings.get("optimizer", "sgd")
    weights = Rule(settings["rate"], optimizer, settings.get("weight_decay", 0.0))
    others = Rule(settings["rate"], optimizer, 0.0)
    of_feedback = Rule(
        settings.get("feedback_rate", settings["rate"]),
        settings.get("feedback_optimizer") or optimizer,
        settings.get("feedback_decay", weights.decay),
    )
    gradients: dict[int, Num] = {}

    def gradient(layer: int) -> Num:
        if layer not in gradients:
            gradients[layer] = clipped(run, f"weight.{layer}", weight_gradient(b, layer), clip)
        return gradients[layer]

    for layer, layer_net in enumerate(net["layers"], 1):
        if layer not in b.deltas or layer in settings.get("freeze", ()):
            continue
        limit = layer_net.get("limit") or 0.0
        own, master = tables.weight(layer, limit), tables.master(layer, limit)
        learn(run, f"weight.{layer}", state, new, gradient(layer), (own, master), weights)
        if tables.has_bias:
            name = f"bias.{layer}"
            found = clipped(run, name, bias_gradient(b, layer), clip)
            learn(run, name, state, new, found, (tables.fmt("bias", name), None), others)
        if layer in b.normed:
            for part, found in norm_gradients(b, layer).items():
                name = f"{part}.{layer}"
                learn(run, name, state, new, clipped(run, name, found, clip), (tables.fmt("norm", name), None), others)
    for layer in b.hidden if rule in ("kp", "dkp") else ():
        name = f"feedback.{layer}"
        found = gradient(layer + 1) if rule == "kp" else clipped(run, name, feedback_gradient(b, layer), clip)
        fmt = b.format_of(name)
        like = found.reshaped(*state[name].shape)
        learn(run, name, state, new, like, (fmt, tables.feedback_master(fmt)), of_feedback)


def outputs(
    net: dict[str, Any], datapath: dict[str, Any], state: State, given: Any, *, seed: int = 0, step: int = 0
) -> Raw:
    """Return the raw outputs of an evaluation, (N, K)."""
    run = Run(Tables(datapath), seed, step)
    act = codes(given, run.tables.fmt("input", "act.0"), tuple(net["input_shape"]))
    return forward(run, net, state, act, training=False).output.raw
