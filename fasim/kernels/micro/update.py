"""What broadcast tiles make of a finished gradient that never leaves the registers."""

from __future__ import annotations

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.broadcast import Epilogue, Given, Row, from_zero, load_row, prefetch_row, store_row


def _start(b: v.Builder, row: Row, given: Given) -> v.Value:
    return b.add(given[0], b.mul(given[1], v.constant(row.number)))


def _begin(b: v.Builder, row: Row, given: Given) -> list[v.Value]:
    prefetch_row(b, row, _start(b, row, given))
    return from_zero(b, row, given)


def _descend(b: v.Builder, row: Row, sums: list[v.Value], given: Given) -> None:
    """Write ``w - rate g``, in the arithmetic of :func:`fasim.kernels.optimize.sgd`, `given` as below."""
    rate, couple, shrink = (v.splat(b, number, row.lanes) for number in given[2:])
    start = _start(b, row, given)
    weights = load_row(b, row, start, row.kind.sums)
    zero = v.zero(v.F32)
    couples, shrinks = (b.fcmp_unordered("!=", number, zero) for number in given[3:])
    with b.if_else(b.or_(couples, shrinks)) as (decayed, plain):
        with plain:
            moved = [b.fsub(w, b.fmul(rate, g)) for w, g in zip(weights, sums, strict=True)]
            store_row(b, row, start, moved)
        with decayed:
            moved = []
            for w, g in zip(weights, sums, strict=True):
                step = b.fmul(rate, b.select(couples, b.fadd(g, b.fmul(couple, w)), g))
                moved.append(b.fsub(w, b.select(shrinks, b.fadd(step, b.fmul(shrink, w)), step)))
            store_row(b, row, start, moved)


DESCENT = Epilogue(_descend, _begin)
"""Gradient descent of weights: ``given = (weight, step, rate, couple, shrink)``, the last three float32."""
