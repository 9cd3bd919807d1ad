"""Every rule on a list of segments, each beside its equation.

Lists start at layer 1: ``feedback[l - 1]`` feeds layer l. Direct feedback B.l is (K, units of layer l at the
hook), chained feedback has the shape of weight.(l+1); both may be given with map axes. A rule sets
signal.l = dLoss/dact of each hidden segment; the segment turns it into delta.l and gradients exactly
(segments.py). Every value is read before any update: the rules change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .float_functions import activation, error_factor, one_hot
from .float_optimizers import Array, Labels
from .float_step import output_delta
from .maps import dropout
from .segments import Inside, Passed, Segment, backward_inside, forward, from_delta, transport

SITES = {"pre_pool": "activation", "post_pool": "end"}
Matrices = list[Any]  # an entry that a layer has no use for is None


@dataclass(frozen=True)
class Step:
    """What every rule starts from; layer l is ``passed[l - 1]``, `sent` what direct feedback projects."""

    x: Array
    input_mask: Array | None
    input_scale: float
    passed: list[Passed]
    target: Array
    error: Array
    factor: float
    local_factor: float
    sent: Array
    last: Inside
    at: str

    @property
    def hidden(self) -> range:
        """The hidden layers 1 .. L-1."""
        return range(1, len(self.passed))


@dataclass(frozen=True)
class Gradients:
    """Of the layers 1..L: signals (hidden only), deltas, gradients, and of feedback that learns; None where none."""

    signals: list[Any]
    deltas: list[Any]
    weights: list[Any]
    biases: list[Any]
    gains: list[Any]
    shifts: list[Any]
    feedback: list[Any] | None = None


def start(
    x: Array,
    target: Labels | Array | None,
    segments: list[Segment],
    *,
    loss: str,
    reduction: str,
    hook: str = "pre_pool",
    error_scale: str = "loss_gradient",
    input_mask: Array | None = None,
    input_scale: float = 1.0,
) -> Step:
    """Run the forward pass and return the output's delta.L = dLoss/dpreact.L with all that rules read.

    Target: N labels (one-hot), an (N, K) matrix (regression), or None (auto-encoder: the undropped input).
    Direct feedback projects `sent`: delta.L, or ``output - target`` with ``error_scale="raw"``.
    """
    top = segments[-1]
    if top.kind != "dense" or top.norm or top.pool or top.mask is not None:
        raise ValueError("the output segment is a dense layer without normalisation, dropout and pooling")
    if error_scale not in ("loss_gradient", "raw"):
        raise ValueError(f"unknown error_scale {error_scale!r}")
    passed = forward(x, segments, input_mask=input_mask, input_scale=input_scale)
    output = passed[-1].end
    if target is None:
        target = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    elif np.ndim(target) == 1:
        target = one_hot(np.asarray(target, dtype=np.int64), output.shape[1])
    target = np.asarray(target, dtype=np.float64)
    raw, factor = error_scale == "raw", error_factor(target, loss, reduction)
    delta = output_delta(output, target, top.activation, loss, factor)
    return Step(
        x,
        input_mask,
        input_scale,
        passed,
        target,
        error=output - target,
        factor=1.0 if raw else factor,
        local_factor=1.0 if raw or reduction == "sum" else 1.0 / len(target),
        sent=output - target if raw else delta,
        last=from_delta(passed[-1], delta),
        at=SITES[hook],
    )


def _project(sent: Array, matrix: Any) -> Array:
    return sent @ np.asarray(matrix).reshape(sent.shape[1], -1)


def _collect(step: Step, signals: list[Any], insides: list[Any]) -> Gradients:
    each = [*insides, step.last]
    fields = (
        [None if inside is None else getattr(inside, name) for inside in each]
        for name in ("delta", "weight", "bias", "gain", "shift")
    )
    return Gradients(signals, *fields)


def _direct(step: Step, signals: list[Array]) -> Gradients:
    """Let signals that need no other delta enter at the hook."""
    insides = [backward_inside(step.passed[layer - 1], signals[layer - 1], step.at) for layer in step.hidden]
    return _collect(step, signals, insides)


def _down(step: Step, matrices: Matrices) -> Gradients:
    """Chain from the top: ``signal.l = delta.(l+1) M.l``, entering at the end of segment l."""
    signals: list[Any] = []
    insides = [step.last]
    for layer in reversed(step.hidden):
        signals.insert(0, transport(step.passed[layer], insides[0].delta, matrices[layer - 1]))
        insides.insert(0, backward_inside(step.passed[layer - 1], signals[0], "end"))
    return _collect(step, signals, insides[:-1])


def bp(step: Step) -> Gradients:
    """Back-propagation: ``signal.l = delta.(l+1) weight.(l+1)``."""
    return _down(step, [passed.segment.weight for passed in step.passed[1:]])


def fa(step: Step, feedback: Matrices) -> Gradients:
    """Feedback alignment (Lillicrap et al. 2016): ``signal.l = delta.(l+1) B.l``, B.l shaped as weight.(l+1)."""
    return _down(step, feedback)


def kp(step: Step, feedback: Matrices) -> Gradients:
    """Kolen-Pollack (Akrout et al. 2019): fa, and ``dB.l = dweight.(l+1)`` (= delta.(l+1)^T act.l if dense)."""
    gradients = fa(step, feedback)
    learnt = [gradients.weights[layer].reshape(np.shape(feedback[layer - 1])) for layer in step.hidden]
    return replace(gradients, feedback=learnt)


def dfa(step: Step, feedback: Matrices) -> Gradients:
    """Direct feedback alignment (Nokland 2016): ``signal.l = e B.l``, e = delta.L (raw: the error)."""
    return _direct(step, [_project(step.sent, feedback[layer - 1]) for layer in step.hidden])


def dkp(step: Step, feedback: Matrices) -> Gradients:
    """Direct Kolen-Pollack: dfa, and ``dB.l = delta.L^T A.l``, A.l the activation at the hook."""
    learnt = []
    for layer in step.hidden:
        activity = step.passed[layer - 1].activity(step.at)
        learnt.append((step.last.delta.T @ activity).reshape(np.shape(feedback[layer - 1])))
    return replace(dfa(step, feedback), feedback=learnt)


def sdfa(step: Step, feedback: Matrices) -> Gradients:
    """Sign-error DFA (Frenkel, Lefebvre & Bol 2021): ``signal.l = s sign(y - t) B.l``, sign(0) = 0; raw: no s."""
    sent = step.factor * np.sign(step.error)
    return _direct(step, [_project(sent, feedback[layer - 1]) for layer in step.hidden])


def drtp(step: Step, feedback: Matrices) -> Gradients:
    """Direct random target projection (Frenkel, Lefebvre & Bol 2021): ``signal.l = s t B.l``; raw: no s."""
    sent = step.factor * step.target
    return _direct(step, [_project(sent, feedback[layer - 1]) for layer in step.hidden])


def shallow(step: Step) -> Gradients:
    """Only the output layer learns."""
    nothing: list[Any] = [None for _ in step.hidden]
    return _collect(step, nothing, nothing)


def _dense_only(step: Step) -> None:
    if any(passed.segment.kind != "dense" for passed in step.passed):
        raise ValueError("this rule is stated for dense layers only")


def ifa(step: Step, feedback: Matrices) -> Gradients:
    """Indirect feedback alignment (Nokland 2016): the error enters at layer 1 and goes up through the weights.

    ``signal.1 = e B.1`` at the hook, ``signal.l = delta.(l-1) weight.l^T`` for l = 2..L-1, dense layers only.
    """
    _dense_only(step)
    signals = [_project(step.sent, feedback[0])]
    insides = [backward_inside(step.passed[0], signals[0], step.at)]
    for layer in step.hidden[1:]:
        signals.append(insides[-1].delta @ step.passed[layer - 1].segment.weight.T)
        insides.append(backward_inside(step.passed[layer - 1], signals[-1], "end"))
    return _collect(step, signals, insides)


def _local_errors(step: Step, feedback: Matrices) -> list[Array]:
    """Return ``s (softmax(A.l B.l^T) - t)`` of each hidden layer: its local cross-entropy's slope, s = 1 or 1/N."""
    errors = []
    for layer in step.hidden:
        matrix = np.asarray(feedback[layer - 1]).reshape(step.target.shape[1], -1)
        scores = step.passed[layer - 1].activity(step.at) @ matrix.T
        errors.append(step.local_factor * (activation("softmax", scores) - step.target))
    return errors


