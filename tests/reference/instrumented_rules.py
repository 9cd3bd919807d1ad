"""What each rule sends and how parameters learn, on the step of instrumented_step.py.

At N = 1 the gradient of a dense layer (or of direct feedback) that nothing else reads goes straight into the parameter:
the learning rate multiplies each delta once, and each product is added to its weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from .instrumented import Accumulator, Buffer, Number, Sign
from .instrumented_step import Execution, Stored, Triples

Send = Callable[[Execution, int], None]
STATES = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 1, "adam": 2}


@dataclass(frozen=True)
class Learning:
    """How a group of parameters learns, in the run's first step."""

    rate: float
    optimizer: str = "sgd"
    decay: float = 0.0
    decay_kind: str = "coupled"

    def step(self, w: Number, g: Any, states: list[Number]) -> tuple[Number, list[Number]]:
        """Return (parameter, states) after one step; formulas as float_optimizers.update."""
        rate, old = self.rate, w
        if self.decay and self.decay_kind == "coupled":
            g = g + w * self.decay
        match self.optimizer:
            case "sgd":
                w = w - g * rate
            case "momentum":
                states = [states[0] * 0.9 + g]
                w = w - states[0] * rate
            case "nesterov":
                states = [states[0] * 0.9 + g]
                w = w - (g + states[0] * 0.9) * rate
            case "rmsprop":
                states = [states[0] * 0.99 + g * g * 0.01]
                w = w - g * rate / (states[0].root() + 1e-8)
            case "adam":
                states = [states[0] * 0.9 + g * 0.1, states[1] * 0.999 + g * g * 0.001]
                corrected = states[1] * (1.0 / (1.0 - 0.999))
                w = w - states[0] * (1.0 / (1.0 - 0.9)) * rate / (corrected.root() + 1e-8)
        return (w - old * self.lost if self.lost else w), states

    @property
    def lost(self) -> float:
        """What decay beside the gradient takes of a parameter."""
        return {"coupled": 0.0, "decoupled": self.decay, "adamw": self.decay * self.rate}[self.decay_kind]


class Learner:
    """Gradients and updates of one executed step."""

    def __init__(self, step: Execution, weights: Learning, feedback: Learning) -> None:
        self.step, self.tally = step, step.tally
        self.weights, self.biases, self.feedback = weights, replace(weights, decay=0.0), feedback
        self.gradients: dict[int, Buffer] = {}

    def layer(self, layer: int, kept: bool) -> None:
        """Train a layer from its delta; `kept`: something else reads the gradient of its weights too."""
        step, delta, at = self.step, self.step.delta[layer], layer - 1
        triples = ((w, o, i) for o, i, w in step.products(layer))
        dense = step.segments[at].kind == "dense"
        if dense and step.n == 1 and not kept:
            self._rank_one(step.weights[at], triples, delta, step.ends[at], self.weights)
        else:
            self.gradients[layer] = self._gradient(step.weights[at], triples, delta, step.ends[at])
            self._update(step.weights[at], self.gradients[layer], self.weights)
        self._bias(step.biases[at], delta, dense and step.n == 1)

    def shared(self, layer: int) -> None:
        """Let feedback follow the gradient of the weights above (kp)."""
        self._update(self.step.feedback[layer - 1].values, self.gradients[layer + 1], self.feedback)

    def direct(self, layer: int) -> None:
        """Let direct feedback follow the product of the output's delta and the activation at the hook (dkp)."""
        step, matrix = self.step, self.step.feedback[layer - 1].values
        act = step.ends[layer] if step.hook == "post_pool" else step.active[layer - 1]
        triples = (((k, j), (n, k), (n, j)) for n in range(step.n) for k, j in matrix.places)
        delta = step.delta[step.last]
        if step.n == 1:
            self._rank_one(matrix, triples, delta, act, self.feedback)
        else:
            self._update(matrix, self._gradient(matrix, triples, delta, act), self.feedback)

    def _gradient(self, like: Buffer, triples: Triples, delta: Buffer, act: Buffer) -> Buffer:
        self.tally.begin("gradient")
        return self.step.store(self.step.sums(triples, delta, act), self.step.new("gradient", like.shape))

    def _bias(self, bias: Buffer, delta: Buffer, at_hand: bool) -> None:
        self.tally.begin("gradient")
        if at_hand:
            self._update(bias, {place[-1:]: delta[place] for place in delta.places}, self.biases)
            return
        sums = {place: Accumulator(self.tally) for place in bias.places}
        for place in delta.places:
            sums[place[-1:]].add(delta[place])
        self._update(bias, self.step.store(sums, self.step.new("gradient", bias.shape)), self.biases)

    def _update(self, parameter: Buffer, gradient: Any, learning: Learning) -> None:
        self.tally.begin("update")
        states = self._states(parameter, learning)
        for place in parameter.places:
            old = [state[place] for state in states]
            parameter[place], new = learning.step(parameter[place], gradient[place], old)
            self._keep(states, new, place)

    def _rank_one(self, parameter: Buffer, triples: Iterable[Any], delta: Buffer, act: Buffer, learning: Learning) -> None:
        """Add delta times act straight to the parameter: the products belong to the gradient, all else to the update."""
        triples = list(triples)
        self.tally.begin("gradient")
        deltas, acts = ({at: buffer[at] for at in {t[n] for t in triples}} for n, buffer in ((1, delta), (2, act)))
        self.tally.begin("update")
        states = self._states(parameter, learning)
        plain = learning.optimizer == "sgd"
        if plain:
            deltas = {at: Number((number * learning.rate).value, self.tally) for at, number in deltas.items()}
        factor = learning.lost or learning.rate * learning.decay
        for place, a, b in triples:
            w, old = parameter[place], [state[place] for state in states]
            self.tally.phase = "gradient"
            if plain:
                total = Accumulator(self.tally, w)
                total.add(deltas[a] * acts[b], -1)
                self.tally.phase = "update"
                parameter[place] = total.sum - w * factor if factor else total.sum
            else:
                g = deltas[a] * acts[b]
                self.tally.phase = "update"
                parameter[place], new = learning.step(w, g, old)
                self._keep(states, new, place)

    def _states(self, parameter: Buffer, learning: Learning) -> list[Buffer]:
        return [self.step.new("state", parameter.shape) for _ in range(STATES[learning.optimizer])]

    @staticmethod
    def _keep(states: list[Buffer], numbers: list[Number], place: Any) -> None:
        for state, number in zip(states, numbers, strict=True):
            state[place] = number


