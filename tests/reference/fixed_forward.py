"""The forward pass on integers, segment by segment: layer -> normalisation -> activation -> dropout -> pooling.

A layer is a dict: ``kind`` ("dense" or "conv"), ``activation``, and where they are not these: ``stride`` 1, ``padding`` 0,
``norm`` False, ``dropout`` 0.0, ``pool`` None or ("max" or "average", kernel, stride), ``limit`` None (bound of the initial
weights, for ``range = "init"``). A network is a dict: ``layers``, ``input_dropout``, ``dropout_kind``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from . import fixed_maps as maps
from .fixed_casts import Run
from .fixed_norm import Normed, normalise, normalise_evaluating
from .fixed_numbers import Fmt, Num, Raw, each, integers, limits
from .fixed_softmax import softmax
from .fixed_tables import look_up, reciprocal_slope

Layer = dict[str, Any]
State = dict[str, Any]


@dataclass(frozen=True)
class Passed:
    """A segment after its forward pass."""

    index: int
    layer: Layer
    weight: Num
    source: Num  # what the weights multiply, rows or maps
    preact: Num
    read: Num  # what the activation reads: normed or preact
    normed: Normed | None
    gain: Num | None
    act: Num
    act_fmt: Fmt
    mask: Raw | None
    scale_bits: int
    places: Raw | None
    end: Num


@dataclass(frozen=True)
class Forward:
    """The whole pass; `given` is act.0 before input dropout."""

    given: Num
    input_mask: Raw | None
    input_scale_bits: int
    passed: list[Passed]
    prefix: str

    @property
    def output(self) -> Num:
        """The last segment's activation."""
        return self.passed[-1].act


def power_of_two(value: float) -> int:
    """Return log2 of a power of two."""
    mantissa, exponent = math.frexp(value)
    if mantissa != 0.5:
        raise ValueError(f"{value} is no power of two")
    return exponent - 1


def parameter(state: State, name: str, fmt: Fmt) -> Num:
    """Return a tensor of the state."""
    return Num(integers(state[name]), fmt.frac)


def dropped(run: Run, name: str, site: str, given: Num, fmt: Fmt, drop: float, kind: str) -> tuple[Num, Raw, int]:
    """Return (cast(c * mask * a), mask, log2 c); c = 1 / (1 - p), or 1 for classical dropout."""
    bits = power_of_two(1.0 / (1.0 - drop)) if kind == "inverted" else 0
    threshold = math.floor(Fraction(drop) * 2**32)
    count = given.raw.size
    mask = integers([int(run.mask_word(site, index) >= threshold) for index in range(count)]).reshape(given.raw.shape)
    run.keep(site.replace("dropout", "mask"), Num(mask, 0))
    kept = Num(mask * given.raw, given.frac - bits)
    return run.keep(name, run.into(name, kept, fmt._replace(frac=given.frac), run.tables.modes("act"))), mask, bits


def _preact(
    run: Run, layer: Layer, name: str, source: Num, weight: Num, bias: Num | None, fmts: tuple[Fmt, Fmt], own_point: bool
) -> Num:
    if layer["kind"] == "dense":
        products = source.raw[:, None, :] * weight.raw  # (N, J, I)
    else:
        products = maps.conv_products(source.raw, weight.raw, layer.get("stride", 1), layer.get("padding", 0))
    frac = source.frac + weight.frac
    fan_in = products.shape[-1]
    if bias is not None and own_point:
        # a sum with an exponent of its own: the bias comes to its binary point, in its width
        widest = fan_in * math.prod(max(-low, high) for low, high in map(limits, fmts))
        fmt = Fmt(widest.bit_length() + 1, frac)
        bias = run.into(f"aligned.bias.{name.rpartition('.')[2]}", bias, fmt, ("RND", "SAT"))
    total = run.sum(name, "forward", products, frac, bias)
    return run.cast(name, total, "preact", run.tables.divisor(fan_in))


def keeps_point(run: Run, layer: Layer) -> bool:
    """Tell whether a layer's activation stands at a binary point that its pre-activation chose."""
    own = run.tables.exponent("preact")
    return own is not None and own.keep and layer["activation"] in ("relu", "linear")


def _activation(run: Run, layer: Layer, name: str, read: Num, preact_name: str) -> tuple[Num, Fmt]:
    tables, function = run.tables, layer["activation"]
    preact, fmt = tables.fmt("preact", preact_name), tables.fmt("act", name)
    if keeps_point(run, layer):
        # stands where the pre-activation does: there is nothing to cast
        raw = each(lambda x: max(x, 0), read.raw) if function == "relu" else read.raw
        return run.keep(name, Num(raw, read.frac)), preact
    if function == "relu":
        return run.cast(name, read.like(each(lambda x: max(x, 0), read.raw)), "act"), fmt
    if function == "softmax":
        raw = softmax(read.raw, read.frac, fmt.frac, tables.functions.get("softmax_bits", 8))
        return run.keep(name, Num(run.ranged(name, raw, fmt, "SAT"), fmt.frac)), fmt
    own = tables.exponent("preact")
    if own is not None and own.keep:
        raise ValueError(f"{preact_name} addresses a table and cannot keep an exponent of its own")
    return run.keep(name, look_up(function, "act", read, preact, fmt, tables.functions)), fmt


