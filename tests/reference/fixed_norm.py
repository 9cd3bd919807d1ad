"""Batch normalisation by shifts: no division but by the number of values, no square root."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fixed_casts import Run
from .fixed_numbers import Num, Raw, aligned, each, round_shift

EXTRA = 8  # fraction bits that running statistics have beyond preact's


@dataclass(frozen=True)
class Normed:
    """One layer's normalisation: normal and normed in preact's format, 2^e the channel's deviation, new statistics."""

    normal: Num
    normed: Num
    exponent: Raw
    mean: Raw
    variance: Raw


def _mean(total: int, count: int) -> int:
    """Return floor((2 total + M) / (2 M))."""
    return (2 * total + count) // (2 * count)


def _finish(run: Run, names: tuple[str, str], c: Raw, e: Raw, gain: Num, shift: Num, frac: int) -> tuple[Num, Num]:
    """Return (normal, normed) of the centred numbers c."""
    layer = names[0].rpartition(".")[2]
    fmt, modes = run.tables.fmt("preact", f"preact.{layer}"), run.tables.modes("preact")
    # normal = cast(c, e - F bits dropped), e of the channel
    raw = run.rounded(names[0], c, e - frac, modes[0])
    normal = run.keep(names[0], Num(run.ranged(names[0], raw, fmt, modes[1]), frac))
    # normed = cast(gain * normal + shift)
    (product, added), at = aligned(Num(gain.raw * normal.raw, gain.frac + frac), shift)
    return normal, run.keep(names[1], run.into(names[1], Num(product + added, at), fmt, modes))


def normalise(run: Run, layer: int, prefix: str, x: Num, gain: Num, shift: Num, running: tuple[Raw, Raw]) -> Normed:
    """Return batch normalisation over all axes but the last."""
    rows = x.raw.reshape(-1, x.raw.shape[-1])
    count = len(rows)
    m = each(lambda total: _mean(total, count), rows.sum(axis=0))
    c = x.raw - m
    var = each(lambda squares: squares // count, (c.reshape(rows.shape) ** 2).sum(axis=0))
    e = each(lambda v: v.bit_length() // 2, var)
    names = f"{prefix}normal.{layer}", f"{prefix}normed.{layer}"
    normal, normed = _finish(run, names, c, e, gain, shift, x.frac)
    mean, variance = (
        old + each(lambda now, was: round_shift(now * 2**EXTRA - was, 3, "RND"), batch, old)
        for batch, old in zip((m, var), running, strict=True)
    )
    return Normed(normal, normed, e, mean, variance)


def normalise_evaluating(run: Run, layer: int, x: Num, gain: Num, shift: Num, running: tuple[Raw, Raw]) -> Num:
    """Return normed by the running statistics."""
    m = each(lambda mean: round_shift(mean, EXTRA, "RND"), running[0])
    e = each(lambda variance: (variance >> EXTRA).bit_length() // 2, running[1])
    return _finish(run, (f"normal.{layer}", f"normed.{layer}"), x.raw - m, e, gain, shift, x.frac)[1]


def back(run: Run, site: str, d: Num, normed: Normed, gain: Num) -> Num:
    """Return delta at the pre-activation for d at normed."""
    normal, frac = normed.normal, normed.normal.frac
    channels = d.raw.shape[-1]
    rows, normals = d.raw.reshape(-1, channels), normal.raw.reshape(-1, channels)
    count = len(rows)
    md = each(lambda total: _mean(total, count), rows.sum(axis=0))
    mt = each(lambda total: _mean(total, count), (rows * normals).sum(axis=0))
    # v = d - md - RND(normal * mt / 2^(2F))
    v = rows - md - each(lambda x: round_shift(x, 2 * frac, "RND"), normals * mt)
    # delta = cast(gain * v) at F_gain + F_d + e - F fraction bits, e of the channel
    if run.tables.exponent("delta") is not None:
        raise ValueError(f"{site}: every channel has a point of its own, one exponent cannot be chosen")
    fmt, modes = run.tables.fmt("delta", site), run.tables.modes("delta")
    dropped = gain.frac + d.frac + normed.exponent - frac - fmt.frac
    raw = run.rounded(site, (gain.raw * v).reshape(d.raw.shape), np.asarray(dropped, dtype=object), modes[0])
    return run.keep(site, Num(run.ranged(site, raw, fmt, modes[1]), fmt.frac))
