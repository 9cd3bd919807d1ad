"""How many products the ops on matrices really make: padding left out, or zeros skipped, where the hardware does so."""

from __future__ import annotations

import math

from fasim.energy.options import CostOptions
from fasim.schedule import Op, Schedule
from fasim.schedule import ops as kinds

# their second operand is a signal too, not a matrix
_OF_TWO_SIGNALS = (kinds.GRAD, kinds.GRAD_CONV)


def products(schedule: Schedule, op: Op, dense: int, options: CostOptions) -> int:
    """Return the products that an op makes, of `dense` that its shapes say.

    ``dense * (valid taps / all taps) * density of the signal * density of the matrix``; each where it is skipped.
    """
    if options.padding == "skip" and op.kind in (kinds.CONV, kinds.PROJECT_CONV, kinds.GRAD_CONV):
        valid, taps = _taps(schedule, op)
        dense = dense * valid // taps
    if options.skip == "none":
        return dense
    share = options.density(op.reads[0].tensor) if options.skips_acts else 1.0
    if options.skips_acts if op.kind in _OF_TWO_SIGNALS else options.skips_weights:
        share *= options.density(op.reads[1].tensor)
    return round(dense * share)


def _taps(schedule: Schedule, op: Op) -> tuple[int, int]:
    """Return how many taps of all windows lie on the map, and how many there are: of one sample and pair of channels."""
    match op.kind:
        case kinds.CONV:
            wide, narrow, kernel = (schedule[v].shape for v in (op.reads[0], op.writes[0], op.reads[1]))
        case kinds.PROJECT_CONV:
            narrow, kernel = (schedule[v].shape for v in op.reads)
            wide = (narrow[0], *op.attrs["in_shape"])
        case _:
            narrow, wide, kernel = (schedule[v].shape for v in (*op.reads, op.writes[0]))
    stride, padding = op.attrs["stride"], op.attrs["padding"]
    valid = math.prod(
        sum(
            0 <= place * stride + tap - padding < wide[axis] for place in range(narrow[axis]) for tap in range(kernel[axis])
        )
        for axis in (1, 2)
    )
    return valid, narrow[1] * narrow[2] * kernel[1] * kernel[2]
