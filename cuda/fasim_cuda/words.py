"""Four bytes a word: packing, and the machine's instructions that multiply words, as they are called in a kernel.

`dots` makes what adds four products of bytes at once, the instruction ``dp4a``. On the GPU it is that instruction; in the
simulator its twin of plain integers runs, so that what is seen there says nothing of the instruction. `multiplier` makes
the tensor cores' ``mma``; since 32 threads take part in it, its twin is in `fasim_cuda.byte_products`, beside the kernels,
whose memory threads share. `cuda/check_compile.py` looks for both instructions in what is compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from fasim_cuda.scalars import scalar
from fasim_cuda.target import is_simulated

# PTX's names of the types that a word's bytes may have
BYTES = {"int8": "s8", "uint8": "u8"}
WORDS = {"int8": "s32", "uint8": "u32"}


@scalar
def packed(b0, b1, b2, b3):
    """Return four bytes, signed or not, as a word; the first is the lowest."""
    low = (np.int32(b0) & np.int32(255)) | (np.int32(b1) & np.int32(255)) << np.int32(8)
    high = (np.int32(b2) & np.int32(255)) | (np.int32(b3) & np.int32(255)) << np.int32(8)
    return np.int32(np.int32(low) | np.int32(high) << np.int32(16))


@scalar
def dot_twin(total, x, y, x_flip, y_flip):
    """Return ``total`` and four products of the bytes of two words, as ``dp4a`` does.

    Parameters
    ----------
    total, x, y : int32
    x_flip, y_flip : int64
        128 where bytes are signed, 0 where they are not: ``(b ^ 128) - 128`` is b with its sign.
    """
    for shift in (0, 8, 16, 24):
        a = ((np.int64(x) >> shift & 255) ^ x_flip) - x_flip
        b = ((np.int64(y) >> shift & 255) ^ y_flip) - y_flip
        total = np.int32(np.int64(total) + a * b)
    return total


def flip(dtype: str) -> np.int64:
    """Return what `dot_twin` reads the bytes of a type with."""
    return np.int64(128 if dtype == "int8" else 0)


def _instruction(name: str, results: int, operands: int, *, together: bool) -> Any:  # noqa: ANN401
    """Make a function that is one instruction of PTX: of a tuple of int32, to an int32 or to a tuple of them.

    Parameters
    ----------
    name : str
        The instruction with its operands, results first.
    results, operands : int
    together : bool
        Whether the threads of a warp take part in it together: it is then not moved into a branch.
    """
    from llvmlite import ir  # type: ignore[import-untyped]
    from numba.core import cgutils, types
    from numba.cuda.extending import intrinsic

    word = ir.IntType(32)
    what = word if results == 1 else ir.LiteralStructType([word] * results)
    returned = types.int32 if results == 1 else types.UniTuple(types.int32, results)
    constraints = ",".join(["=r"] * results + ["r"] * operands)

    @intrinsic
    def instruction(typing_context, values):  # noqa: ARG001
        def generate(context, builder, signature, arguments):  # noqa: ARG001
            function = ir.FunctionType(what, [word] * operands)
            assembly = ir.InlineAsm(function, name, constraints, side_effect=together)
            found = builder.call(assembly, cgutils.unpack_tuple(builder, arguments[0], operands))
            if results == 1:
                return found
            return cgutils.pack_array(builder, [builder.extract_value(found, n) for n in range(results)])

        return returned(types.UniTuple(types.int32, operands)), generate

    return instruction


def dots(left: str, right: str) -> Any:  # noqa: ANN401
    """Return ``dot(total, x, y)``: total and the products of the four bytes of x and y, int32.

    Parameters
    ----------
    left, right : str
        ``int8`` or ``uint8``: how the bytes of x, and of y, are read.
    """
    if is_simulated:
        x_flip, y_flip = flip(left), flip(right)
        return lambda total, x, y: dot_twin(total, x, y, x_flip, y_flip)
    dp4a = _instruction(f"dp4a.{WORDS[left]}.{WORDS[right]} $0, $1, $2, $3;", 1, 3, together=False)

    @njit(inline="always")
    def dot(total, x, y):
        return dp4a((x, y, total))

    return dot


def multiplier(left: str, right: str) -> Any:  # noqa: ANN401
    """Return the instruction of tensor cores that adds a product of 16 x 32 by 32 x 8 bytes to 16 x 8 sums.

    It takes ten int32 of each thread of a warp - four words of the left operand, two of the right one, four sums - and
    returns four sums; which thread holds what is in PTX's "Matrix fragments for mma.m16n8k32". Not for the simulator.
    """
    name = f"mma.sync.aligned.m16n8k32.row.col.s32.{BYTES[left]}.{BYTES[right]}.s32"
    return _instruction(f"{name} {{$0,$1,$2,$3}}, {{$4,$5,$6,$7}}, {{$8,$9}}, {{$10,$11,$12,$13}};", 4, 10, together=True)
