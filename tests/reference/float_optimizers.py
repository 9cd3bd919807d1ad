"""Optimizers of the float step, on flat lists of parameter arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Layers = list[Array]
Labels = Sequence[int] | NDArray[np.integer[Any]]


def sgd(params: Layers, grads: list[Any], lr: float) -> Layers:
    """Return ``w - lr * g``; a parameter whose gradient is None stays."""
    return [p if g is None else p - lr * g for p, g in zip(params, grads, strict=True)]


def momentum(
    params: Layers, grads: list[Any], velocity: Layers | None, lr: float, mu: float = 0.9
) -> tuple[Layers, Layers]:
    """Return (params, velocity) after ``v = mu * v + g; w = w - lr * v``; None starts at v = 0."""
    new_params, new_velocity = [], []
    velocity = [np.zeros_like(p) for p in params] if velocity is None else velocity
    for p, g, v in zip(params, grads, velocity, strict=True):
        new_velocity.append(v if g is None else mu * v + g)
        new_params.append(p if g is None else p - lr * new_velocity[-1])
    return new_params, new_velocity


def adam(
    params: Layers, grads: list[Any], state: dict[str, Layers] | None, lr: float, step: int
) -> tuple[Layers, dict[str, Layers]]:
    """Return (params, state) after one step of Adam (Kingma & Ba 2015) as PyTorch computes it.

    ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``, and with t = step + 1 (step counts
    from 0) ``w = w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)``.
    """
    beta1, beta2, eps, t = 0.9, 0.999, 1e-8, step + 1
    if state is None:
        state = {"m": [np.zeros_like(p) for p in params], "v": [np.zeros_like(p) for p in params]}
    new_params: Layers = []
    new_state: dict[str, Layers] = {"m": [], "v": []}
    for p, g, m, v in zip(params, grads, state["m"], state["v"], strict=True):
        if g is not None:
            m = beta1 * m + (1.0 - beta1) * g
            v = beta2 * v + (1.0 - beta2) * g**2
            denominator = np.sqrt(v) / np.sqrt(1.0 - beta2**t) + eps
            p = p - lr / (1.0 - beta1**t) * m / denominator
        new_params.append(p)
        new_state["m"].append(m)
        new_state["v"].append(v)
    return new_params, new_state


def nesterov(
    params: Layers, grads: list[Any], velocity: Layers | None, lr: float, mu: float = 0.9
) -> tuple[Layers, Layers]:
    """Return (params, velocity) after ``v = mu * v + g; w = w - lr * (g + mu * v)``, as torch.optim.SGD(nesterov=True)."""
    new_params, new_velocity = [], []
    velocity = [np.zeros_like(p) for p in params] if velocity is None else velocity
    for p, g, v in zip(params, grads, velocity, strict=True):
        new_velocity.append(v if g is None else mu * v + g)
        new_params.append(p if g is None else p - lr * (g + mu * new_velocity[-1]))
    return new_params, new_velocity


def rmsprop(
    params: Layers, grads: list[Any], squares: Layers | None, lr: float, alpha: float = 0.99
) -> tuple[Layers, Layers]:
    """Return (params, squares) after ``s = alpha s + (1 - alpha) g^2; w = w - lr g / (sqrt(s) + 1e-8)``, s not centred."""
    new_params, new_squares = [], []
    squares = [np.zeros_like(p) for p in params] if squares is None else squares
    for p, g, s in zip(params, grads, squares, strict=True):
        new_squares.append(s if g is None else alpha * s + (1.0 - alpha) * g**2)
        new_params.append(p if g is None else p - lr * g / (np.sqrt(new_squares[-1]) + 1e-8))
    return new_params, new_squares


def update(
    optimizer: str,
    params: Layers,
    grads: list[Any],
    state: Any,
    *,
    lr: float,
    step: int = 0,
    decay: float = 0.0,
    decay_kind: str = "coupled",
) -> tuple[Layers, Any]:
    """Return (params, state) after one step of an optimizer with weight decay, which reads the old w.

    ``coupled``: g + decay w is the gradient (torch.optim's weight_decay); ``decoupled``: w loses decay * w, whatever
    the rate (Kolen & Pollack); ``adamw``: w loses lr * decay * w. A parameter whose gradient is None stays.
    """
    lost = {"coupled": 0.0, "decoupled": decay, "adamw": lr * decay}[decay_kind]
    if decay_kind == "coupled":
        grads = [None if g is None else g + decay * p for p, g in zip(params, grads, strict=True)]
    if optimizer == "sgd":
        new_params = sgd(params, grads, lr)
    elif optimizer == "adam":
        new_params, state = adam(params, grads, state, lr, step)
    else:
        with_state = {"momentum": momentum, "nesterov": nesterov, "rmsprop": rmsprop}[optimizer]
        new_params, state = with_state(params, grads, state, lr)
    kept = zip(new_params, params, grads, strict=True)
    return [new if g is None else new - lost * old for new, old, g in kept], state
