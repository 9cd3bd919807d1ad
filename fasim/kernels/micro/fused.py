"""A fused multiply-add of single numbers, in loops that LLVM makes vectors of."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from fasim.kernels.micro import vectors as v
from fasim.kernels.micro.target import FUSED


@intrinsic
def fused(_context, total, x, y):
    """Return ``total + x y`` of float32, rounded once where the CPU can, else twice."""

    def codegen(_context, builder, _signature, arguments):
        if FUSED:
            x, y, total = (arguments[i] for i in (1, 2, 0))
            return v.call(builder, "llvm.fma.f32", v.F32, [x, y, total])
        return builder.fadd(arguments[0], builder.fmul(arguments[1], arguments[2]))

    return types.float32(types.float32, types.float32, types.float32), codegen


@intrinsic
def scaled_by_power(_context, number, power):
    """Return ``number * 2^n``, n = -126 .. 127 in the last bits of a float32: those of ``1.5 * 2^23 + n``."""

    def codegen(_context, builder, _signature, arguments):
        bits = builder.shl(builder.bitcast(arguments[1], v.I32), v.I32(23))
        scale = builder.add(bits, v.I32(127 << 23))
        return builder.fmul(arguments[0], builder.bitcast(scale, v.F32))

    return types.float32(types.float32, types.float32), codegen
