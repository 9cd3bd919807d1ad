"""Training steps in PyTorch that fasim is timed against, with tanh, sigmoid and bce.

M, the step that someone writes who knows the rule and PyTorch: no autograd, all buffers at hand, ``out=`` and ``addmm_``,
the weight read once for the product and once for the update. E, what most write: modules, autograd, SGD. Both read float
inputs that lie ready, rows in the order that is given. What a step computes is in ``docs/reference/training-step.md``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from steps_torch_conv import TANH_BACK, ConvLayer, columns, kernels, tensor

from fasim.backends import Samples
from fasim.network import Conv2d, Network, Segment
from fasim.state import State

RULES = ("bp", "fa", "dfa", "sdfa", "drtp", "dkp")


class DenseLayer:
    """A layer on matrices of N rows."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, batch: int, *, top: bool) -> None:
        self.weight, self.bias = weight, bias
        self.act, self.delta, self.signal = (torch.zeros(batch, len(bias)) for _ in range(3))
        self.below, self.bias_step = torch.zeros(batch, weight.shape[1]), torch.zeros_like(bias)
        self.activate = torch.sigmoid if top else torch.tanh

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activation (N, J)."""
        torch.addmm(self.bias, x, self.weight.t(), out=self.act)
        return self.activate(self.act, out=self.act)

    def project(self, error: torch.Tensor, feedback: torch.Tensor) -> None:
        """Receive an error (N, K) through feedback (K, J)."""
        self.receive(torch.mm(error, feedback, out=self.signal))

    def select(self, label: torch.Tensor, feedback: torch.Tensor) -> None:
        """Receive the rows of feedback (K, J) that the labels name."""
        self.receive(torch.index_select(feedback, 0, label, out=self.signal))

    def transport(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return the signal to the inputs."""
        return torch.mm(self.delta, matrix, out=self.below)

    def receive(self, signal: torch.Tensor, *, at_end: bool = False) -> None:  # noqa: ARG002
        """Make delta of a signal; where it arrives makes no difference here."""
        TANH_BACK(signal, self.act, grad_input=self.delta)

    def update(self, x: torch.Tensor, rate: float) -> None:
        """Take the step of sgd."""
        self.weight.addmm_(self.delta.t(), x, alpha=-rate)
        torch.sum(self.delta, 0, out=self.bias_step)
        self.bias.add_(self.bias_step, alpha=-rate)

    def learn_feedback(self, feedback: torch.Tensor, error: torch.Tensor, rate: float) -> None:
        """Take dkp's step of the feedback into this layer."""
        feedback.addmm_(error.t(), self.act, alpha=-rate)

    def weights_as_drawn(self, segment: Segment, variant: str) -> np.ndarray:
        """Return the weights (J, I) in fasim's order of the inputs."""
        return columns(self.weight.numpy(), segment.in_shape, variant, back=True)