def lafs(step: Step, feedback: Matrices) -> Gradients:
    """Linear aligned feedback systems: ``signal.l = s (softmax(A.l B.l^T) - t) B.l``, s = 1 (sum) or 1/N."""
    return _direct(step, _own(step, feedback, "auxiliary"))


def _own(step: Step, feedback: Matrices, errors: str) -> list[Array]:
    """Return u.l = e.l B.l with e.l the output's error signal ("output") or LAFS's own ("auxiliary")."""
    sent = {"output": lambda: [step.sent for _ in step.hidden], "auxiliary": lambda: _local_errors(step, feedback)}
    return [_project(error, matrix) for error, matrix in zip(sent[errors](), feedback, strict=True)]


def _to_site(step: Step, layer: int, signal: Array) -> Array:
    """Bring a signal from the end of a dense segment to where direct feedback enters: the activation is before dropout."""
    segment = step.passed[layer - 1].segment
    return dropout(signal, segment.mask, segment.scale) if step.at == "activation" else signal


def strategy1(step: Step, feedback: Matrices, above: Matrices, errors: str = "output") -> Gradients:
    """From above (Flam-Shepherd): ``signal.l = (u.l + delta.(l+1) above.l) / 2``; the top hidden layer: u alone.

    above.l is (units l+1, units l), ``above[l - 1]``; dense layers only; the mean enters at the hook, where the term
    from above comes from the segment's end.
    """
    _dense_only(step)
    signals: list[Any] = _own(step, feedback, errors)
    insides: list[Any] = [None for _ in step.hidden]
    for layer in reversed(step.hidden):
        if layer < step.hidden[-1]:
            arrived = _to_site(step, layer, insides[layer].delta @ above[layer - 1])
            signals[layer - 1] = (signals[layer - 1] + arrived) / 2.0
        insides[layer - 1] = backward_inside(step.passed[layer - 1], signals[layer - 1], step.at)
    return _collect(step, signals, insides)


