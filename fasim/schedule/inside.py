"""What happens inside a segment: its forward pass, and the exact way back from its end to its pre-activation.

Layer -> batch normalisation -> activation -> dropout -> pooling. Nothing here knows a learning rule.
"""

from __future__ import annotations

import math

from fasim.errors import ConfigError
from fasim.fixedpoint.format import Fixed
from fasim.network import Conv2d, MaxPool, Segment, init_limit
from fasim.schedule import ops as kinds
from fasim.schedule.emitter import LEARNING_RATE, Emitter, conv_attrs, map_axes, weight_axes
from fasim.schedule.values import Value

NORM_PARAMETERS = ("gain", "shift", "running_mean", "running_var")


class Inside(Emitter):
    """Emits what lies inside the segments."""

    # --- forward ---------------------------------------------------------------------------------------------------

    def given(self) -> None:
        """Declare what is given with each batch: inputs, what the output is held against, the learning rate."""
        batch, shape = self.settings.batch_size, self.network.input_shape
        self.tensor(self.ahead("act.0"), "act", map_axes(shape), (batch, *shape), storage="input")
        if self.settings.target == "label":
            bits = Fixed(max(1, math.ceil(math.log2(self.network.outputs))), 0, signed=False)
            self.tensor("label", "label", "N", (batch,), storage="input", format=bits)
        elif self.settings.target == "value":
            self.tensor("target", "label", "NK", (batch, self.network.outputs), storage="input")
        self.tensor(LEARNING_RATE, "scalar", "", (), storage="input")

    def segments_forward(self, *, training: bool = True) -> None:
        """Emit the forward pass of all segments from ``act.0`` on."""
        here = Value(self.ahead("act.0"))
        network = self.network
        if network.input_dropout and training:
            here = self._dropout(0, here, network.input_shape, network.input_dropout, "dropped.0", "act")
        elif network.input_dropout:
            here = self._keep_expectation(0, here, network.input_shape, network.input_dropout, "dropped.0", "act")
        for segment in network.segments:
            here = self._segment_forward(segment, here, training)

    def layer_input(self, layer: int) -> Value:
        """Return what the weights of a layer multiply."""
        if layer == 1 and self.network.input_dropout:
            return Value(self.ahead("dropped.0"))
        return Value(self.ahead(f"act.{layer - 1}"))

    def active(self, layer: int) -> Value:
        """Return a layer's activation, before dropout and pooling."""
        segment = self.segment(layer)
        if layer == self.last:
            return Value(self.ahead("output"))
        return Value(self.ahead(f"map.{layer}" if segment.pool or segment.dropout else f"act.{layer}"))

    def _segment_forward(self, segment: Segment, here: Value, training: bool) -> Value:
        layer, batch = segment.index, self.settings.batch_size
        axes, shape = map_axes(segment.map_shape), (batch, *segment.map_shape)
        axes_of_weight, limit = weight_axes(segment, "JI"), init_limit(self.network.init, segment)
        weight = self.tensor(
            f"weight.{layer}", "weight", axes_of_weight, segment.weight_shape, storage="state", bound=limit or 1.0
        )
        bias = self.tensor(f"bias.{layer}", "bias", "J", segment.weight_shape[:1], storage="state")
        preact = self.tensor(self.ahead(f"preact.{layer}"), "preact", axes, shape)
        kind = kinds.CONV if isinstance(segment.layer, Conv2d) else kinds.DENSE
        self.emit(kind, (here, weight, bias), (preact,), "forward", layer, conv_attrs(segment))
        if segment.norm:
            preact = self._norm(segment, preact, training)
        function = {"function": segment.activation}
        cls = "output" if layer == self.last else "map" if segment.pool or segment.dropout else "act"
        here = self.tensor(self.active(layer).tensor, cls, axes, shape)
        self.emit(kinds.ACTIVATE, (preact,), (here,), "forward", layer, function)
        if segment.dropout:
            name, cls = (f"dropped.{layer}", "map") if segment.pool else (f"act.{layer}", "act")
            drop = self._dropout if training else self._keep_expectation
            here = drop(layer, here, segment.map_shape, segment.dropout, name, cls)
        return self._pool(segment, here) if segment.pool else here

    def _norm(self, segment: Segment, preact: Value, training: bool) -> Value:
        """Emit batch normalisation; only the pass of the training itself moves the running statistics."""
        layer, channels = segment.index, segment.map_shape[-1:]
        values = self.settings.batch_size * math.prod(segment.map_shape[:-1])
        if training and values < 2:
            raise ConfigError(
                f"batch normalisation of layer {layer} has one value for each channel in a batch of 1; use a batch size "
                "that leaves 2 samples or more to every batch, or drop the last one"
            )
        state = [self.tensor(f"{name}.{layer}", "norm", "C", channels, storage="state") for name in NORM_PARAMETERS]
        shape = self.tensors[preact.tensor].shape
        normed = self.tensor(self.ahead(f"normed.{layer}"), "preact", map_axes(shape[1:]), shape)
        if not training:
            self.emit(kinds.NORM_INFERENCE, (preact, *state), (normed,), "forward", layer)
            return normed
        normal = self.tensor(self.ahead(f"normal.{layer}"), "preact", map_axes(shape[1:]), shape)
        inverse = self.tensor(self.ahead(f"inverse_std.{layer}"), "preact", "C", channels)
        moved = () if self.forward_prefix else tuple(Value(value.tensor, 1) for value in state[2:])
        self.emit(kinds.NORM, (preact, *state), (normed, normal, inverse, *moved), "forward", layer)
        return normed

    def _dropout(self, layer: int, here: Value, shape: tuple[int, ...], drop: float, name: str, cls: str) -> Value:
        axes, full = map_axes(shape), (self.settings.batch_size, *shape)
        mask = self.tensor(self.ahead(f"mask.{layer}"), "slope", axes, full, encoding="mask")
        out = self.tensor(self.ahead(name), cls, axes, full)
        attrs = {"drop": drop, "scale": self._dropout_scale(drop)}
        site = self.ahead(f"dropout.{layer}")
        self.emit(kinds.DROPOUT, (here,), (out, mask), "forward", layer, attrs, site=site)
        return out

    def _keep_expectation(self, layer: int, here: Value, shape: tuple[int, ...], drop: float, name: str, cls: str) -> Value:
        """Emit dropout's counterpart in evaluation: inverted dropout keeps the values, the classical one scales them."""
        out = self.tensor(self.ahead(name), cls, map_axes(shape), (self.settings.batch_size, *shape))
        scale = 1.0 if self.network.dropout_kind == "inverted" else 1.0 - drop
        self.emit(kinds.SCALE, (here,), (out,), "forward", layer, {"scale": scale})
        return out

    def _dropout_scale(self, drop: float) -> float:
        return 1.0 / (1.0 - drop) if self.network.dropout_kind == "inverted" else 1.0

    def _pool(self, segment: Segment, here: Value) -> Value:
        assert segment.pool is not None
        layer, shape = segment.index, (self.settings.batch_size, *segment.out_shape)
        kernel, stride = segment.pool.kernel, segment.pool.stride
        pooled = self.tensor(self.ahead(f"act.{layer}"), "act", "NHWC", shape)
        attrs = {"kernel": kernel, "stride": stride}
        if not isinstance(segment.pool, MaxPool):
            self.emit(kinds.AVERAGE_POOL, (here,), (pooled,), "forward", layer, attrs)
            return pooled
        places = Fixed(max(1, math.ceil(math.log2(kernel * kernel))), 0, signed=False)
        index = self.tensor(self.ahead(f"pool_index.{layer}"), "slope", "NHWC", shape, format=places)
        self.emit(kinds.POOL, (here,), (pooled, index), "forward", layer, attrs)
        return pooled

    # --- and back --------------------------------------------------------------------------------------------------

    def to_activation(self, layer: int, signal: Value) -> Value:
        """Bring a signal from the end of a segment back through pooling and dropout to its activation."""
        segment, batch = self.segment(layer), self.settings.batch_size
        axes, shape = map_axes(segment.map_shape), (batch, *segment.map_shape)
        if segment.pool:
            wide = self.tensor(_after(signal, "unpooled"), "signal", axes, shape)
            attrs = {"kernel": segment.pool.kernel, "stride": segment.pool.stride}
            if isinstance(segment.pool, MaxPool):
                index = Value(self.ahead(f"pool_index.{layer}"))
                self.emit(kinds.UNPOOL, (signal, index), (wide,), "error", layer, attrs)
            else:
                self.emit(kinds.AVERAGE_UNPOOL, (signal,), (wide,), "error", layer, attrs)
            signal = wide
        if segment.dropout:
            signal = self.through_mask(layer, signal, segment.map_shape, segment.dropout)
        return signal

    def through_mask(self, layer: int, signal: Value, shape: tuple[int, ...], drop: float) -> Value:
        """Bring a signal back through dropout."""
        out = self.tensor(_after(signal, "masked"), "signal", map_axes(shape), (self.settings.batch_size, *shape))
        mask = Value(self.ahead(f"mask.{layer}"))
        self.emit(kinds.MASK, (signal, mask), (out,), "error", layer, {"scale": self._dropout_scale(drop)})
        return out

    def slope(self, layer: int) -> Value | None:
        """Return the slope of a layer's activation, computed once; None where it is 1."""
        segment = self.segment(layer)
        if segment.activation == "linear":
            return None
        name = self.ahead(f"slope.{layer}")
        if name not in self.tensors:
            encoding = "mask" if segment.activation == "relu" else "dense"
            shape = (self.settings.batch_size, *segment.map_shape)
            slope = self.tensor(name, "slope", map_axes(segment.map_shape), shape, encoding=encoding)
            self.emit(kinds.SLOPE, (self.active(layer),), (slope,), "error", layer, {"function": segment.activation})
        return Value(name)

    def to_preact(self, layer: int, signal: Value, *, slope: bool = True, scale: float = 1.0, name: str = "delta") -> Value:
        """Bring a signal from a layer's activation to its pre-activation: slope, then batch normalisation."""
        segment = self.segment(layer)
        factor = self.slope(layer) if slope else None
        axes, shape = map_axes(segment.map_shape), (self.settings.batch_size, *segment.map_shape)
        first = f"{name}_normed" if segment.norm else name
        delta = self.tensor(self.back(f"{first}.{layer}"), "delta", axes, shape)
        reads = (signal,) if factor is None else (signal, factor)
        self.emit(kinds.DELTA, reads, (delta,), "error", layer, {"scale": scale})
        if not segment.norm:
            return delta
        kept = (Value(self.ahead(f"normal.{layer}")), Value(self.ahead(f"inverse_std.{layer}")), Value(f"gain.{layer}"))
        out = self.tensor(self.back(f"{name}.{layer}"), "delta", axes, shape)
        self.emit(kinds.NORM_BACK, (delta, *kept), (out,), "error", layer)
        return out


def _after(signal: Value, what: str) -> str:
    """Name what becomes of a signal: ``signal.2`` gives ``signal_masked.2``."""
    root, _, layer = signal.tensor.rpartition(".")
    return f"{root}_{what}.{layer}"
