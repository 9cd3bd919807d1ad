"""What each rule sends to the hidden layers in fixed point, each beside its equation in training-step.md."""

from __future__ import annotations

from collections.abc import Callable

from .fixed_back import Back, one_hot
from .fixed_numbers import Num, aligned, each
from .fixed_softmax import softmax

THIRD, THIRD_BITS = 341, 10


def _down(b: Back, matrix: Callable[[int], Num]) -> None:
    """Chain from the top: ``signal.l = delta.(l+1) @ matrix.l``, at the end of segment l."""
    for layer in reversed(b.hidden):
        name = f"{b.prefix}signal.{layer}"
        b.enter(layer, name, b.down(name, layer + 1, b.deltas[layer + 1], matrix(layer)), "end")


def bp(b: Back) -> None:
    """``signal.l = delta.(l+1) @ weight.(l+1)``."""
    _down(b, lambda layer: b.passed(layer + 1).weight)


def fa(b: Back) -> None:
    """``signal.l = delta.(l+1) @ feedback.l``; kp alike, its feedback learns."""
    _down(b, lambda layer: b.matrix("feedback", layer))


def dfa(b: Back) -> None:
    """``signal.l = e @ feedback.l``; dkp alike."""
    for layer in b.hidden:
        name = f"signal.{layer}"
        b.enter(layer, name, b.direct(name, layer, b.sent), b.hook)


def sdfa(b: Back) -> None:
    """``signal.l = s * sign(error) @ feedback.l``, the sign bit: -1 where error < 0, else +1."""
    sign = b.run.keep("sign", Num(each(lambda x: -1 if x < 0 else 1, b.error.raw), 0))
    for layer in b.hidden:
        name = f"signal.{layer}"
        b.enter(layer, name, b.direct(name, layer, sign, b.factor_bits), b.hook)


def drtp(b: Back) -> None:
    """``signal.l = s * feedback.l[label]``."""
    for layer in b.hidden:
        name = f"signal.{layer}"
        b.enter(layer, name, b.direct(name, layer, None, b.factor_bits), b.hook)


def shallow(b: Back) -> None:
    """Nothing: hidden layers keep their weights."""


def ifa(b: Back) -> None:
    """``signal.1 = e @ feedback.1``, ``signal.l = delta.(l-1) @ weight.l.T`` at the end."""
    for layer in b.hidden:
        name = f"signal.{layer}"
        if layer == 1:
            b.enter(1, name, b.direct(name, 1, b.sent), b.hook)
        else:
            signal = b.signal(name, b.up(name, b.deltas[layer - 1], b.passed(layer).weight))
            b.enter(layer, name, signal, "end")


def hybrid(b: Back) -> None:
    """Dense layers as dfa, convolutions as bp."""
    for layer in reversed(b.hidden):
        name = f"signal.{layer}"
        if b.passed(layer).layer["kind"] == "conv":
            above = b.passed(layer + 1).weight
            b.enter(layer, name, b.down(name, layer + 1, b.deltas[layer + 1], above), "end")
        else:
            b.enter(layer, name, b.direct(name, layer, b.sent), b.hook)


def _local_error(b: Back, layer: int) -> Num:
    """``local_error.l = softmax(a @ feedback.l.T) - target``, a the activation at the hook."""
    run, tables = b.run, b.run.tables
    score, guess, error = (f"{name}.{layer}" for name in ("score", "guess", "local_error"))
    total = b.up(score, b.active(layer), b.matrix("feedback", layer))
    scored = run.keep(score, run.into(score, total, tables.fmt("preact", score), tables.modes("preact")))
    fmt = tables.fmt("act", guess)
    raw = softmax(scored.raw, scored.frac, fmt.frac, tables.functions.get("softmax_bits", 8))
    guessed = run.keep(guess, Num(run.ranged(guess, raw, fmt, "SAT"), fmt.frac))
    return run.cast(error, guessed.like(guessed.raw - one_hot(run, b.labels, guessed)), "error")


def lafs(b: Back) -> None:
    """``signal.l = local_error.l @ feedback.l``."""
    for layer in b.hidden:
        name = f"signal.{layer}"
        b.enter(layer, name, b.direct(name, layer, _local_error(b, layer)), b.hook)


