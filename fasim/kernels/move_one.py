"""Updates of masters of 16 bits and of their weights of 8 by the gradient of one sample."""

from __future__ import annotations

import numpy as np

from fasim.kernels.compile import kernel
from fasim.kernels.micro.arrays import start
from fasim.kernels.micro.move import near_end
from fasim.kernels.micro.move_row import move_row
from fasim.kernels.micro.split import PANEL
from fasim.kernels.requantize import requantize
from fasim.kernels.update import update_fixed
from fasim.scalar.rounding import RND, SAT

BITS = 15
# a delta of -2^7 becomes -2^15 by 8 bits, an act 2^15 less one step at most by 7
DELTA_BITS, _ACT_BITS = 8, 7


@kernel
def update_weights_of_one(
    delta, act, acts, master, base_shift, learning_shift, counters, cast_shift, weight, cast_counters
):
    """Move weights by the gradient of one sample: `update_fixed` and `requantize` of a product, by RND and SAT.

    ``master[j, i] = SAT(master - RND(delta[j] * act[i] / 2^(base + k)))``, ``weight = SAT(RND(master / 2^s))``

    Parameters
    ----------
    delta : int8[J]
    act : int8[I] or uint8[I]
    acts : int16[64 ceil(I / 64)]           scratch
    master : int16[J, I]                    updated; rows of any step
    base_shift : int64                      fraction bits of the product minus those of the master
    learning_shift : int64[1]               k of this step
    counters, cast_counters : int64[2]
        The first of each grows by the masters, the weights that were saturated.
    cast_shift : int64                      s, 1 to 15
    weight : int8[J, I]                     written; rows of any step

    Raises ValueError where shapes, layouts or the cast do not fit. Cost: J I products; reads and writes the master, writes
    the weight. A shift beyond 0 to 15 takes several times as long.
    """
    units, inputs = master.shape
    if delta.size != units or act.size != inputs or weight.shape != master.shape or acts.size < -(-inputs // PANEL) * PANEL:
        raise ValueError(
            "update_weights_of_one: needs delta (J), act (I), master and weight (J, I), and acts in whole panels"
        )
    apart = inputs > 1 and (master.strides[1] != master.itemsize or weight.strides[1] != weight.itemsize)
    if apart or acts.strides[0] != acts.itemsize:
        raise ValueError("update_weights_of_one: needs rows whose elements lie side by side")
    if cast_shift < 1 or cast_shift > BITS:
        raise ValueError("update_weights_of_one: needs a cast that drops 1 to 15 bits")
    shift = base_shift + learning_shift[0]
    if 0 <= shift <= BITS:
        up = min(BITS - shift, DELTA_BITS)
        more = BITS - shift - up
        for i in range(inputs):
            acts[i] = np.int64(act[i]) << more
        cast = np.int64(1) << np.int64(BITS - cast_shift), np.int64(near_end(cast_shift))
        numbers = (np.int64(shift), *cast, start(counters), start(cast_counters))
        to, copy, source = start(master), start(weight), start(acts)
        for j in range(units):
            factor = np.int64(delta[j]) << up
            move_row(factor, source, to + j * master.strides[0], copy + j * weight.strides[0], inputs, numbers)
        return
    product = np.empty(inputs, np.int32)
    for j in range(units):
        for i in range(inputs):
            product[i] = np.int32(delta[j]) * np.int32(act[i])
        update_fixed(
            master[j], product, base_shift, learning_shift, -(1 << 15), (1 << 15) - 1, RND, SAT, 0, 0, learning_shift, 0,
            counters,
        )  # fmt: skip
        requantize(master[j], cast_shift, -128, 127, RND, SAT, 0, 0, 0, 0, weight[j], cast_counters)
