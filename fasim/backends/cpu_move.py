"""Which updates of weights keep their gradient in registers: masters of 16 bits and weights of 8 or 16 that saturate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fasim import kernels
from fasim.backends.cpu_bind import Call
from fasim.backends.cpu_cast import Operands
from fasim.backends.cpu_tiles import BYTES, INT8, INT16, ROWS_AT_ONCE, WINDOW, Factors, widened
from fasim.fixedpoint.cast import limits
from fasim.fixedpoint.format import Fixed
from fasim.kernels.micro.kinds import VNNI
from fasim.kernels.micro.outer_integer import GROUP
from fasim.kernels.micro.outer_move import SERVES
from fasim.kernels.micro.split import PANEL
from fasim.kernels.move_forward import ROWS_AHEAD
from fasim.memory import aligned_zeros
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS

SAT, RND, TRN = OVERFLOWS["SAT"], ROUNDINGS["RND"], ROUNDINGS["TRN"]
WHOLE = {INT8: limits(Fixed(8, 0), "SAT"), INT16: limits(Fixed(16, 0), "SAT")}
FLIP = 0x80808080
# units from which on it pays to look whether int32 holds their sums: with 10 of 500 inputs, in batches of 64, a step of 520
# us took 14 us longer
WORTH_A_LOOK = 16


def moved(found: Factors, gradient: Operands, update: Operands, cast: Operands) -> list[Call] | None:
    """Return the calls of a gradient, its update and the weight's cast, None where these need other kernels.

    The sums' type has been proven by the lowering; what may need int64 is looked at again as it runs, with the numbers at
    hand. So are steps of 16 bits, for they depend on the learning rate.
    """
    if not _served(update, cast):
        return None
    rounding, weight, bits = update.modes[2], cast.out, cast.op.attrs["shift"]
    wide = gradient.out.dtype != np.int32
    if wide and (weight.dtype != INT16 or len(weight) < WORTH_A_LOOK):
        return None
    delta, act = gradient.read[0][:, gradient.part.start : gradient.part.stop], gradient.read[1]
    units, inputs = delta.shape[1], act.shape[1]
    learning = update.arrays[update.op.scalars[0].tensor]
    moves = update.out, update.op.attrs["shift"], learning
    calls: list[Call] = []
    by_bytes = weight.dtype == INT8 and (act.dtype, delta.dtype) in BYTES
    if by_bytes and _single(gradient, update):
        acts = aligned_zeros(-(-inputs // PANEL) * PANEL, np.int16)
        return [
            (kernels.update_weights_of_one, (delta[0], act[0], acts, *moves, update.counter, bits, weight, cast.counter))
        ]
    by_bytes = by_bytes and GROUP == 4
    group = 4 if by_bytes else 2
    types = (np.int8, np.uint8) if by_bytes else (np.int16, np.int16)
    groups = -(-len(delta) // group)
    left = aligned_zeros((groups, units, group), types[0])
    right = aligned_zeros((-(-inputs // PANEL), groups, PANEL, group), types[1])
    offsets = np.zeros(units, np.int32)
    flip = FLIP if by_bytes and act.dtype == INT8 else 0
    act = act if by_bytes else widened(act, calls)
    calls += [(kernels.interleave, (delta, 0, left)), (kernels.split_panels, (act, flip, right))]
    if flip:
        calls.append((kernels.flip_offsets, (left, offsets)))
    shared = *moves, rounding, update.counter, bits, weight, cast.counter
    sums = left, right, offsets, np.zeros_like(offsets)
    if wide:
        halves, pairs = np.empty((2, *left.shape), np.int16), np.empty((groups, inputs, group), np.int16)
        parts, block = np.empty((2, ROWS_AT_ONCE, inputs), np.int32), np.empty((ROWS_AT_ONCE, inputs), np.int64)
        return [*calls, (kernels.update_weights_read, (delta, act, *sums, halves, pairs, parts, block, *shared))]
    kernel: Callable[..., None] = kernels.update_weights_bytes if by_bytes else kernels.update_weights_words
    if weight.dtype == INT16:
        kernel = kernels.update_weights_int16
    return [*calls, (kernel, (*sums, found.largest * found.terms, *shared))]


def forward_moved(
    found: Factors, gradient: Operands, update: Operands, cast: Operands, dense: Operands, *, stored: bool
) -> list[Call] | None:
    """Return the calls of a deferred update and of the forward pass that reads its weights, by one sample each.

    `found` is of the product; `stored` says whether anything else reads the weights. None where other kernels are needed.
    """
    delta, before, act, weight = *gradient.read[:2], dense.read[0], cast.out
    single = VNNI and _served(update, cast) and _single(gradient, update)
    types = {(before.dtype, delta.dtype), (act.dtype, weight.dtype)}
    fits = dense.out.dtype == np.int32 or found.terms * found.largest < WINDOW
    if not (single and types <= BYTES.keys() and before.dtype == act.dtype and fits) or "accumulator" in dense.op.attrs:
        return None
    units, inputs = weight.shape
    panels = -(-inputs // PANEL) * PANEL
    acts, packed = aligned_zeros(panels, np.int16), aligned_zeros(panels, np.uint8)
    sums = dense.out if dense.out.dtype == np.int32 else np.zeros(dense.out.shape, np.int32)
    moves = update.out, update.op.attrs["shift"], update.arrays[update.op.scalars[0].tensor], update.counter
    casts = cast.op.attrs["shift"], weight, stored, cast.counter
    scratch = acts, packed, np.zeros(units + ROWS_AHEAD, np.int64)
    arguments = delta[0], before[0], *moves, *casts, act[0], *scratch, sums[0]
    calls: list[Call] = [(kernels.dense_forward_moved, arguments)]
    return calls if sums is dense.out else [*calls, (kernels.copy_fixed, (sums, dense.out))]


def _served(update: Operands, cast: Operands) -> bool:
    """Tell whether masters have 16 bits, weights 8 or 16, and both use all of them and saturate."""
    lo, hi, rounding, mode = update.modes
    whole = (lo, hi) == WHOLE[INT16] and update.out.dtype == INT16
    weight, bits = cast.out, cast.op.attrs["shift"]
    casts = cast.modes == (*WHOLE.get(weight.dtype, (0, 0)), RND, SAT)
    drops = 1 <= bits <= 15 if weight.dtype == INT8 else bits == 0
    rounds = mode == SAT and rounding in (RND, TRN)
    return SERVES and whole and casts and drops and rounds


def _single(gradient: Operands, update: Operands) -> bool:
    """Tell whether the gradient is that of one sample, and a step of it one multiplication that rounds."""
    return len(gradient.read[0]) == 1 and update.modes[2] == RND