def _segment(
    run: Run, net: dict[str, Any], index: int, state: State, given: Num, given_fmt: Fmt, prefix: str, training: bool
) -> tuple[Passed, Fmt]:
    layer, tables = net["layers"][index - 1], run.tables
    last = index == len(net["layers"])
    weight_fmt = tables.weight(index, layer.get("limit") or 0.0)
    weight = parameter(state, f"weight.{index}", weight_fmt)
    bias = parameter(state, f"bias.{index}", tables.fmt("bias", f"bias.{index}")) if tables.has_bias else None
    source = given if layer["kind"] == "conv" else given.reshaped(len(given.raw), -1)
    name = f"{prefix}preact.{index}"
    own_point = index > 1 and keeps_point(run, net["layers"][index - 2])
    preact = read = _preact(run, layer, name, source, weight, bias, (given_fmt, weight_fmt), own_point)
    normed = gain = None
    if layer.get("norm"):
        gain, shift = (
            parameter(state, f"{each_}.{index}", tables.fmt("norm", f"{each_}.{index}")) for each_ in ("gain", "shift")
        )
        running = integers(state[f"running_mean.{index}"]), integers(state[f"running_var.{index}"])
        if training:
            normed = normalise(run, index, prefix, preact, gain, shift, running)
            read = normed.normed
        else:
            read = normalise_evaluating(run, index, preact, gain, shift, running)
    pool, drop = layer.get("pool"), layer.get("dropout", 0.0)
    active = "output" if last else f"map.{index}" if pool or drop else f"act.{index}"
    act, fmt = _activation(run, layer, prefix + active, read, name)
    end, mask, bits, places = act, None, 0, None
    out = f"{prefix}{'dropped' if pool else 'act'}.{index}"
    if drop and training:
        end, mask, bits = dropped(run, out, f"{prefix}dropout.{index}", act, fmt, drop, net.get("dropout_kind", "inverted"))
    elif drop:
        end = run.keep(out, _kept_expectation(run, out, act, fmt, drop, net.get("dropout_kind", "inverted")))
    if pool and pool[0] == "max":
        raw, places = maps.max_pool(end.raw, pool[1], pool[2])
        end = run.keep(f"{prefix}act.{index}", end.like(raw))
        run.keep(f"{prefix}pool_index.{index}", Num(places, 0))
    elif pool:
        site = f"{prefix}act.{index}"
        total = maps.window_sum(end, pool[1], pool[2])
        end = run.keep(site, run.into(site, total, fmt._replace(frac=end.frac), tables.modes("act")))
    return Passed(index, layer, weight, source, preact, read, normed, gain, act, fmt, mask, bits, places, end), fmt


def _kept_expectation(run: Run, name: str, act: Num, fmt: Fmt, drop: float, kind: str) -> Num:
    """Return dropout's counterpart in evaluation: the values, or (1 - p) of them for the classical kind."""
    bits = power_of_two(1.0 - drop) if kind == "classical" else 0
    return run.into(name, Num(act.raw, act.frac - bits), fmt._replace(frac=act.frac), run.tables.modes("act"))


def forward(run: Run, net: dict[str, Any], state: State, given: Num, prefix: str = "", *, training: bool = True) -> Forward:
    """Return every segment after the forward pass of act.0, (N, I) or (N, H, W, C)."""
    fmt = run.tables.fmt("input", "act.0")
    here, input_mask, bits = given, None, 0
    drop, kind = net.get("input_dropout", 0.0), net.get("dropout_kind", "inverted")
    if drop and training:
        name = f"{prefix}dropped.0"
        here, input_mask, bits = dropped(run, name, f"{prefix}dropout.0", given, fmt, drop, kind)
    elif drop:
        here = run.keep("dropped.0", _kept_expectation(run, "dropped.0", given, fmt, drop, kind))
    passed = []
    for index in range(1, len(net["layers"]) + 1):
        each_, fmt = _segment(run, net, index, state, here, fmt, prefix, training)
        passed.append(each_)
        here = each_.end
    return Forward(given, input_mask, bits, passed, prefix)


def slope(run: Run, passed: Passed, prefix: str) -> tuple[str, Num | None]:
    """Return ("product", slope), ("mask", 0 or 1), ("divide", d), or ("one", None) of a linear layer."""
    function, name, tables = passed.layer["activation"], f"{prefix}slope.{passed.index}", run.tables
    if function == "linear":
        return "one", None
    if function == "relu":
        high = limits(passed.act_fmt)[1]
        clipped = tables.functions.get("relu", "plain") == "clipped"
        mask = each(lambda a: int(a > 0 and (a < high or not clipped)), passed.act.raw)
        return "mask", run.keep(name, Num(mask, 0))
    preact = tables.fmt("preact", f"{prefix}preact.{passed.index}")
    if tables.functions.get("slope", "product") == "divide":
        return "divide", run.keep(name, Num(reciprocal_slope(function, passed.read, preact, tables.functions), 0))
    fmt = tables.fmt("slope", name)
    return "product", run.keep(name, look_up(function, "slope", passed.read, preact, fmt, tables.functions))


def codes(given: Any, fmt: Fmt, shape: tuple[int, ...]) -> Num:
    """Return act.0: the codes as they are, in the format of `[input]`."""
    raw = integers(given)
    return Num(raw.reshape(len(raw), *shape), fmt.frac)
