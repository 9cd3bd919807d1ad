"""The one place where a training step is written down; a rule adds only the signal that enters each hidden segment.

The builder emits forward ops, the output error, and - for a signal that a rule returns - the exact backward pass inside
the segment (pooling, slope), the gradient and the update. Ops come out in a valid sequence; :mod:`fasim.schedule.order`
decides when each really runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from fasim import feedback as families
from fasim import losses, optimizers
from fasim.errors import ConfigError, unknown_name
from fasim.fixedpoint.format import Fixed
from fasim.network import Conv2d, Network, Segment
from fasim.schedule import ops as kinds
from fasim.schedule.values import Op, Schedule, Tensor, Value

HOOKS = ("pre_pool", "post_pool")
LEARNING_RATE = "learning_rate"
SIGN_OF_ERROR = "sign"


@dataclass(frozen=True)
class StepSettings:
    """Everything besides network and rule that shapes a training step.

    Parameters
    ----------
    batch_size : int
        N, samples per step.
    loss, reduction : str
        See :mod:`fasim.losses`.
    error_scale : str
        What direct feedback transports: ``loss_gradient`` (delta of the output layer, as backpropagation would) or ``raw``
        (``output - target``, as the DRTP authors' code does; under ``mean`` the hidden gradients are then N or N K times
        larger than the output's).
    optimizer : str
        See :mod:`fasim.optimizers`.
    hook : str
        Where direct feedback enters a segment that pools: ``pre_pool`` or ``post_pool``.
    feedback : str
        Family of the feedback matrices, see :mod:`fasim.feedback`.
    """

    batch_size: int = 32
    loss: str = "bce"
    reduction: str = "sum"
    error_scale: str = "loss_gradient"
    optimizer: str = "sgd"
    hook: str = "pre_pool"
    feedback: str = "uniform"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch size {self.batch_size}: at least 1 sample per step is needed")
        for what, given, known in (
            ("loss", self.loss, losses.LOSSES),
            ("optimizer", self.optimizer, optimizers.OPTIMIZERS),
            ("reduction", self.reduction, losses.REDUCTIONS),
            ("error scale", self.error_scale, losses.ERROR_SCALES),
            ("hook", self.hook, HOOKS),
        ):
            if given not in known:
                raise ConfigError(unknown_name(what, given, known))


class Builder:
    """Emits the ops of one training step; rules call the methods below ``# what rules use``."""

    def __init__(self, network: Network, settings: StepSettings, rule: str) -> None:
        if network.batch_norm or network.dropout:
            given = "batch_norm" if network.batch_norm else "dropout"
            raise ConfigError(f"network option {given} has no training step yet; set batch_norm = False and dropout = 0")
        self.network = network
        self.settings = settings
        self.loss = losses.get(settings.loss, network.output)
        self.optimizer = optimizers.get(settings.optimizer)
        self.rule = rule
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self._error: Value | None = None
        self._delta: dict[int, Value] = {}
        self._scale = self.loss.scale(settings.reduction, settings.batch_size, network.outputs)

    # --- what rules use -------------------------------------------------------------------------------------------

    @property
    def outputs(self) -> int:
        """Length of the output error, K."""
        return self.network.outputs

    def delta(self, layer: int) -> Value:
        """Delta at the pre-activation of a layer whose signal has been given already."""
        return self._delta[layer]

    def weight(self, layer: int) -> Value:
        """Weights of a layer before this step's update."""
        return Value(f"weight.{layer}")

    def output_signal(self) -> Value:
        """Return what direct feedback transports: the output delta, or the raw error."""
        assert self._error is not None
        return self._error if self.settings.error_scale == "raw" else self._delta[len(self.network.segments)]

    def sign_of_error(self) -> Value:
        """Return the sign of ``output - target``, computed once for all layers."""
        assert self._error is not None
        if SIGN_OF_ERROR not in self.tensors:
            shape = (self.settings.batch_size, self.outputs)
            value = self._tensor(SIGN_OF_ERROR, "error", "NK", shape, encoding="ternary")
            self._emit(kinds.SIGN, (self._error,), (value,), "error", len(self.network.segments))
        return Value(SIGN_OF_ERROR)

    @property
    def target_scale(self) -> float:
        """Factor of signs and targets that stand in for the output delta."""
        return 1.0 if self.settings.error_scale == "raw" else self._scale

    def feedback(self, layer: int) -> Value:
        """Feedback matrix (K, units) from the outputs to a hidden layer, at the segment's hook."""
        return self._feedback(layer, "KJ", (self.outputs, self._hook_size(layer)))

    def layered_feedback(self, layer: int) -> Value:
        """Feedback into a hidden layer in the shape of the next layer's weights."""
        above = self.network.segments[layer]
        return self._feedback(layer, _weight_axes(above, "KJ"), above.weight_shape)

    def project(self, signal: Value, matrix: Value, layer: int, *, direct: bool = False, scale: float = 1.0) -> Value:
        """Bring a signal through a matrix to the outputs of a hidden layer.

        ``signal.layer = scale * signal @ matrix``. A layered transport goes through the layer above (its weights or
        feedback of their shape, a transposed convolution where that layer is one); a direct one through (K, units).
        """
        segment, above = self.network.segments[layer - 1], self.network.segments[layer]
        attrs: dict[str, Any] = {"scale": scale}
        kind, size = kinds.PROJECT, self._hook_size(layer) if direct else segment.out_size
        if not direct and isinstance(above.layer, Conv2d):
            kind = kinds.PROJECT_CONV
            attrs |= _conv_attrs(above)
        out = self._signal(layer, size)
        self._emit(kind, (signal, matrix), (out,), "error", layer, attrs)
        return out

    def select(self, matrix: Value, layer: int, *, scale: float = 1.0) -> Value:
        """Fetch the row of a direct feedback matrix that belongs to each sample's label: no product at all."""
        out = self._signal(layer, self._hook_size(layer))
        self._emit(kinds.SELECT, (Value("label"), matrix), (out,), "error", layer, {"scale": scale})
        return out

    # --- the step --------------------------------------------------------------------------------------------------

    def forward(self) -> None:
        """Emit the forward pass of all segments."""
        batch = self.settings.batch_size
        first = self.network.segments[0]
        self._tensor("act.0", "act", _map_axes(first.in_shape), (batch, *first.in_shape), storage="input")
        bits = max(1, math.ceil(math.log2(self.outputs)))
        label = Fixed(bits, 0, signed=False)
        self._tensor("label", "label", "N", (batch,), storage="input", format=label)
        self._tensor(LEARNING_RATE, "scalar", "", (), storage="input")
        for segment in self.network.segments:
            self._segment_forward(segment)

    def output_error(self) -> None:
        """Emit the error and the exact delta of the output layer, then its gradient and update."""
        last = self.network.segments[-1]
        shape = (self.settings.batch_size, self.outputs)
        self._error = self._tensor("error", "error", "NK", shape)
        self._emit(kinds.ERROR, (Value("output"), Value("label")), (self._error,), "error", last.index)
        slope = self._slope(last) if self.loss.keeps_slope else None
        if slope is None and self._scale == 1.0:
            self._delta[last.index] = self._error
        else:
            self._emit_delta(last, self._error, slope, self._scale)
        self._update_layer(last)

    def backward(self, layer: int, signal: Value) -> None:
        """Emit the exact backward pass inside a hidden segment for a signal at its output, its gradient and update."""
        segment = self.network.segments[layer - 1]
        if segment.pool is not None and self.tensors[signal.tensor].elements != self._map_elements(segment):
            unpooled = self._tensor(
                f"unpooled.{layer}",
                "signal",
                "NHWC",
                (self.settings.batch_size, *segment.map_shape),
            )
            index = Value(f"pool_index.{layer}")
            self._emit(kinds.UNPOOL, (signal, index), (unpooled,), "error", layer)
            signal = unpooled
        self._emit_delta(segment, signal, self._slope(segment), 1.0)
        self._update_layer(segment)

    def schedule(self) -> Schedule:
        """Return what has been emitted, without places of maxima that no signal needs (feedback before pooling)."""
        read = {value for op in self.ops for value in op.reads}
        unread = {op.writes[1] for op in self.ops if op.kind == kinds.POOL} - read
        ops = tuple(replace(op, writes=tuple(value for value in op.writes if value not in unread)) for op in self.ops)
        tensors = {name: tensor for name, tensor in self.tensors.items() if Value(name) not in unread}
        return Schedule(tensors, ops, self.settings.batch_size, str(self.network), self.rule)

    # --- details ---------------------------------------------------------------------------------------------------

    def _segment_forward(self, segment: Segment) -> None:
        layer, batch = segment.index, self.settings.batch_size
        last = layer == len(self.network.segments)
        axes = _map_axes(segment.map_shape)
        weight = self._tensor(
            f"weight.{layer}",
            "weight",
            _weight_axes(segment, "JI"),
            segment.weight_shape,
            storage="state",
        )
        bias = self._tensor(f"bias.{layer}", "bias", "J", segment.weight_shape[:1], storage="state")
        preact = self._tensor(f"preact.{layer}", "preact", axes, (batch, *segment.map_shape))
        act = Value(f"act.{layer - 1}")
        conv = isinstance(segment.layer, Conv2d)
        self._emit(
            kinds.CONV if conv else kinds.DENSE,
            (act, weight, bias),
            (preact,),
            "forward",
            layer,
            _conv_attrs(segment) if conv else {},
        )
        name, cls = ("output", "output") if last else (f"act.{layer}", "act")
        if segment.pool is not None:
            name, cls = f"map.{layer}", "map"
        active = self._tensor(name, cls, axes, (batch, *segment.map_shape))
        self._emit(kinds.ACTIVATE, (preact,), (active,), "forward", layer, {"function": segment.activation})
        if segment.pool is not None:
            shape = (batch, *segment.out_shape)
            pooled = self._tensor(f"act.{layer}", "act", "NHWC", shape)
            kernel, stride = segment.pool.kernel, segment.pool.stride
            places = Fixed(max(1, math.ceil(math.log2(kernel * kernel))), 0, signed=False)
            index = self._tensor(f"pool_index.{layer}", "slope", "NHWC", shape, format=places)
            attrs = {"kernel": kernel, "stride": stride}
            self._emit(kinds.POOL, (active,), (pooled, index), "forward", layer, attrs)

    def _active(self, segment: Segment) -> Value:
        """Return the activation before pooling, from which the slope follows."""
        if segment.pool is not None:
            return Value(f"map.{segment.index}")
        return Value("output" if segment.index == len(self.network.segments) else f"act.{segment.index}")

    def _slope(self, segment: Segment) -> Value | None:
        if segment.activation == "linear":
            return None
        encoding = "mask" if segment.activation == "relu" else "dense"
        shape = (self.settings.batch_size, *segment.map_shape)
        axes = _map_axes(segment.map_shape)
        slope = self._tensor(f"slope.{segment.index}", "slope", axes, shape, encoding=encoding)
        attrs = {"function": segment.activation}
        self._emit(kinds.SLOPE, (self._active(segment),), (slope,), "error", segment.index, attrs)
        return slope

    def _emit_delta(self, segment: Segment, signal: Value, slope: Value | None, scale: float) -> None:
        shape = (self.settings.batch_size, *segment.map_shape)
        delta = self._tensor(f"delta.{segment.index}", "delta", _map_axes(segment.map_shape), shape)
        reads = (signal,) if slope is None else (signal, slope)
        self._emit(kinds.DELTA, reads, (delta,), "error", segment.index, {"scale": scale})
        self._delta[segment.index] = delta

    def _update_layer(self, segment: Segment) -> None:
        """Emit gradient and update of a layer's weight and bias from its delta."""
        layer, delta = segment.index, self._delta[segment.index]
        conv = isinstance(segment.layer, Conv2d)
        for group in ("weight", "bias"):
            parameter = self.tensors[f"{group}.{layer}"]
            gradient = self._tensor(f"gradient.{parameter.name}", "gradient", parameter.axes, parameter.shape)
            # At N = 1 the gradient of a dense layer is the rank-1 product of two vectors that are at hand, its bias
            # gradient is delta itself: the update makes them on the fly. Any other gradient is a sum over samples (or
            # places) and must be kept.
            attrs = {"materialised": conv or self.settings.batch_size > 1}
            if group == "bias":
                self._emit(kinds.GRAD_BIAS, (delta,), (gradient,), "gradient", layer, attrs)
            else:
                kind = kinds.GRAD_CONV if conv else kinds.GRAD
                attrs |= _conv_attrs(segment) if conv else {}
                self._emit(kind, (delta, Value(f"act.{layer - 1}")), (gradient,), "gradient", layer, attrs)
            if not attrs["materialised"]:
                self.tensors[gradient.tensor] = replace(self.tensors[gradient.tensor], storage="register")
            states = [
                self._tensor(
                    f"{state}.{parameter.name}",
                    "state",
                    parameter.axes,
                    parameter.shape,
                    storage="state",
                )
                for state in self.optimizer.states
            ]
            self._emit(
                kinds.UPDATE,
                (Value(parameter.name), gradient, *states),
                (Value(parameter.name, 1), *(Value(state.tensor, 1) for state in states)),
                "update",
                layer,
                {"optimizer": self.optimizer.name, "group": group},
                (Value(LEARNING_RATE),),
            )

    def _hook_size(self, layer: int) -> int:
        segment = self.network.segments[layer - 1]
        return segment.map_size if self.settings.hook == "pre_pool" else segment.out_size

    def _map_elements(self, segment: Segment) -> int:
        return self.settings.batch_size * segment.map_size

    def _signal(self, layer: int, size: int) -> Value:
        return self._tensor(f"signal.{layer}", "signal", "NJ", (self.settings.batch_size, size))

    def _feedback(self, layer: int, axes: str, shape: tuple[int, ...]) -> Value:
        bound = families.bound(self.settings.feedback, shape)
        return self._tensor(f"feedback.{layer}", "feedback", axes, shape, storage="state", bound=bound)

    def _tensor(self, name: str, cls: str, axes: str, shape: tuple[int, ...], **options: Any) -> Value:  # noqa: ANN401
        self.tensors[name] = Tensor(name, cls, axes, shape, **options)
        return Value(name)

    def _emit(
        self,
        kind: str,
        reads: tuple[Value, ...],
        writes: tuple[Value, ...],
        phase: str,
        layer: int,
        attrs: dict[str, Any] | None = None,
        scalars: tuple[Value, ...] = (),
    ) -> None:
        self.ops.append(Op(kind, reads, writes, phase, layer, attrs or {}, scalars))


def _map_axes(shape: tuple[int, ...]) -> str:
    return "NHWC" if len(shape) == 3 else "NJ"


def _weight_axes(segment: Segment, dense: str) -> str:
    return "JRSC" if isinstance(segment.layer, Conv2d) else dense


def _conv_attrs(segment: Segment) -> dict[str, Any]:
    assert isinstance(segment.layer, Conv2d)
    return {"stride": segment.layer.stride, "padding": segment.layer.padding}
