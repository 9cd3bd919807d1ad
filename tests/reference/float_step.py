"""One training step of each rule in float64, written from the papers.

Rows are samples. Lists start at layer 1: ``weights[0]`` is weight.1 of shape (J, I), and
``feedback[0]`` feeds layer 1; only ``acts`` starts at layer 0, the input.
Shapes: N batch, I inputs of a layer, J its units, K outputs of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .float_functions import activation, error_factor, loss_value, one_hot, slope
from .float_optimizers import Array, Labels, Layers, adam, momentum, sgd

__all__ = [
    "Gradients",
    "activation",
    "adam",
    "bp",
    "dfa",
    "drtp",
    "error_factor",
    "fa",
    "forward",
    "loss_value",
    "momentum",
    "one_hot",
    "output_delta",
    "sdfa",
    "sgd",
    "shallow",
    "slope",
]


@dataclass
class Gradients:
    """Deltas and gradients of the layers 1..L; None where a rule gives a layer none."""

    deltas: list[Any]
    weights: list[Any]
    biases: list[Any]


def forward(x: Array, weights: Layers, biases: Layers, hidden: str, output: str) -> tuple[Layers, Layers]:
    """Return (preacts of layers 1..L, acts of layers 0..L): z = a W^T + b, a = f(z)."""
    acts = [np.asarray(x, dtype=np.float64)]
    preacts = []
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True), start=1):
        preacts.append(acts[-1] @ weight.T + bias)
        acts.append(activation(output if layer == len(weights) else hidden, preacts[-1]))
    return preacts, acts


def output_delta(output_act: Array, target: Array, output: str, loss: str, s: float) -> Array:
    """Return delta.L = dLoss/dpreact.L, shape (N, K)."""
    error = output_act - target
    if (loss, output) in (("bce", "sigmoid"), ("cross_entropy", "softmax")):
        return s * error
    if loss == "mse":
        return s * error * slope(output, output_act)
    raise ValueError(f"no output delta for {loss!r} with {output!r}")


def _gradients(deltas: list[Any], acts: Layers) -> Gradients:
    weights, biases = [], []
    for delta, act in zip(deltas, acts[:-1], strict=True):
        weights.append(None if delta is None else delta.T @ act)
        biases.append(None if delta is None else delta.sum(axis=0))
    return Gradients(list(deltas), weights, biases)


def _start(
    x: Array,
    labels: Labels,
    weights: Layers,
    biases: Layers,
    hidden: str,
    output: str,
    loss: str,
    reduction: str,
) -> tuple[Layers, Array, float, Array]:
    """Return (acts, target, s, delta.L): the part that all rules share."""
    _, acts = forward(x, weights, biases, hidden, output)
    target = one_hot(labels, acts[-1].shape[1])
    s = error_factor(target, loss, reduction)
    return acts, target, s, output_delta(acts[-1], target, output, loss, s)


def _with_raw(error_scale: str) -> bool:
    if error_scale not in ("loss_gradient", "raw"):
        raise ValueError(f"unknown error_scale {error_scale!r}")
    return error_scale == "raw"


def bp(
    x: Array,
    labels: Labels,
    weights: Layers,
    biases: Layers,
    *,
    hidden: str,
    output: str,
    loss: str,
    reduction: str,
) -> Gradients:
    """Back-propagation (Rumelhart, Hinton & Williams 1986).

    ``delta.l = (delta.(l+1) W.(l+1)) * f'(z.l)``, from the last hidden layer down.
    """
    acts, _, _, delta = _start(x, labels, weights, biases, hidden, output, loss, reduction)
    deltas = [delta]
    for layer in range(len(weights) - 1, 0, -1):
        weight_above = weights[layer]  # weight.(layer+1)
        delta = (delta @ weight_above) * slope(hidden, acts[layer])
        deltas.insert(0, delta)
    return _gradients(deltas, acts)


def fa(
    x: Array,
    labels: Labels,
    weights: Layers,
    biases: Layers,
    feedback: Layers,
    *,
    hidden: str,
    output: str,
    loss: str,
    reduction: str,
) -> Gradients:
    """Feedback alignment (Lillicrap et al. 2016).

    ``delta.l = (delta.(l+1) B.l) * f'(z.l)``: a fixed B.l of shape (units of l+1, units of l)
    stands where back-propagation has W.(l+1), the output layer's weight included.
    """
    acts, _, _, delta = _start(x, labels, weights, biases, hidden, output, loss, reduction)
    deltas = [delta]
    for layer in range(len(weights) - 1, 0, -1):
        delta = (delta @ feedback[layer - 1]) * slope(hidden, acts[layer])
        deltas.insert(0, delta)
    return _gradients(deltas, acts)


def dfa(
    x: Array,
    labels: Labels,
    weights: Layers,
    biases: Layers,
    feedback: Layers,
    *,
    hidden: str,
    output: str,
    loss: str,
    reduction: str,
    error_scale: str = "loss_gradient",
) -> Gradients:
    """Direct feedback alignment (Nokland 2016).

    ``delta.l = (e B.l) * f'(z.l)``, B.l of shape (K, units of l); e is delta.L, or the plain
    output - target with ``error_scale="raw"``.
    """
    acts, target, _, last = _start(x, labels, weights, biases, hidden, output, loss, reduction)
    sent = acts[-1] - target if _with_raw(error_scale) else last
    deltas = []
    for layer in range(1, len(weights)):
        deltas.append((sent @ feedback[layer - 1]) * slope(hidden, acts[layer]))
    return _gradients([*deltas, last], acts)


def sdfa(
    x: Array,
    labels: Labels,
    weights: Layers,
    biases: Layers,
    feedback: Layers,
    *,
    hidden: str,
    output: str,
    loss: str,
    reduction: str,
    error_scale: str = "loss_gradient",
) -> Gradients:
    """Direct feedback alignment of the error's sign (Frenkel, Lefebvre & Bol 2021).

    ``delta.l = (s sign(y - t) B.l) * f'(z.l)``, sign(0) = 0; without s when raw.
    """
    acts, target, s, last = _start(x, labels, weights, biases, hidden, output, loss, reduction)
    sign = np.sign(acts[-1] - target)
    sent = sign if _with_raw(error_scale) else s * sign
    deltas = []
    for layer in range(1, len(weights)):
        deltas.append((sent @ feedback[layer - 1]) * slope(hidden, acts[layer]))
    return _gradients([*deltas, last], acts)


def drtp(
    x: Array,
    labels: Labels,
    weights: Layers,
    biases: Layers,
    feedback: Layers,
    *,
    hidden: str,
    output: str,
    loss: str,
    reduction: str,
    error_scale: str = "loss_gradient",
) -> Gradients:
    """Direct random target projection (Frenkel, Lefebvre & Bol 2021).

    ``delta.l = (s t B.l) * f'(z.l)``: row `label` of B.l, with a plus sign in the gradient and
    no error at all; without s when raw.
    """
    acts, _, s, last = _start(x, labels, weights, biases, hidden, output, loss, reduction)
    factor = 1.0 if _with_raw(error_scale) else s
    deltas = []
    for layer in range(1, len(weights)):
        rows = np.array([feedback[layer - 1][int(label)] for label in labels])
        deltas.append(factor * rows * slope(hidden, acts[layer]))
    return _gradients([*deltas, last], acts)


def shallow(
    x: Array,
    labels: Labels,
    weights: Layers,
    biases: Layers,
    *,
    hidden: str,
    output: str,
    loss: str,
    reduction: str,
) -> Gradients:
    """Only the output layer learns (the control of Frenkel, Lefebvre & Bol 2021)."""
    acts, _, _, last = _start(x, labels, weights, biases, hidden, output, loss, reduction)
    return _gradients([None] * (len(weights) - 1) + [last], acts)
