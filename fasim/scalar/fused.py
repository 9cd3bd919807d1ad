"""A fused multiply-add of single numbers, in loops that LLVM makes vectors of."""

from __future__ import annotations

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from fasim.scalar.target import FUSED

_I32 = ir.IntType(32)


@intrinsic
def fused(_context, total, x, y):
    """Return ``total + x y`` of float32, rounded once where the CPU can, else twice."""

    def codegen(_context, builder, _signature, arguments):
        total, x, y = arguments
        return builder.fma(x, y, total) if FUSED else builder.fadd(total, builder.fmul(x, y))

    return types.float32(types.float32, types.float32, types.float32), codegen


@intrinsic
def scaled_by_power(_context, number, power):
    """Return ``number * 2^n``, n = -126 .. 127 in the last bits of a float32: those of ``1.5 * 2^23 + n``."""

    def codegen(_context, builder, _signature, arguments):
        bits = builder.shl(builder.bitcast(arguments[1], _I32), _I32(23))
        scale = builder.add(bits, _I32(127 << 23))
        return builder.fmul(arguments[0], builder.bitcast(scale, ir.FloatType()))

    return types.float32(types.float32, types.float32), codegen
