"""Masters and weights moved by the gradient of one sample, row by row: a number of delta times a vector of act.

A step is a single multiplication, ``(x y + 2^14) >> 15`` of int16: with x = delta 2^a and y = act 2^b it is
``RND(delta act / 2^s)`` where a + b = 15 - s. That is exact where both fit 16 bits and not both are -2^15.
"""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.move import Mover, Numbers, every
from fasim.kernels.micro.split import PANEL
from fasim.kernels.micro.windows import Loop

_LANES = 32
_WORDS = v.vector(v.I16, _LANES)
# Panels from one that is moved to one that is asked for, in its row or the next: 45 -> 31 us for 500 x 784
_AHEAD = 16


@intrinsic
def move_row(_context, delta, acts, master, weight, columns, numbers):
    """Move a row of masters of int16 and of weights of int8 by ``RND(delta acts / 2^15)``; addresses, all int64.

    `acts` holds whole panels of 64 int16; masters and weights behind the last column are not touched.
    """

    def codegen(context, b, signature, arguments):
        delta, acts, master, weight, columns, packed = arguments
        mover = Mover(b, Numbers(*cgutils.unpack_tuple(b, packed, len(Numbers._fields))), v.I8)
        factor = every(b, delta)

        def panel(first: v.Value, masks: list[v.Value | None]) -> None:
            steps, at = [], b.add(acts, b.mul(first, v.constant(2)))
            later = b.add(first, v.constant(_AHEAD * PANEL))
            v.prefetch(b, b.add(weight, later))
            for byte in (0, 64):
                v.prefetch(b, b.add(master, b.add(b.mul(later, v.constant(2)), v.constant(byte))))
            for i in range(len(masks)):
                act = v.load(b, b.add(at, v.constant(2 * _LANES * i)), _WORDS)
                steps.append(v.call(b, "llvm.x86.avx512.pmul.hr.sw.512", _WORDS, [act, factor]))
            mover.row(steps, b.add(master, b.mul(first, v.constant(2))), b.add(weight, first), masks)

        whole = b.and_(columns, v.constant(-PANEL))
        loop = Loop(b, "move_row", whole, [])
        panel(loop.values[0], [None, None])
        loop.close(v.constant(PANEL), [])
        rest = b.sub(columns, whole)
        with b.if_then(b.icmp_signed(">", rest, v.constant(0))):
            panel(whole, [v.first_lanes(b, b.sub(rest, v.constant(_LANES * i)), _LANES) for i in range(2)])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, numbers), codegen