class VectorLayer(DenseLayer):
    """The same for one sample: matrix times vector and rank-1 updates, where PyTorch is faster with them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activation (1, J)."""
        torch.addmv(self.bias, self.weight, x[0], out=self.act[0])
        return self.activate(self.act, out=self.act)

    def project(self, error: torch.Tensor, feedback: torch.Tensor) -> None:
        """Receive an error (1, K) through feedback (K, J)."""
        torch.mv(feedback.t(), error[0], out=self.signal[0])
        self.receive(self.signal)

    def transport(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return the signal to the inputs."""
        torch.mv(matrix.t(), self.delta[0], out=self.below[0])
        return self.below

    def update(self, x: torch.Tensor, rate: float) -> None:
        """Take the step of sgd."""
        self.weight.addr_(self.delta[0], x[0], alpha=-rate)
        self.bias.add_(self.delta[0], alpha=-rate)

    def learn_feedback(self, feedback: torch.Tensor, error: torch.Tensor, rate: float) -> None:
        """Take dkp's step of the feedback into this layer."""
        feedback.addr_(error[0], self.act[0], alpha=-rate)


class Inputs:
    """Samples as floats, and the batches of an order that starts anew where it ends."""

    def __init__(self, network: Network, data: Samples, order: np.ndarray, batch: int, layout: str) -> None:
        x = data.codes * data.scale
        if layout == "channels first":
            x = x.reshape(-1, *network.input_shape).transpose(0, 3, 1, 2)
        self.x, self.labels = tensor(x.reshape(len(x), -1)), torch.from_numpy(data.labels)
        self.targets = torch.eye(network.outputs)[self.labels]
        self.order = torch.from_numpy(order)
        self.rows = self.order.split(batch)[: len(order) // batch]
        # one sample is read where it lies, by views made beforehand
        self.singles = (
            list(zip(*(t.split(1) for t in (self.x, self.targets, self.labels)), strict=True)) if batch == 1 else []
        )
        self.numbers = order.tolist()
        self.buffers = torch.zeros(batch, network.inputs), torch.zeros(batch, network.outputs), torch.zeros(batch).long()

    def batches(self, steps: int, *, labels: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield inputs (N, I), targets (N, K) and, if they are wanted, labels (N,) of so many batches."""
        x, target, label = self.buffers
        for step in range(steps):
            if self.singles:
                yield self.singles[self.numbers[step % len(self.numbers)]]
                continue
            rows = self.rows[step % len(self.rows)]
            torch.index_select(self.x, 0, rows, out=x)
            torch.index_select(self.targets, 0, rows, out=target)
            if labels:
                torch.index_select(self.labels, 0, rows, out=label)
            yield x, target, label


class HandWritten:
    """M for one network, rule and batch size.

    Parameters
    ----------
    network : Network
    rule : str
        One of `RULES`.
    state : State
        Weights, biases and feedback to start from, float32.
    data : Samples
    order : ndarray of int64
    batch : int
    rate : float
    variant : str
        One of `variants`.
    """

    def __init__(
        self,
        network: Network,
        rule: str,
        state: State,
        data: Samples,
        order: np.ndarray,
        batch: int,
        rate: float,
        variant: str,
    ) -> None:
        assert rule in RULES, rule
        settle()
        self.network, self.rule, self.rate, self.variant = network, rule, rate, variant
        self.inputs = Inputs(network, data, order, batch, variant)
        self.sign = torch.zeros(batch, network.outputs)
        self.layers = [self._layer(segment, state, batch) for segment in network.segments]
        self.feedback = [] if rule == "bp" else [self._feedback(segment, state) for segment in network.segments[:-1]]
        self.learned = [part for layer in self.layers for part in (layer.weight, layer.bias)] + self.feedback
        self.initial = [part.clone() for part in self.learned]

    def _layer(self, segment: Segment, state: State, batch: int) -> DenseLayer | ConvLayer:
        weight, bias = (state[f"{what}.{segment.index}"] for what in ("weight", "bias"))
        if isinstance(segment.layer, Conv2d):
            return ConvLayer(segment, tensor(weight), tensor(bias), self.variant)
        kind = VectorLayer if self.variant == "vectors" else DenseLayer
        top = segment.index == len(self.network.segments)
        return kind(tensor(columns(weight, segment.in_shape, self.variant)), tensor(bias), batch, top=top)

    def _feedback(self, segment: Segment, state: State) -> torch.Tensor:
        """Return the feedback into a hidden layer, as its reader wants it."""
        matrix = state[f"feedback.{segment.index}"]
        if matrix.ndim == 4:
            return kernels(tensor(matrix), self.variant)
        shape = segment.out_shape if self.rule == "fa" else segment.map_shape
        return tensor(columns(matrix, shape, self.variant))

    def restart(self) -> None:
        """Go back to the initial weights, biases and feedback."""
        for part, initial in zip(self.learned, self.initial, strict=True):
            part.copy_(initial)

    @torch.no_grad()
    def run(self, steps: int) -> None:
        """Train over so many batches."""
        for x, target, label in self.inputs.batches(steps, labels=self.rule == "drtp"):
            self._step(x, target, label)

    def _step(self, x: torch.Tensor, target: torch.Tensor, label: torch.Tensor) -> None:
        layers, read = self.layers, []
        for layer in layers:
            read.append(x)
            x = layer.forward(x)
        error = torch.sub(x, target, out=layers[-1].delta)
        self._send(error, label)
        for layer, act in zip(layers, read, strict=True):
            layer.update(act, self.rate)
        if self.rule == "dkp":
            for layer, feedback in zip(layers, self.feedback, strict=False):
                layer.learn_feedback(feedback, error, self.rate)

    def _send(self, error: torch.Tensor, label: torch.Tensor) -> None:
        """Bring every hidden layer its signal, from weights and feedback as they were before the step."""
        if self.rule in ("bp", "fa"):
            for below in range(len(self.layers) - 2, -1, -1):
                above = self.layers[below + 1]
                matrix = above.weight if self.rule == "bp" else self.feedback[below]
                self.layers[below].receive(above.transport(matrix), at_end=True)
            return
        if self.rule == "sdfa":
            error = torch.sign(error, out=self.sign)
        for layer, feedback in zip(self.layers, self.feedback, strict=False):
            if self.rule == "drtp":
                layer.select(label, feedback)
            else:
                layer.project(error, feedback)

    def parameters(self) -> State:
        """Return weights, biases and learned feedback in fasim's names and shapes."""
        found = {}
        for segment, layer in zip(self.network.segments, self.layers, strict=True):
            found[f"weight.{segment.index}"] = layer.weights_as_drawn(segment, self.variant)
            found[f"bias.{segment.index}"] = layer.bias.numpy()
            if self.rule == "dkp" and segment.index <= len(self.feedback):
                matrix = self.feedback[segment.index - 1].numpy()
                found[f"feedback.{segment.index}"] = columns(matrix, segment.map_shape, self.variant, back=True)
        return {name: array.copy() for name, array in found.items()}


def settle() -> None:
    """Let PyTorch choose its kernel of tanh on one thread.

    oneMKL 2024.2 within PyTorch looks for it at the first call. Where two threads make that call at once, one of them may
    use a kernel of low accuracy for its part, though it was asked for the high one (pytorch/pytorch#188792; M calls no
    other function of that library). Measured on two cores with 2.13.0+cpu in 2,000 processes: the first tanh of 16 x 500
    was off by 5e-5 in one thread's half in 24 of them, after this call in none; the first proof then failed.
    """
    torch.tanh(torch.zeros(1))


def variants(network: Network, batch: int) -> tuple[str, ...]:
    """Return the ways to write M, of which the fastest counts."""
    if any(isinstance(segment.layer, Conv2d) for segment in network.segments):
        return "channels last", "channels first"
    return ("matrices", "vectors") if batch == 1 else ("matrices",)
