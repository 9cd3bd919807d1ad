"""Activations, their slopes, and losses of the float step."""

from __future__ import annotations

import numpy as np

from .float_optimizers import Array, Labels


def activation(name: str, preact: Array) -> Array:
    """Return f(preact), row by row for softmax."""
    if name == "tanh":
        return np.asarray(np.tanh(preact))
    if name == "sigmoid":
        return 1.0 / (1.0 + np.exp(-preact))
    if name == "relu":
        return np.maximum(preact, 0.0)
    if name == "linear":
        return preact.copy()
    if name == "softmax":
        powers = np.exp(preact - preact.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    raise ValueError(f"unknown activation {name!r}")


def slope(name: str, act: Array) -> Array:
    """Return f' of an element-wise activation from its value a = f(z)."""
    if name == "tanh":
        return 1.0 - act**2
    if name == "sigmoid":
        return act * (1.0 - act)
    if name == "relu":
        return np.where(act > 0.0, 1.0, 0.0)
    if name == "linear":
        return np.ones_like(act)
    raise ValueError(f"no element-wise slope for {name!r}")


def one_hot(labels: Labels, outputs: int) -> Array:
    """Return the (N, K) target: 1 in the column of the label."""
    target = np.zeros((len(labels), outputs))
    for sample, label in enumerate(labels):
        target[sample, int(label)] = 1.0
    return target


def loss_value(output: Array, target: Array, loss: str, reduction: str) -> float:
    """Return the loss whose gradient `output_delta` is (used by finite differences)."""
    if loss == "bce":
        terms = -(target * np.log(output) + (1.0 - target) * np.log(1.0 - output))
    elif loss == "cross_entropy":
        terms = -target * np.log(output)
    elif loss == "mse":
        terms = (output - target) ** 2
    else:
        raise ValueError(f"unknown loss {loss!r}")
    return float(terms.sum()) / _divisor(target, loss, reduction)


def _divisor(target: Array, loss: str, reduction: str) -> float:
    samples, outputs = target.shape
    if reduction == "sum":
        return 1.0
    if reduction == "mean":
        return float(samples if loss == "cross_entropy" else samples * outputs)
    raise ValueError(f"unknown reduction {reduction!r}")


def error_factor(target: Array, loss: str, reduction: str) -> float:
    """Return s, what the loss multiplies output - target by: 2 for mse, over N or N*K."""
    return (2.0 if loss == "mse" else 1.0) / _divisor(target, loss, reduction)
