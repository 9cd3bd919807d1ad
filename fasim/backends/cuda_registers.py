"""What the CUDA backend's kernels of registers of limited width are told of them."""

from __future__ import annotations

from fasim.backends.cuda_bind import Operands
from fasim.fixedpoint.accumulator import ORDERS, Acc
from fasim.fixedpoint.cast import limits
from fasim.scalar.rounding import OVERFLOWS, ROUNDINGS
from fasim.schedule import Op
from fasim.schedule import ops as kinds

# whose samples come one after the other
GRADIENTS = (kinds.GRAD, kinds.GRAD_BIAS, kinds.GRAD_CONV)


def register(op: Op, o: Operands) -> tuple[int, ...]:
    """Return shift and rounding of products, lo, hi, overflow, whether every MAC is limited, order and lanes."""
    acc: Acc = op.attrs["accumulator"]
    fmt = o.schedule[op.writes[0]].format
    assert fmt is not None
    rounding = ROUNDINGS[acc.product_rounding or "TRN"]
    modes = rounding, *limits(fmt, acc.overflow), OVERFLOWS[acc.overflow], int(acc.every_mac)
    order = (0, 1) if op.kind in GRADIENTS else (ORDERS.index(acc.order), acc.width)
    return op.attrs.get("product_shift", 0), *modes, *order
