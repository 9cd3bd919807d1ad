"""From the error to the deltas: transport through matrices, and the way back through a segment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import fixed_maps as maps
from .fixed_casts import Run
from .fixed_forward import Forward, Passed, slope
from .fixed_norm import back
from .fixed_numbers import Fmt, Num, Raw, each, integers, round_quotient


@dataclass
class Back:
    """What the rules read: the forward pass, errors, feedback; `deltas` and `normed` are filled layer by layer."""

    run: Run
    at: Forward
    state: dict[str, Any]
    bounds: dict[str, float]
    settings: dict[str, Any]
    labels: list[int]
    error: Num
    last: Num
    prefix: str = ""
    deltas: dict[int, Num] = field(default_factory=dict)
    normed: dict[int, Num] = field(default_factory=dict)
    slopes: dict[int, tuple[str, Num | None]] = field(default_factory=dict)

    @property
    def hidden(self) -> range:
        """Numbers of the hidden layers."""
        return range(1, len(self.at.passed))

    def passed(self, layer: int) -> Passed:
        """Return a layer's forward pass."""
        return self.at.passed[layer - 1]

    @property
    def raw(self) -> bool:
        """Whether direct feedback carries the error itself."""
        return self.settings.get("error_scale", "loss_gradient") == "raw"

    @property
    def sent(self) -> Num:
        """What direct feedback carries: delta.L, or the error."""
        return self.error if self.raw else self.last

    @property
    def factor_bits(self) -> int:
        """log2 of the factor s of signs and targets: 2 for mse, 1 if raw."""
        return 1 if self.settings["loss"] == "mse" and not self.raw else 0

    @property
    def hook(self) -> str:
        """Where direct feedback arrives: "activation" or "end"."""
        return "activation" if self.settings.get("hook", "pre_pool") == "pre_pool" else "end"

    def active(self, layer: int) -> Num:
        """Return the activation at the hook, (N, units)."""
        act = self.passed(layer).act if self.hook == "activation" else self.passed(layer).end
        return act.reshaped(len(act.raw), -1)

    # --- transport -------------------------------------------------------------------------------------------------

    def format_of(self, name: str) -> Fmt:
        """Return the format of a feedback matrix."""
        return self.run.tables.feedback(name, self.bounds.get(name, 1.0))

    def matrix(self, root: str, layer: int) -> Num:
        """Return a stored matrix as it is, or a sparse one as a dense (K, J)."""
        name = f"{root}.{layer}"
        values = integers(self.state[name])
        places = self.state.get(f"{root}_index.{layer}")
        starts = self.state.get(f"{root}_start.{layer}")
        if places is None:
            return Num(values, self.format_of(name).frac)
        outputs = self.error.raw.shape[1]
        units = len(values) if starts is None else len(starts) - 1
        dense = np.zeros((outputs, units), dtype=object)
        flat, at = values.reshape(-1), np.asarray(places).reshape(-1)
        for unit in range(units):
            count = len(values[0]) if starts is None else 0
            first, stop = (unit * count, (unit + 1) * count) if starts is None else (starts[unit], starts[unit + 1])
            for entry in range(int(first), int(stop)):
                dense[int(at[entry]), unit] += flat[entry]
        return Num(dense, self.format_of(name).frac)

    def transported(self, name: str, sent: Num, matrix: Num, *, exact: bool = False) -> Num:
        """Return ``sent @ matrix`` as the accumulator forms it."""
        sent, flat = sent.reshaped(len(sent.raw), -1), matrix.raw.reshape(len(matrix.raw), -1)
        products = sent.raw[:, None, :] * flat.T  # (N, J, K)
        if exact:
            return Num(products.sum(axis=-1), sent.frac + matrix.frac)
        return self.run.sum(name, "transport", products, sent.frac + matrix.frac)

    def signal(self, name: str, total: Num) -> Num:
        """Return a transported signal, cast at its site where there is a `[signal]` table."""
        if self.run.tables.has("signal"):
            return self.run.cast(name, total, "signal")
        return self.run.keep(name, total)

    def direct(self, name: str, layer: int, sent: Num | None, bits: int = 0) -> Num:
        """Bring a signal (None: the labels) through direct feedback.layer; times 2^bits."""
        labels = np.array(self.labels)
        if f"feedback_in.{layer}" in self.state:
            inner, outer = self.matrix("feedback_in", layer), self.matrix("feedback_out", layer)
            narrow = f"narrow.{name}"
            low = Num(inner.raw[labels], inner.frac) if sent is None else self.transported(narrow, sent, inner)
            if self.run.tables.has("signal"):
                low = self.run.cast(narrow, low, "signal")
            total = self.transported(name, self.run.keep(narrow, low), outer)
        else:
            matrix = self.matrix("feedback", layer)
            flat = matrix.raw.reshape(len(matrix.raw), -1)
            sparse = f"feedback_index.{layer}" in self.state
            total = Num(flat[labels], matrix.frac) if sent is None else self.transported(name, sent, matrix, exact=sparse)
        return self.signal(name, Num(total.raw, total.frac - bits))

    def down(self, name: str, above: int, delta: Num, matrix: Num) -> Num:
        """Bring the delta of layer `above` through a matrix in the shape of its weights to what that layer reads."""
        passed = self.passed(above)
        if passed.layer["kind"] == "dense":
            return self.signal(name, self.transported(name, delta, matrix))
        _, height, width, _ = passed.source.raw.shape
        weight = matrix.raw.reshape(passed.weight.raw.shape)
        stride, padding = passed.layer.get("stride", 1), passed.layer.get("padding", 0)
        products = maps.conv_input_products(delta.raw, weight, (height, width), stride, padding)
        total = self.run.sum(name, "transport", products, delta.frac + matrix.frac)
        return self.signal(name, total.reshaped(len(total.raw), -1))

    def up(self, name: str, sent: Num, matrix: Num) -> Num:
        """Return ``sent @ matrix.T``: forward through weights, or a read-out."""
        flat = matrix.raw.reshape(len(matrix.raw), -1)
        products = sent.reshaped(len(sent.raw), -1).raw[:, None, :] * flat
        return self.run.sum(name, "transport", products, sent.frac + matrix.frac)

    # --- inside a segment ------------------------------------------------------------------------------------------

    def to_activation(self, layer: int, name: str, signal: Num) -> tuple[str, Num]:
        """Bring a signal from a segment's end back through pooling and dropout."""
        passed, pool = self.passed(layer), self.passed(layer).layer.get("pool")
        signal = signal.reshaped(*passed.end.raw.shape)
        if pool:
            name = _after(name, "unpooled")
            size = passed.act.raw.shape
            if passed.places is None:
                signal = maps.window_spread(signal, pool[1], pool[2], size)
            else:
                signal = signal.like(maps.max_unpool(signal.raw, passed.places, pool[1], pool[2], size))
            self.run.keep(name, signal)
        if passed.mask is not None:
            name = _after(name, "masked")
            signal = self.run.keep(name, Num(signal.raw * passed.mask, signal.frac - passed.scale_bits))
        return name, signal

    def slope(self, layer: int) -> tuple[str, Num | None]:
        """Return a layer's slope, looked up once."""
        if layer not in self.slopes:
            self.slopes[layer] = slope(self.run, self.passed(layer), self.at.prefix)
        return self.slopes[layer]

    def delta(self, layer: int, signal: Num, name: str = "delta") -> Num:
        """Return the cast of signal * slope, brought through batch normalisation: the delta at the pre-activation."""
        passed, run = self.passed(layer), self.run
        signal = signal.reshaped(*passed.act.raw.shape)
        product = times_slope(signal, self.slope(layer))
        if passed.normed is None:
            return run.cast(f"{self.prefix}{name}.{layer}", product, "delta")
        d = run.cast(f"{self.prefix}{name}_normed.{layer}", product, "delta")
        if name == "delta":
            self.normed[layer] = d
        assert passed.gain is not None
        return back(run, f"{self.prefix}{name}.{layer}", d, passed.normed, passed.gain)

    def enter(self, layer: int, name: str, signal: Num, at: str) -> None:
        """Write down the delta of a layer from the signal that arrives at its "end" or "activation"."""
        if at == "end":
            _, signal = self.to_activation(layer, name, signal)
        self.deltas[layer] = self.delta(layer, signal)


def _after(name: str, what: str) -> str:
    root, _, layer = name.rpartition(".")
    return f"{root}_{what}.{layer}"


def times_slope(signal: Num, of: tuple[str, Num | None]) -> Num:
    """Return signal * slope before its cast."""
    kind, factor = of
    if factor is None:
        return signal
    if kind == "mask":
        return signal.like(signal.raw * factor.raw)
    if kind == "divide":
        return signal.like(each(lambda x, d: round_quotient(x, d, "TRN_ZERO"), signal.raw, factor.raw))
    return Num(signal.raw * factor.raw, signal.frac + factor.frac)


def one_hot(run: Run, labels: list[int], like: Num) -> Raw:
    """Return the target at the output's binary point."""
    target = np.zeros(like.raw.shape, dtype=object)
    for sample, label in enumerate(labels):
        target[sample, label] = run.tables.target(like.frac)
    return target
