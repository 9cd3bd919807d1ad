"""Gradients, clipping and updates of whatever learns: weights, biases, normalisation, feedback."""

from __future__ import annotations

from dataclasses import replace

from fasim import optimizers
from fasim.network import Conv2d
from fasim.schedule import ops as kinds
from fasim.schedule.emitter import FEEDBACK_RATE, LEARNING_RATE, conv_attrs
from fasim.schedule.inside import Inside
from fasim.schedule.values import Value


class Learning(Inside):
    """Emits gradients and updates.

    A gradient that is read twice (kp), or clipped, is a tensor of its own at any batch size.
    """

    def weight_gradient(self, layer: int, delta: Value) -> Value:
        """Return the gradient of a layer's weights, written once."""
        name = f"gradient.weight.{layer}"
        if name in self.tensors:
            self._keep(name)
        else:
            segment = self.segment(layer)
            conv = isinstance(segment.layer, Conv2d)
            kind = kinds.GRAD_CONV if conv else kinds.GRAD
            # At N = 1 the gradient of a dense layer is the rank-1 product of two vectors that are at hand, its bias
            # gradient is delta itself: the update makes them on the fly. Any other gradient is a sum over samples (or
            # places) and must be kept.
            materialised = conv or self._must_keep
            self._gradient(f"weight.{layer}", kind, (delta, self.layer_input(layer)), materialised, **conv_attrs(segment))
        return self._clipped(name)

    def update_layer(self, layer: int, delta: Value) -> None:
        """Emit gradient and update of a layer's weight and bias, and of its normalisation, from its delta."""
        segment = self.segment(layer)
        self.update(f"weight.{layer}", self.weight_gradient(layer, delta), "weight", layer)
        materialised = isinstance(segment.layer, Conv2d) or self._must_keep
        self._gradient(f"bias.{layer}", kinds.GRAD_BIAS, (delta,), materialised)
        self.update(f"bias.{layer}", self._clipped(f"gradient.bias.{layer}"), "bias", layer)
        if segment.norm:
            normed = Value(self.back(f"delta_normed.{layer}"))
            self._gradient(f"gain.{layer}", kinds.GRAD_GAIN, (normed, Value(self.ahead(f"normal.{layer}"))), True)
            self._gradient(f"shift.{layer}", kinds.GRAD_BIAS, (normed,), True)
            for name in ("gain", "shift"):
                self.update(f"{name}.{layer}", self._clipped(f"gradient.{name}.{layer}"), "norm", layer)

    def feedback_gradient(self, layer: int, signal: Value, act: Value) -> Value:
        """Return the gradient of a direct feedback matrix: ``signal.T @ act``, both flattened to rows."""
        self._gradient(f"feedback.{layer}", kinds.GRAD, (signal, act), self._must_keep)
        return self._clipped(f"gradient.feedback.{layer}")

    def update(self, parameter: str, gradient: Value, group: str, layer: int) -> None:
        """Emit the update of a parameter in place."""
        settings = self.settings
        learns_feedback = group == "feedback"
        optimizer = optimizers.get((settings.feedback_optimizer if learns_feedback else "") or settings.optimizer)
        rate = LEARNING_RATE
        if learns_feedback:
            rate = FEEDBACK_RATE
            self.tensor(rate, "scalar", "", (), storage="input")
        like = self.tensors[parameter]
        states = [
            self.tensor(f"{state}.{parameter}", "state", like.axes, like.shape, storage="state")
            for state in optimizer.states
        ]
        attrs: dict[str, object] = {"optimizer": optimizer.name, "group": group}
        decay = {"weight": settings.weight_decay, "feedback": settings.feedback_decay}.get(group, 0.0)
        if decay:
            attrs |= {"decay": decay, "decay_kind": settings.decay_kind}
        writes = (Value(parameter, 1), *(Value(state.tensor, 1) for state in states))
        self.emit(kinds.UPDATE, (Value(parameter), gradient, *states), writes, "update", layer, attrs, (Value(rate),))

    def finish_clipping(self) -> None:
        """Emit the clipping of the norm of all gradients, now that all are known; to be called after the last update."""
        kind, limit = self.settings.clipping
        if kind != "norm":
            return
        gradients = [name for name in self.tensors if name.startswith("gradient.")]
        norm = self.tensor("squared_norm", "scalar", "", ())
        updates = [op for op in self.ops if op.kind == kinds.UPDATE]
        self.ops = [op for op in self.ops if op.kind != kinds.UPDATE]
        self.emit(kinds.SQUARED_NORM, tuple(map(Value, gradients)), (norm,), "gradient", self.last)
        for name in gradients:
            clipped = Value(name.replace("gradient.", "clipped."))
            layer = int(name.rpartition(".")[2])
            self.emit(kinds.RESCALE, (Value(name), norm), (clipped,), "gradient", layer, {"limit": limit})
        self.ops += updates

    @property
    def _must_keep(self) -> bool:
        return self.settings.batch_size > 1 or bool(self.settings.clip)

    def _keep(self, gradient: str) -> None:
        """Let a gradient be a tensor of its own, now that a second update reads it."""
        self.tensors[gradient] = replace(self.tensors[gradient], storage="temp")
        self.ops = [
            replace(op, attrs=op.attrs | {"materialised": True}) if op.writes[0].tensor == gradient else op
            for op in self.ops
        ]

    def _gradient(self, parameter: str, kind: str, reads: tuple[Value, ...], materialised: bool, **attrs: object) -> None:
        like = self.tensors[parameter]
        gradient = self.tensor(f"gradient.{parameter}", "gradient", like.axes, like.shape)
        layer = int(parameter.rpartition(".")[2])
        self.emit(kind, reads, (gradient,), "gradient", layer, {"materialised": materialised} | attrs)
        if not materialised:
            self.tensors[gradient.tensor] = replace(self.tensors[gradient.tensor], storage="register")
        clip, limit = self.settings.clipping
        if clip:
            clipped = self.tensor(f"clipped.{parameter}", "gradient", like.axes, like.shape)
        if clip == "value":
            self.emit(kinds.CLIP, (gradient,), (clipped,), "gradient", layer, {"limit": limit})

    def _clipped(self, gradient: str) -> Value:
        return Value(gradient.replace("gradient.", "clipped.") if self.settings.clip else gradient)
