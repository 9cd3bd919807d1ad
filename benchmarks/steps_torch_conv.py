"""Convolutions of the hand-written PyTorch steps, in either layout of the maps, and how fasim's arrays become tensors."""

from __future__ import annotations

import numpy as np
import torch

from fasim.network import Conv2d, MaxPool, Segment

ALIGNMENT = 64
ATEN = torch.ops.aten
TANH_BACK = ATEN.tanh_backward.grad_input


def tensor(array: np.ndarray) -> torch.Tensor:
    """Return a copy in PyTorch's own memory, which begins at a cache line."""
    copy = torch.empty(array.shape, dtype=torch.float32)
    copy.numpy()[...] = array
    assert copy.data_ptr() % ALIGNMENT == 0
    return copy


def columns(matrix: np.ndarray, shape: tuple[int, ...], variant: str, *, back: bool = False) -> np.ndarray:
    """Return a matrix with its columns, which stand for maps (H, W, C), in the order of a variant, or back from there."""
    if len(shape) != 3 or variant != "channels first":
        return matrix
    height, width, channels = shape
    axes, source = ((0, 2, 3, 1), (channels, height, width)) if back else ((0, 3, 1, 2), shape)
    return matrix.reshape(len(matrix), *source).transpose(axes).reshape(len(matrix), -1)


def kernels(weight: torch.Tensor, variant: str) -> torch.Tensor:
    """Return kernels (J, R, S, C) as PyTorch's (J, C, R, S), in the memory order of a variant."""
    moved = weight.permute(0, 3, 1, 2)
    return moved.contiguous() if variant == "channels first" else moved.contiguous(memory_format=torch.channels_last)


class ConvLayer:
    """A convolution with tanh and max pooling, on maps (N, C, H, W) in either memory order."""

    def __init__(self, segment: Segment, weight: torch.Tensor, bias: torch.Tensor, variant: str) -> None:
        assert isinstance(segment.layer, Conv2d)
        assert segment.pool is None or isinstance(segment.pool, MaxPool)
        self.weight, self.bias, self.first = kernels(weight, variant), bias, variant == "channels first"
        self.segment, self.pool = segment, segment.pool
        layer = segment.layer
        self.window = [layer.stride] * 2, [layer.padding] * 2, [1, 1], False, [0, 0], 1
        self.steps: list[torch.Tensor] = []

    def _map(self, flat: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Return flat rows as maps (N, C, H, W)."""
        height, width, channels = shape
        if self.first:
            return flat.reshape(-1, channels, height, width)
        return flat.reshape(-1, height, width, channels).permute(0, 3, 1, 2)

    def _flat(self, maps: torch.Tensor) -> torch.Tensor:
        return (maps if self.first else maps.permute(0, 2, 3, 1)).reshape(len(maps), -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the segment's end, as flat rows."""
        self.x = self._map(x, self.segment.in_shape)
        stride, padding = self.window[:2]
        self.act = torch.conv2d(self.x, self.weight, self.bias, stride, padding).tanh_()
        if self.pool is None:
            return self._flat(self.act)
        size, step = [self.pool.kernel] * 2, [self.pool.stride] * 2
        out, self.places = ATEN.max_pool2d_with_indices(self.act, size, step)
        return self._flat(out)

    def project(self, error: torch.Tensor, feedback: torch.Tensor) -> None:
        """Receive an error (N, K) through feedback (K, units before pooling)."""
        self.receive(error @ feedback)

    def select(self, label: torch.Tensor, feedback: torch.Tensor) -> None:
        """Receive the rows of feedback that the labels name."""
        self.receive(torch.index_select(feedback, 0, label))

    def transport(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return the signal to the inputs, as flat rows; the weights' own gradient comes with it where they transport."""
        own = matrix is self.weight
        found = self._gradients(matrix, [True, own, own])
        self.steps = list(found[1:]) if own else []
        return self._flat(found[0])

    def receive(self, signal: torch.Tensor, *, at_end: bool = False) -> None:
        """Make delta of a signal at the activation, or at the segment's end behind the pooling."""
        maps = self._map(signal, self.segment.out_shape if at_end else self.segment.map_shape)
        if at_end and self.pool is not None:
            size, step = [self.pool.kernel] * 2, [self.pool.stride] * 2
            maps = ATEN.max_pool2d_with_indices_backward(maps, self.act, size, step, [0, 0], [1, 1], False, self.places)
        self.delta = ATEN.tanh_backward(maps, self.act)

    def update(self, x: torch.Tensor, rate: float) -> None:  # noqa: ARG002
        """Take the step of sgd."""
        steps = self.steps or self._gradients(self.weight, [False, True, True])[1:]
        self.steps = []
        self.weight.add_(steps[0], alpha=-rate)
        self.bias.add_(steps[1], alpha=-rate)

    def _gradients(self, matrix: torch.Tensor, wanted: list[bool]) -> tuple[torch.Tensor, ...]:
        return ATEN.convolution_backward(self.delta, self.x, matrix, [len(self.bias)], *self.window, wanted)

    def learn_feedback(self, feedback: torch.Tensor, error: torch.Tensor, rate: float) -> None:
        """Take dkp's step of the feedback into this layer."""
        feedback.addmm_(error.t(), self._flat(self.act), alpha=-rate)

    def weights_as_drawn(self, segment: Segment, variant: str) -> np.ndarray:  # noqa: ARG002
        """Return the weights (J, R, S, C)."""
        return self.weight.permute(0, 2, 3, 1).numpy()
