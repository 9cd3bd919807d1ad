"""Gradients, clipping, momentum and updates in fixed point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from . import fixed_maps as maps
from .fixed_back import Back
from .fixed_casts import Run
from .fixed_forward import power_of_two
from .fixed_numbers import Fmt, Num, Raw, aligned, each, integers, round_quotient, round_shift

State = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """How a group of parameters learns."""

    rate: float
    optimizer: str
    decay: float


def multiplier(rate: float, bits: int) -> tuple[int, int]:
    """Return (M, k) of the number M * 2^-k nearest to a rate, 2^(bits - 1) <= M < 2^bits, ties up."""
    k = -300
    while math.floor(Fraction(rate) * Fraction(2) ** k) < 2 ** (bits - 1):
        k += 1
    m = math.floor(Fraction(rate) * Fraction(2) ** k + Fraction(1, 2))
    return (m, k) if m < 2**bits else (m // 2, k - 1)


# --- gradients ------------------------------------------------------------------------------------------------------


def weight_gradient(b: Back, layer: int) -> Num:
    """Return the sum over the batch of delta times input."""
    passed, delta = b.passed(layer), b.deltas[layer]
    frac = delta.frac + passed.source.frac
    if passed.layer["kind"] == "dense":
        products = delta.raw.T[:, None, :] * passed.source.raw.T  # (J, I, N)
    else:
        kernel = passed.weight.raw.shape[1:3]
        stride, padding = passed.layer.get("stride", 1), passed.layer.get("padding", 0)
        products = maps.conv_weight_products(delta.raw, passed.source.raw, kernel, stride, padding)
    return _gradient(b.run, f"gradient.weight.{layer}", products, frac)


def bias_gradient(b: Back, layer: int) -> Num:
    """Return the sum of deltas over samples and places."""
    delta = b.deltas[layer]
    return _gradient(b.run, f"gradient.bias.{layer}", delta.raw.reshape(-1, delta.raw.shape[-1]).T, delta.frac)


def feedback_gradient(b: Back, layer: int) -> Num:
    """Return dkp's ``delta.L.T @ a``, a the activation at the hook."""
    act = b.active(layer)
    products = b.last.raw.T[:, None, :] * act.raw.T
    return _gradient(b.run, f"gradient.feedback.{layer}", products, b.last.frac + act.frac)


def norm_gradients(b: Back, layer: int) -> dict[str, Num]:
    """Return the exact ``gain: sum of d * normal``, ``shift: sum of d``."""
    d, normed = b.normed[layer], b.passed(layer).normed
    assert normed is not None
    rows = d.raw.reshape(-1, d.raw.shape[-1])
    normal = normed.normal.raw.reshape(rows.shape)
    found = {
        "gain": Num((rows * normal).sum(axis=0), d.frac + normed.normal.frac),
        "shift": Num(rows.sum(axis=0), d.frac),
    }
    return {name: b.run.keep(f"gradient.{name}.{layer}", gradient) for name, gradient in found.items()}


def _gradient(run: Run, name: str, products: Raw, frac: int) -> Num:
    total = run.sum(name, "gradient", products, frac)
    return run.cast(name, total, "gradient") if run.tables.has("gradient") else run.keep(name, total)


def clipped(run: Run, parameter: str, gradient: Num, clip: str) -> Num:
    """Return the gradient held in +-floor(c * 2^F)."""
    if not clip:
        return gradient
    kind, _, limit = clip.partition(":")
    if kind != "value":
        raise ValueError(f"fixed point clips by value, not {kind}")
    most = math.floor(Fraction(float(limit)) * Fraction(2) ** gradient.frac)
    return run.keep(f"clipped.{parameter}", gradient.like(each(lambda x: max(-most, min(most, x)), gradient.raw)))


# --- updates --------------------------------------------------------------------------------------------------------


def velocity(run: Run, parameter: str, state: State, gradient: Num) -> Num:
    """Return v = cast(M v / 2^m + g)."""
    fmt, factor = run.tables.fmt("momentum", f"velocity.{parameter}"), Fraction(run.tables.tables["momentum"]["factor"])
    old = Num(integers(state[f"velocity.{parameter}"]) * factor.numerator, fmt.frac + power_of_two(factor.denominator))
    (kept, added), frac = aligned(old, gradient)
    return run.into(f"velocity.{parameter}", Num(kept + added, frac), fmt, run.tables.modes("momentum"))


def _step(run: Run, site: str, g: Num, frac: int, rate: float) -> Raw:
    """Return round(g * 2^-(F_g - F_w) * rate)."""
    kind, _, number = run.tables.tables["update"].get("rate", "shift").partition(":")
    mode = run.tables.modes("update")[0]
    if kind == "shift":
        return run.rounded(site, g.raw, g.frac - frac - power_of_two(rate), mode)
    if kind == "multiply":
        m, k = multiplier(rate, int(number))
        return run.rounded(site, g.raw * m, g.frac - frac + k, mode)
    if kind == "divide":
        n = round(1 / rate)
        return each(lambda x: round_quotient(x, n, mode), g.at(frac))
    return run.rounded(site, g.raw, int(number), mode)


def _by_one(run: Run, site: str, g: Num, frac: int, rate: float) -> Raw:
    """Return sign(g) where p >= u: p = min(|g| * 2^-(F_g - F_w + k) * 2^b, 2^b) rounded down, u a word of b bits."""
    bits = run.words.bits or 16
    scale = Fraction(2) ** (bits - (g.frac - frac - power_of_two(rate)))
    out = np.zeros(g.raw.size, dtype=object)
    for index, x in enumerate(g.raw.reshape(-1)):
        p = min(math.floor(abs(x) * scale), 2**bits)
        u = run.words.word(site, index, g.raw.size) % 2**bits
        if x and p >= u:
            out[index] = 1 if x > 0 else -1
    return out.reshape(g.raw.shape)


def updated(run: Run, site: str, old: Raw, gradient: Num, fmt: Fmt, how: Rule) -> Raw:
    """Return overflow(w - step - shrink)."""
    mode, overflow = run.tables.modes("update")
    by_one = run.tables.tables["update"].get("kind", "subtract") == "plus_minus_one"
    step = (_by_one if by_one else _step)(run, site, gradient, fmt.frac, how.rate).reshape(old.shape)
    new = old - step
    if how.decay:
        j, rounding = -power_of_two(how.decay), "RND" if mode == "STOCH" else mode
        new = new - each(lambda w: round_shift(w, j, rounding), old)
    return run.ranged(site, new, fmt, overflow)


def learn(
    run: Run, parameter: str, state: State, new: State, gradient: Num, fmts: tuple[Fmt, Fmt | None], how: Rule
) -> None:
    """Put a parameter's new value, its master's and its velocity's into `new`; fmts: of itself, of its master."""
    if how.optimizer == "momentum":
        gradient = velocity(run, parameter, state, gradient)
        new[f"velocity.{parameter}"] = gradient.raw
    elif how.optimizer != "sgd":
        raise ValueError(f"optimizer {how.optimizer} has no fixed-point form")
    own, master = fmts
    group, _, layer = parameter.rpartition(".")
    root = f"master.{layer}" if group == "weight" else f"master.{parameter}"
    name, fmt = (parameter, own) if master is None else (root, master)
    raw = updated(run, f"update.{parameter}", integers(state[name]), gradient, fmt, how)
    new[name] = raw
    if master is not None:
        new[parameter] = run.into(parameter, Num(raw, fmt.frac), own, run.tables.modes("weight")).raw
