"""The hidden deltas of each rule in fixed point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .fixed_sites import Matrix, Sites, multiply, times


@dataclass
class Backward:
    """What a rule reads to form its hidden deltas; `last` is delta.L, with its frac bits."""

    weights: list[Matrix]
    feedback: list[Matrix]
    slopes: list[Matrix | None]
    error: Matrix
    target: Matrix
    last: Matrix
    last_frac: int
    two: bool  # the factor s = 2 of the mean squared error
    raw: bool
    spec: dict[str, Any]
    sites: Sites

    def hidden_delta(self, layer: int, signal: Matrix, signal_frac: int) -> Matrix:
        """Return ``delta.l = cast(signal.l * slope.l)``; a linear layer has no slope factor."""
        slope = self.slopes[layer - 1]
        product = signal if slope is None else times(signal, slope)
        frac = signal_frac if slope is None else signal_frac + self.spec["slope"][1]
        return self.sites.cast(f"delta.{layer}", product, frac, self.spec["delta"])


def _bp(b: Backward) -> list[Matrix | None]:
    """Return ``signal.l = delta.(l+1) weight.(l+1)``, downwards."""
    delta, frac = b.last, b.last_frac
    deltas: list[Matrix | None] = []
    for layer in range(len(b.weights) - 1, 0, -1):
        signal = multiply(delta, b.weights[layer])  # weight.(layer+1)
        delta = b.hidden_delta(layer, signal, frac + b.spec["weight"][1])
        frac = b.spec["delta"][1]
        deltas.insert(0, delta)
    return deltas


def _fa(b: Backward) -> list[Matrix | None]:
    """Return ``signal.l = delta.(l+1) feedback.l``, downwards."""
    delta, frac = b.last, b.last_frac
    deltas: list[Matrix | None] = []
    for layer in range(len(b.weights) - 1, 0, -1):
        signal = multiply(delta, b.feedback[layer - 1])
        delta = b.hidden_delta(layer, signal, frac + b.spec["feedback"][layer - 1][1])
        frac = b.spec["delta"][1]
        deltas.insert(0, delta)
    return deltas


def _dfa(b: Backward) -> list[Matrix | None]:
    """Return ``signal.l = delta.L feedback.l``; raw: the error instead of delta.L."""
    deltas: list[Matrix | None] = []
    for layer in range(1, len(b.weights)):
        sent, frac = (b.error, b.spec["error"][1]) if b.raw else (b.last, b.last_frac)
        signal = multiply(sent, b.feedback[layer - 1])
        deltas.append(b.hidden_delta(layer, signal, frac + b.spec["feedback"][layer - 1][1]))
    return deltas


def _sdfa(b: Backward) -> list[Matrix | None]:
    """Return ``signal.l = s sign(error) feedback.l``; the factor 2 is one frac bit less."""
    sign = [[-1 if x < 0 else 1 for x in row] for row in b.error]  # the sign bit
    deltas: list[Matrix | None] = []
    for layer in range(1, len(b.weights)):
        signal = multiply(sign, b.feedback[layer - 1])
        frac = b.spec["feedback"][layer - 1][1] - (1 if b.two and not b.raw else 0)
        deltas.append(b.hidden_delta(layer, signal, frac))
    return deltas


def _drtp(b: Backward) -> list[Matrix | None]:
    """Return ``signal.l = s target feedback.l``, row `label`; the factor 2 is one frac bit less."""
    deltas: list[Matrix | None] = []
    for layer in range(1, len(b.weights)):
        signal = [list(b.feedback[layer - 1][row.index(1)]) for row in b.target]
        frac = b.spec["feedback"][layer - 1][1] - (1 if b.two and not b.raw else 0)
        deltas.append(b.hidden_delta(layer, signal, frac))
    return deltas


def _shallow(b: Backward) -> list[Matrix | None]:
    """Return nothing for each hidden layer: they do not learn."""
    return [None] * (len(b.weights) - 1)


RULES = {"bp": _bp, "fa": _fa, "dfa": _dfa, "sdfa": _sdfa, "drtp": _drtp, "shallow": _shallow}
