"""What broadcast tiles make of a finished gradient that never leaves the registers: the step of an optimizer.

Each does to a number what its kernel of :mod:`fasim.kernels.optimize` does, operation by operation: the bits are its bits.
"""

from __future__ import annotations

from collections.abc import Callable

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.broadcast import Epilogue, Given, Row, from_zero, load_row, prefetch_row, store_row

Step = Callable[[v.Builder, v.Value, list[v.Value], list[v.Value]], tuple[v.Value, list[v.Value]]]
"""From vectors of the gradient, of each state, of each number: what is taken from the weights, and the new states."""


def _root(b: v.Builder, x: v.Value) -> v.Value:
    return v.call(b, f"llvm.sqrt.v{x.type.count}f32", x.type, [x])


def _mix(b: v.Builder, a: v.Value, x: v.Value, c: v.Value, y: v.Value) -> v.Value:
    """Return ``a x + c y``, rounded three times as the kernels of numbers round."""
    return b.fadd(b.fmul(a, x), b.fmul(c, y))


def _sgd(b: v.Builder, g: v.Value, _states: list[v.Value], numbers: list[v.Value]) -> tuple[v.Value, list[v.Value]]:
    (rate,) = numbers
    return b.fmul(rate, g), []


def _momentum(b: v.Builder, g: v.Value, states: list[v.Value], numbers: list[v.Value]) -> tuple[v.Value, list[v.Value]]:
    rate, mu = numbers
    velocity = b.fadd(b.fmul(mu, states[0]), g)
    return b.fmul(rate, velocity), [velocity]


def _nesterov(b: v.Builder, g: v.Value, states: list[v.Value], numbers: list[v.Value]) -> tuple[v.Value, list[v.Value]]:
    rate, mu = numbers
    velocity = b.fadd(b.fmul(mu, states[0]), g)
    return b.fmul(rate, b.fadd(g, b.fmul(mu, velocity))), [velocity]


def _rmsprop(b: v.Builder, g: v.Value, states: list[v.Value], numbers: list[v.Value]) -> tuple[v.Value, list[v.Value]]:
    rate, a, c, eps = numbers
    square = _mix(b, a, states[0], b.fmul(c, g), g)
    return b.fdiv(b.fmul(rate, g), b.fadd(_root(b, square), eps)), [square]


def _adam(b: v.Builder, g: v.Value, states: list[v.Value], numbers: list[v.Value]) -> tuple[v.Value, list[v.Value]]:
    size, root, b1, c1, b2, c2, eps = numbers
    moment1 = _mix(b, b1, states[0], c1, g)
    moment2 = _mix(b, b2, states[1], b.fmul(c2, g), g)
    divisor = b.fadd(b.fmul(_root(b, moment2), root), eps)
    return b.fdiv(b.fmul(size, moment1), divisor), [moment1, moment2]


def _moving(step: Step, states: int) -> Epilogue:
    """Return what moves weights by a step.

    `given` are the weights' address, the bytes between their rows and how far behind them each state lies, int64; then, as
    float32, what scales w in the gradient, what scales it beside the step, and the numbers of the step.
    """

    def starts(b: v.Builder, row: Row, given: Given) -> list[v.Value]:
        weights = b.add(given[0], b.mul(given[1], v.constant(row.number)))
        return [weights, *(b.add(weights, far) for far in given[2 : 2 + states])]

    def begin(b: v.Builder, row: Row, given: Given) -> list[v.Value]:
        for start in starts(b, row, given):
            prefetch_row(b, row, start)
        return from_zero(b, row, given)

    def end(b: v.Builder, row: Row, sums: list[v.Value], given: Given) -> None:
        couple, shrink, *numbers = (v.splat(b, number, row.lanes) for number in given[2 + states :])
        places = starts(b, row, given)
        before = list(zip(*(load_row(b, row, start, row.kind.sums) for start in places), strict=True))
        zero = v.zero(v.F32)
        couples, shrinks = (b.fcmp_unordered("!=", number, zero) for number in given[2 + states : 4 + states])

        def write(*, decays: bool) -> None:
            after = []
            for g, (w, *old) in zip(sums, before, strict=True):
                gradient = b.select(couples, b.fadd(g, b.fmul(couple, w)), g) if decays else g
                less, new = step(b, gradient, old, numbers)
                less = b.select(shrinks, b.fadd(less, b.fmul(shrink, w)), less) if decays else less
                after.append((b.fsub(w, less), *new))
            for start, values in zip(places, zip(*after, strict=True), strict=True):
                store_row(b, row, start, list(values))

        with b.if_else(b.or_(couples, shrinks)) as (decayed, plain):
            with plain:
                write(decays=False)
            with decayed:
                write(decays=True)

    return Epilogue(end, begin)


DESCENT = _moving(_sgd, 0)
"""``given = (weight, step, couple, shrink, rate)``"""
MOMENTUM, NESTEROV = _moving(_momentum, 1), _moving(_nesterov, 1)
"""``given = (weight, step, velocity - weight, couple, shrink, rate, mu)``"""
RMSPROP = _moving(_rmsprop, 1)
"""``given = (weight, step, square - weight, couple, shrink, rate, alpha, 1 - alpha, eps)``"""
ADAM = _moving(_adam, 2)
"""``given = (weight, step, moment1 - weight, moment2 - weight, couple, shrink, size, root, b1, 1 - b1, b2, 1 - b2, eps)``;
`size` and `root` are those of `fasim.kernels.optimize.corrections`."""