def strategy2(step: Step, feedback: Matrices, below: Matrices, errors: str = "output") -> Gradients:
    """From below (a reconstruction): ``signal.l = (u.l + delta.(l-1) below.l) / 2``; layer 1: u alone.

    below.l is (units l-1, units l), ``below[l - 1]``; dense layers only; the mean enters at the hook.
    """
    _dense_only(step)
    signals: list[Any] = _own(step, feedback, errors)
    insides: list[Any] = []
    for layer in step.hidden:
        if layer > 1:
            signals[layer - 1] = (signals[layer - 1] + insides[-1].delta @ below[layer - 1]) / 2.0
        insides.append(backward_inside(step.passed[layer - 1], signals[layer - 1], step.at))
    return _collect(step, signals, insides)


def strategy3(step: Step, feedback: Matrices, below: Matrices, above: Matrices, errors: str = "output") -> Gradients:
    """From both sides (Flam-Shepherd): the mean of u.l, ``t.(l-1) below.l`` (l > 1), ``t.(l+1) above.l`` (l < top).

    t.l is the delta of u.l alone, so no signal waits for another; shapes as in strategy1 and strategy2.
    """
    _dense_only(step)
    own = _own(step, feedback, errors)
    pure = _direct(step, own).deltas
    signals = []
    for layer in step.hidden:
        terms = [own[layer - 1]]
        if layer > 1:
            terms.append(pure[layer - 2] @ below[layer - 1])
        if layer < step.hidden[-1]:
            terms.append(_to_site(step, layer, pure[layer] @ above[layer - 1]))
        signals.append(np.mean(terms, axis=0))
    return _direct(step, signals)


def hybrid(step: Step, feedback: Matrices) -> Gradients:
    """BP below, DFA above (Han & Yoo 2019): dense ``signal.l = e B.l``, conv ``signal.l = delta.(l+1) weight.(l+1)``."""
    signals: list[Any] = []
    insides = [step.last]
    for layer in reversed(step.hidden):
        if step.passed[layer - 1].segment.kind == "conv":
            signals.insert(0, transport(step.passed[layer], insides[0].delta, step.passed[layer].segment.weight))
            insides.insert(0, backward_inside(step.passed[layer - 1], signals[0], "end"))
        else:
            signals.insert(0, _project(step.sent, feedback[layer - 1]))
            insides.insert(0, backward_inside(step.passed[layer - 1], signals[0], step.at))
    return _collect(step, signals, insides[:-1])


def fgsm(step: Step, eps: float) -> Array:
    """Return ``x + eps sign(dLoss/dx)`` (Goodfellow et al. 2015), dLoss/dx by true BP; a rule then starts from it."""
    first = step.passed[0]
    slope_of_x = transport(first, bp(step).deltas[0], first.segment.weight).reshape(np.shape(step.x))
    return step.x + eps * np.sign(dropout(slope_of_x, step.input_mask, step.input_scale))