# --- rules --------------------------------------------------------------------------------------------------------------


def _above(step: Execution, layer: int, matrix: Stored) -> None:
    step.arrive(layer, step.through_layer(layer, matrix), at_end=True)


def _bp(step: Execution, layer: int) -> None:
    _above(step, layer, Stored(step.weights[layer]))


def _fa(step: Execution, layer: int) -> None:
    _above(step, layer, step.feedback[layer - 1])


def _at_hook(step: Execution, layer: int, sent: Buffer | None, scale: float = 1.0) -> None:
    step.arrive(layer, step.direct(layer, sent, scale), at_end=step.hook == "post_pool")


def _dfa(step: Execution, layer: int) -> None:
    _at_hook(step, layer, step.sent)


def _sdfa(step: Execution, layer: int) -> None:
    if layer == step.last - 1:
        step.tally.begin("error")
        step.sign = step.new("error", step.error.shape, signs=True)
        for place in step.error.places:
            number = step.error[place]
            step.sign[place] = Sign((number.value > 0.0) - (number.value < 0.0), step.tally)
    _at_hook(step, layer, step.sign, step.target_scale)


def _drtp(step: Execution, layer: int) -> None:
    _at_hook(step, layer, None, step.target_scale)


def _lafs(step: Execution, layer: int) -> None:
    matrix = step.feedback[layer - 1]
    act = step.ends[layer] if step.hook == "post_pool" else step.active[layer - 1]
    step.tally.begin("error")
    score, guess = (step.new("error", (step.n, matrix.values.shape[0])) for _ in range(2))
    triples = (((n, k), (n, j), (k, j)) for n in range(step.n) for k, j in matrix.values.places)
    step.store(step.sums(triples, act, matrix.values), score, matrix.magnitude)
    local = step.difference(step.activate("softmax", score, guess, "error"))
    _at_hook(step, layer, local, step.local_scale)


def _hybrid(step: Execution, layer: int) -> None:
    (_bp if step.segments[layer - 1].kind == "conv" else _dfa)(step, layer)


def _ifa(step: Execution, layer: int) -> None:
    if layer == 1:
        _dfa(step, layer)
        return
    step.tally.begin("error")
    sums = step.sums(step.products(layer), step.delta[layer - 1], step.weights[layer - 1])
    step.arrive(layer, step.store(sums, step.signal(layer, at_end=True)), at_end=True)


SENDS: dict[str, Send] = {
    "bp": _bp,
    "fa": _fa,
    "kp": _fa,
    "dfa": _dfa,
    "dkp": _dfa,
    "sdfa": _sdfa,
    "drtp": _drtp,
    "lafs": _lafs,
    "hybrid": _hybrid,
    "ifa": _ifa,
}


def execute(step: Execution, rule: str, weights: Learning, feedback: Learning) -> None:
    """Run a whole step of a rule; the buffers of `step` then hold the new parameters, its tally what was done."""

    def arrives_at_end(layer: int) -> bool:
        chained = rule in ("bp", "fa", "kp") or (rule == "hybrid" and step.segments[layer - 1].kind == "conv")
        return rule != "shallow" and (chained or step.hook == "post_pool")

    step.forward(arrives_at_end)
    step.output_error()
    hidden = range(1, step.last) if rule != "shallow" else range(0)
    for layer in hidden if rule == "ifa" else reversed(hidden):
        SENDS[rule](step, layer)
    learner = Learner(step, weights, feedback)
    for layer in sorted(step.delta):
        learner.layer(layer, kept=rule == "kp" and layer > 1)
    for layer in hidden if rule in ("kp", "dkp") else ():
        (learner.shared if rule == "kp" else learner.direct)(layer)
