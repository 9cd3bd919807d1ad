"""The one place where a training step is written down; a rule adds only the signal that enters each hidden segment.

The builder emits forward ops, the output error, and - for a signal that a rule returns - the exact backward pass inside
the segment (:mod:`fasim.schedule.inside`), the gradient and the update (:mod:`fasim.schedule.learning`). Ops come out in a
valid sequence; :mod:`fasim.schedule.order` decides when each really runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fasim.errors import ConfigError
from fasim.network import Conv2d, Dense, Network
from fasim.schedule import ops as kinds
from fasim.schedule.emitter import CLEAN, conv_attrs, weight_axes
from fasim.schedule.matrices import Matrices
from fasim.schedule.settings import StepSettings
from fasim.schedule.values import Op, Schedule, Value

SIGN_OF_ERROR = "sign"


class Builder(Matrices):
    """Emits the ops of one training step; rules call the methods below ``# what rules use``."""

    def __init__(self, network: Network, settings: StepSettings, rule: str) -> None:
        super().__init__(network, settings, rule)
        self._error: Value | None = None
        self._delta: dict[int, Value] = {}
        self._at_activation: set[Value] = set()
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
        return self._error if self.settings.error_scale == "raw" else self._delta[self.last]

    def sign_of_error(self) -> Value:
        """Return the sign of ``output - target``, computed once for all layers."""
        assert self._error is not None
        if SIGN_OF_ERROR not in self.tensors:
            shape = (self.settings.batch_size, self.outputs)
            value = self.tensor(SIGN_OF_ERROR, "error", "NK", shape, encoding="ternary")
            self.emit(kinds.SIGN, (self._error,), (value,), "error", self.last)
        return Value(SIGN_OF_ERROR)

    @property
    def target_scale(self) -> float:
        """Factor of signs and targets that stand in for the output delta."""
        return 1.0 if self.settings.error_scale == "raw" else self._scale

    @property
    def local_scale(self) -> float:
        """Factor of a hidden layer's own error: its cross-entropy is summed over the batch, or averaged."""
        settings = self.settings
        return 1.0 if settings.reduction == "sum" or settings.error_scale == "raw" else 1.0 / settings.batch_size

    def local_error(self, layer: int) -> Value:
        """Return ``softmax(act @ feedback.T) - target``: a layer's own guess through its fixed feedback, and its error."""
        self._needs_labels()
        if f"local_error.{layer}" not in self.tensors:
            shape = (self.settings.batch_size, self.outputs)
            score, guess, error = (
                self.tensor(f"{name}.{layer}", "error", "NK", shape) for name in ("score", "guess", "local_error")
            )
            self.emit(
                kinds.PROJECT_UP,
                (self._hook(layer), self.plain(self.feedback(layer))),
                (score,),
                "error",
                layer,
                {"scale": 1.0},
            )
            self.emit(kinds.ACTIVATE, (score,), (guess,), "error", layer, {"function": "softmax"})
            self.emit(kinds.ERROR, (guess, Value("label")), (error,), "error", layer)
        return Value(f"local_error.{layer}")

    def feedback(self, layer: int) -> Value:
        """Feedback matrix (K, units) from the outputs to a hidden layer, at the segment's hook."""
        return self.matrix("feedback", layer, "KJ", (self.outputs, self.hook_size(layer)), direct=True)

    def layered_feedback(self, layer: int, name: str = "feedback") -> Value:
        """Feedback into a hidden layer in the shape of the next layer's weights."""
        above = self.segment(layer + 1)
        return self.matrix(name, layer, weight_axes(above, "KJ"), above.weight_shape)

    def feedback_below(self, layer: int) -> Value:
        """Feedback (units of the layer below, units) into a hidden layer."""
        self.needs_dense()
        return self.matrix("feedback_below", layer, "KJ", (self.segment(layer - 1).out_size, self.hook_size(layer)))

    def project(
        self,
        signal: Value,
        matrix: Value,
        layer: int,
        *,
        direct: bool = False,
        scale: float = 1.0,
        name: str = "signal",
    ) -> Value:
        """Bring a signal through a matrix to the outputs of a layer.

        ``signal.layer = scale * signal @ matrix``. A layered transport goes through the layer above (its weights or
        feedback of their shape, a transposed convolution where that layer is one) and arrives at the segment's end; a
        direct one goes through (K, units) and arrives at the hook.
        """
        attrs: dict[str, Any] = {"scale": scale}
        if direct:
            out = self._signal(name, layer, self.hook_size(layer), hooked=True)
            return self.through(signal, matrix, out, layer, attrs)
        above = self.segment(layer + 1)
        size = self.segment(layer).out_size if layer else self.network.inputs
        out = self._signal(name, layer, size)
        if not isinstance(above.layer, Conv2d):
            return self.through(signal, matrix, out, layer, attrs)
        attrs |= conv_attrs(above) | {"in_shape": above.in_shape}
        self.emit(kinds.PROJECT_CONV, (signal, self.plain(matrix)), (out,), "error", layer, attrs)
        return out

    def project_up(self, signal: Value, matrix: Value, layer: int) -> Value:
        """Send a signal forward through a layer's weights to its end, as activations travel: ``signal @ matrix.T``."""
        self.needs_dense()
        out = self._signal("signal", layer, self.segment(layer).out_size)
        self.emit(kinds.PROJECT_UP, (signal, matrix), (out,), "error", layer, {"scale": 1.0})
        return out

    def select(self, matrix: Value, layer: int, *, scale: float = 1.0) -> Value:
        """Fetch the row of a direct feedback matrix that belongs to each sample's label: no product at all."""
        self._needs_labels()
        out = self._signal("signal", layer, self.hook_size(layer), hooked=True)
        return self.through(None, matrix, out, layer, {"scale": scale})

    def mean(self, signals: list[Value], layer: int) -> Value:
        """Return the element-wise mean of signals into a layer, all brought to where direct feedback arrives."""
        if len(signals) == 1:
            return signals[0]
        at_activation = any(signal in self._at_activation for signal in signals)
        if at_activation:
            signals = [s if s in self._at_activation else self.to_activation(layer, s) for s in signals]
        out = self._signal("signal", layer, self.tensors[signals[0].tensor].elements // self.settings.batch_size)
        if at_activation:
            self._at_activation.add(out)
        self.emit(kinds.MEAN, tuple(signals), (out,), "error", layer, {"scale": 1.0 / len(signals)})
        return out

    def direct_delta(self, layer: int, signal: Value) -> Value:
        """Return the delta that a signal alone would give a layer, emitted once, without training the layer."""
        emit = partial(self.to_preact, layer, name="direct_delta")
        return self.once(f"direct_delta.{layer}", lambda: emit(self._inside(layer, signal)))

    def learn_layered_feedback(self, layer: int) -> None:
        """Let feedback of the shape of the next layer's weights follow the gradient of those weights."""
        gradient = self.weight_gradient(layer + 1, self._delta[layer + 1])
        self.update(self.learnable(self.layered_feedback(layer)), gradient, "feedback", layer)

    def learn_direct_feedback(self, layer: int) -> None:
        """Let direct feedback follow ``delta.L.T @ act``, act that of the layer it feeds, at the hook."""
        feedback = self.learnable(self.feedback(layer))
        gradient = self.feedback_gradient(layer, self._delta[self.last], self._hook(layer))
        self.update(feedback, gradient, "feedback", layer)

    def once(self, name: str, emit: Callable[[], Value]) -> Value:
        """Return the value of this name, emitted by the first who asks."""
        return Value(name) if name in self.tensors else emit()

    def is_conv(self, layer: int) -> bool:
        """Tell whether a layer is a convolution."""
        return isinstance(self.segment(layer).layer, Conv2d)

    def needs_dense(self) -> None:
        """Refuse convolutions, for a rule that is stated for dense layers only."""
        if not all(isinstance(layer, Dense) for layer in self.network.layers):
            raise ConfigError(
                f"rule {self.rule} is stated for dense layers, but the network is {self.network}; use dense layers or "
                "another rule"
            )

    # --- the step --------------------------------------------------------------------------------------------------

    def forward(self, *, training: bool = True) -> None:
        """Emit the forward pass of all segments, after the fast gradient sign pass if there is one."""
        if training and self.settings.fgsm:
            self._adversary()
        else:
            self.given()
        self.segments_forward(training=training)

    def output_error(self) -> None:
        """Emit the error and the exact delta of the output layer, then its gradient and update."""
        self._error, self._delta[self.last] = self._output_delta()
        self._train(self.last)

    def backward(self, layer: int, signal: Value) -> None:
        """Emit the exact backward pass inside a hidden segment for a signal that enters it, its gradient and update."""
        self._delta[layer] = self.to_preact(layer, self._inside(layer, signal))
        self._train(layer)

    def local_deltas(self) -> None:
        """Emit, beside each delta of the rule, what backpropagation makes of the rule's delta one layer above."""
        for layer in range(self.last - 1, 0, -1):
            if layer + 1 in self._delta:
                with self.names(error="local."):
                    signal = self.project(self._delta[layer + 1], self.weight(layer + 1), layer)
                    self.to_preact(layer, self.to_activation(layer, signal))

    def schedule(self) -> Schedule:
        """Return what has been emitted, without what no update needs (such as places of maxima under a pre_pool hook)."""
        self.finish_clipping()
        whole = Schedule(self.tensors, tuple(self.ops), self.settings.batch_size, str(self.network), self.rule)
        return whole.needed_for(_is_result)

    # --- details ---------------------------------------------------------------------------------------------------

    def _adversary(self) -> None:
        """Emit true backpropagation of the clean batch down to its inputs, and the batch moved against it."""
        with self.names(forward=CLEAN, error=CLEAN):
            self.given()
            self.segments_forward()
            _, delta = self._output_delta()
            for layer in range(self.last - 1, -1, -1):
                signal = self.project(delta, self.weight(layer + 1), layer)
                if layer:
                    delta = self.to_preact(layer, self.to_activation(layer, signal))
            if self.network.input_dropout:
                signal = self.through_mask(0, signal, self.network.input_shape, self.network.input_dropout)
        clean = self.tensors[f"{CLEAN}act.0"]
        moved = self.tensor("act.0", "act", clean.axes, clean.shape)
        self.emit(kinds.PERTURB, (Value(clean.name), signal), (moved,), "forward", 1, {"eps": self.settings.fgsm})

    def _output_delta(self) -> tuple[Value, Value]:
        """Emit error and exact delta of the output layer."""
        output, shape = Value(self.ahead("output")), (self.settings.batch_size, self.outputs)
        error = self.tensor(self.back("error"), "error", "NK", shape)
        match self.settings.target:
            case "label":
                self.emit(kinds.ERROR, (output, Value("label")), (error,), "error", self.last)
            case "value":
                self.emit(kinds.RESIDUAL, (output, Value("target")), (error,), "error", self.last)
            case _:
                clean = Value(f"{CLEAN}act.0" if f"{CLEAN}act.0" in self.tensors else "act.0")
                self._same_size(clean)
                self.emit(kinds.RESIDUAL, (output, clean), (error,), "error", self.last)
        keeps_slope = self.loss.keeps_slope and self.segment(self.last).activation != "linear"
        if not keeps_slope and self._scale == 1.0:
            return error, error
        return error, self.to_preact(self.last, error, slope=keeps_slope, scale=self._scale)

    def _same_size(self, given: Value) -> None:
        inputs = self.tensors[given.tensor].elements // self.settings.batch_size
        if inputs != self.outputs:
            raise ConfigError(
                f"network {self.network}: an auto-encoder gives back its inputs, but {inputs} inputs meet {self.outputs} "
                "outputs; make both the same"
            )

    def _train(self, layer: int) -> None:
        if layer not in self.settings.frozen(self.network):
            self.update_layer(layer, self._delta[layer])

    def _inside(self, layer: int, signal: Value) -> Value:
        return signal if signal in self._at_activation else self.to_activation(layer, signal)

    def _hook(self, layer: int) -> Value:
        """Return the activation of a hidden layer where direct feedback arrives."""
        return self.active(layer) if self.settings.hook == "pre_pool" else Value(self.ahead(f"act.{layer}"))

    def _signal(self, name: str, layer: int, size: int, *, hooked: bool = False) -> Value:
        value = self.tensor(self.back(f"{name}.{layer}"), "signal", "NJ", (self.settings.batch_size, size))
        if hooked and self.settings.hook == "pre_pool":
            self._at_activation.add(value)
        return value

    def _needs_labels(self) -> None:
        if self.settings.target != "label":
            raise ConfigError(
                f"rule {self.rule} needs labels, but the target is the {self.settings.target}; use a rule that transports "
                "the error"
            )


def _is_result(op: Op) -> bool:
    """Tell whether an op is what a step is run for: it changes the state, or gives the output."""
    return any(value.version > 0 or value.tensor == "output" for value in op.writes)
