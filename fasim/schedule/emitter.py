"""What every part of the builder shares: the tensors and ops written so far, and the names that are given out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from fasim import losses, optimizers
from fasim.network import Conv2d, Network, Segment
from fasim.schedule.settings import StepSettings
from fasim.schedule.values import Op, Tensor, Value

LEARNING_RATE = "learning_rate"
FEEDBACK_RATE = "feedback_rate"
# what the temporary tensors of the fast gradient sign pass begin with
CLEAN = "clean."


class Emitter:
    """Collects tensors and ops.

    A second pass over the same network (fast gradient sign, a diagnostic) writes its temporary tensors under a prefix of
    its own; parameters have none and are shared.
    """

    def __init__(self, network: Network, settings: StepSettings, rule: str) -> None:
        self.network = network
        self.settings = settings
        self.rule = rule
        self.loss = losses.get(settings.loss, network.output)
        self.optimizer = optimizers.get(settings.optimizer)
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.forward_prefix = ""
        self.error_prefix = ""

    @property
    def last(self) -> int:
        """Number of the output layer, L."""
        return len(self.network.segments)

    def segment(self, layer: int) -> Segment:
        """Return a segment by its number, from 1."""
        return self.network.segments[layer - 1]

    @contextlib.contextmanager
    def names(self, *, forward: str = "", error: str = "") -> Iterator[None]:
        """Write temporary tensors of the forward pass and of what follows it under these prefixes."""
        before = self.forward_prefix, self.error_prefix
        self.forward_prefix, self.error_prefix = forward, error
        try:
            yield
        finally:
            self.forward_prefix, self.error_prefix = before

    def ahead(self, name: str) -> str:
        """Name of a temporary tensor of the forward pass."""
        return self.forward_prefix + name

    def back(self, name: str) -> str:
        """Name of a temporary tensor of what follows the forward pass."""
        return self.error_prefix + name

    def tensor(self, name: str, cls: str, axes: str, shape: tuple[int, ...], **options: Any) -> Value:  # noqa: ANN401
        """Add a tensor and return its first value."""
        self.tensors[name] = Tensor(name, cls, axes, shape, **options)
        return Value(name)

    def emit(
        self,
        kind: str,
        reads: tuple[Value, ...],
        writes: tuple[Value, ...],
        phase: str,
        layer: int,
        attrs: dict[str, Any] | None = None,
        scalars: tuple[Value, ...] = (),
        site: str = "",
    ) -> None:
        """Add an op."""
        self.ops.append(Op(kind, reads, writes, phase, layer, attrs or {}, scalars, site))


def map_axes(shape: tuple[int, ...]) -> str:
    """Return the axes of a batch of this shape."""
    return "NHWC" if len(shape) == 3 else "NJ"


def weight_axes(segment: Segment, dense: str) -> str:
    """Return the axes of a layer's weights; `dense` are those of a dense layer."""
    return "JRSC" if isinstance(segment.layer, Conv2d) else dense


def conv_attrs(segment: Segment) -> dict[str, Any]:
    """Return stride and padding of a convolution; nothing of a dense layer."""
    if isinstance(segment.layer, Conv2d):
        return {"stride": segment.layer.stride, "padding": segment.layer.padding}
    return {}