def _mean(b: Back, layer: int, terms: list[Num]) -> Num:
    """Return the mean: of two a sum at one fraction bit more, of three sum * 341 at 10 more."""
    if len(terms) == 1:
        return terms[0]
    raws, frac = aligned(*(term.reshaped(len(term.raw), -1) for term in terms))
    total = sum(raws[1:], raws[0])
    mean = Num(total, frac + 1) if len(terms) == 2 else Num(total * THIRD, frac + THIRD_BITS)
    return b.run.keep(f"signal.{layer}", mean)


def _own(b: Back, layer: int, auxiliary: bool) -> Num:
    """Return d.l: the output's error, or the layer's own, through feedback.l."""
    name = f"direct.{layer}"
    if name not in b.run.tensors:
        b.direct(name, layer, _local_error(b, layer) if auxiliary else b.sent)
    return b.run.tensors[name]


def _from_above(b: Back, layer: int, delta: Num) -> Num:
    """Return ``delta @ above.l`` where direct signals arrive: it comes from the segment's end."""
    name = f"from_above.{layer}"
    signal = b.down(name, layer + 1, delta, b.matrix("feedback_above", layer))
    return b.to_activation(layer, name, signal)[1] if b.hook == "activation" else signal


def _from_below(b: Back, layer: int, delta: Num) -> Num:
    name = f"from_below.{layer}"
    return b.signal(name, b.transported(name, delta, b.matrix("feedback_below", layer)))


def _arrive(b: Back, layer: int, terms: list[Num]) -> None:
    name = f"signal.{layer}" if len(terms) > 1 else f"direct.{layer}"
    b.enter(layer, name, _mean(b, layer, terms), b.hook)


def strategy1(b: Back, auxiliary: bool = False) -> None:
    """Mean of d.l and ``delta.(l+1) @ above.l``; the top hidden layer d.l alone."""
    for layer in reversed(b.hidden):
        terms = [_own(b, layer, auxiliary)]
        if layer < b.hidden[-1]:
            terms.append(_from_above(b, layer, b.deltas[layer + 1]))
        _arrive(b, layer, terms)


def strategy2(b: Back, auxiliary: bool = False) -> None:
    """Mean of d.l and ``delta.(l-1) @ below.l``; layer 1 d.l alone."""
    for layer in b.hidden:
        terms = [_own(b, layer, auxiliary)]
        if layer > 1:
            terms.append(_from_below(b, layer, b.deltas[layer - 1]))
        _arrive(b, layer, terms)


def strategy3(b: Back, auxiliary: bool = False) -> None:
    """Mean of d.l, ``u.(l-1) @ below.l`` and ``u.(l+1) @ above.l``, u the delta that d alone would give."""
    pure: dict[int, Num] = {}

    def u(layer: int) -> Num:
        if layer not in pure:
            own, name = _own(b, layer, auxiliary), f"direct.{layer}"
            if b.hook == "end":
                _, own = b.to_activation(layer, name, own)
            pure[layer] = b.delta(layer, own, "direct_delta")
        return pure[layer]

    for layer in b.hidden:
        terms = [_own(b, layer, auxiliary)]
        if layer > 1:
            terms.append(_from_below(b, layer, u(layer - 1)))
        if layer < b.hidden[-1]:
            terms.append(_from_above(b, layer, u(layer + 1)))
        _arrive(b, layer, terms)


RULES: dict[str, Callable[[Back], None]] = {
    "bp": bp,
    "fa": fa,
    "kp": fa,
    "dfa": dfa,
    "dkp": dfa,
    "sdfa": sdfa,
    "drtp": drtp,
    "shallow": shallow,
    "ifa": ifa,
    "hybrid": hybrid,
    "lafs": lafs,
    "strategy1": strategy1,
    "strategy2": strategy2,
    "strategy3": strategy3,
    "strategy1_aux": lambda b: strategy1(b, auxiliary=True),
    "strategy2_aux": lambda b: strategy2(b, auxiliary=True),
    "strategy3_aux": lambda b: strategy3(b, auxiliary=True),
}
