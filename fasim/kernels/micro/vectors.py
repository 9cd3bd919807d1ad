"""Small pieces of LLVM IR that register tiles are made of: masked loads and stores, fused and integer dot products.

Where signatures of intrinsic functions changed (LLVM 22), the older form is written, which newer ones upgrade.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
from llvmlite import ir
from numba.core import cgutils

# for instructions that are written down
llvm.initialize_native_asmparser()

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32 = ir.FloatType()
_ANY_ALIGNMENT = ir.Constant(I32, 1)

Builder = Any
Value = Any


def vector(element: ir.Type, lanes: int) -> ir.VectorType:
    """Return the type of so many lanes."""
    return ir.VectorType(element, lanes)


def constant(value: int) -> ir.Constant:
    """Return an address or a size."""
    return ir.Constant(I64, value)


def zero(kind: ir.Type) -> ir.Constant:
    """Return zeros of a type."""
    return ir.Constant(kind, None)


def splat(b: Builder, value: Value, lanes: int) -> Value:
    """Return a vector with the same value in all lanes."""
    undefined = ir.Constant(vector(value.type, lanes), ir.Undefined)
    first = b.insert_element(undefined, value, ir.Constant(I32, 0))
    return b.shuffle_vector(first, undefined, zero(vector(I32, lanes)))


def shuffle(b: Builder, x: Value, y: Value, lanes: list[int]) -> Value:
    """Return these lanes of two vectors, those of the second counted on."""
    return b.shuffle_vector(x, y, ir.Constant(vector(I32, len(lanes)), lanes))


def call(b: Builder, name: str, result: ir.Type, arguments: list[Value]) -> Value:
    """Call an intrinsic function of LLVM."""
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    return b.call(cgutils.get_or_insert_function(b.module, signature, name), arguments)


def branch_back(b: Builder, head: Value, rounds: int = 1) -> None:
    """Close a loop that begins a line of the instruction cache, of so many rounds at once and not what LLVM would choose.

    A kernel that calls another one is compiled with a copy of it that was already optimized. Loops unrolled twice no longer
    kept all their sums in registers there: an update of 1000 x 1000 for 16 samples took 189 us in place of 153.
    """
    module = b.module
    number = ir.Constant(I32, rounds)
    unroll = ["llvm.loop.unroll.count", number] if rounds > 1 else ["llvm.loop.unroll.disable"]
    hints = [module.add_metadata(unroll), module.add_metadata(["llvm.loop.align", ir.Constant(I32, 64)])]
    loop = ir.MDValue(module, hints, name=str(len(module.metadata)))
    loop.operands = (loop, *hints)  # by which LLVM knows one loop from another
    b.branch(head).set_metadata("llvm.loop", loop)


def lanes_below(b: Builder, limit: Value, lanes: int) -> Value:
    """Return a mask of the lanes whose number is below an int64 (which is itself below 64 and at least 0)."""
    bits = b.sub(b.shl(constant(1), limit), constant(1))
    return b.bitcast(b.trunc(bits, ir.IntType(lanes)) if lanes < 64 else bits, vector(ir.IntType(1), lanes))


def first_lanes(b: Builder, limit: Value, lanes: int) -> Value:
    """Return a mask of the lanes whose number is below any int64, by comparing."""
    numbers = ir.Constant(vector(I32, lanes), list(range(lanes)))
    return b.icmp_signed("<", numbers, splat(b, b.trunc(limit, I32), lanes))


def _suffix(kind: ir.VectorType) -> str:
    element = "f32" if kind.element == F32 else f"i{kind.element.width}"
    return f"v{kind.count}{element}"


def pointer(b: Builder, address: Value, kind: ir.Type) -> Value:
    """Return an int64 as a pointer."""
    return b.inttoptr(address, kind.as_pointer())


def load(b: Builder, address: Value, kind: ir.Type) -> Value:
    """Load from an address of any alignment."""
    loaded = b.load(pointer(b, address, kind))
    loaded.align = 1
    return loaded


def load_masked(b: Builder, address: Value, kind: ir.VectorType, mask: Value) -> Value:
    """Load the lanes of a mask, touch no memory of the others and give them 0."""
    arguments = [pointer(b, address, kind), _ANY_ALIGNMENT, mask, zero(kind)]
    return call(b, f"llvm.masked.load.{_suffix(kind)}.p0", kind, arguments)


def store(b: Builder, value: Value, address: Value) -> None:
    """Store to an address of any alignment."""
    b.store(value, pointer(b, address, value.type)).align = 1


def store_masked(b: Builder, value: Value, address: Value, mask: Value) -> None:
    """Store the lanes of a mask and touch no memory of the others."""
    arguments = [value, pointer(b, address, value.type), _ANY_ALIGNMENT, mask]
    call(b, f"llvm.masked.store.{_suffix(value.type)}.p0", ir.VoidType(), arguments)


def fused(b: Builder, total: Value, x: Value, y: Value) -> Value:
    """Return ``total + x y``, rounded once."""
    return call(b, f"llvm.fma.{_suffix(total.type)}", total.type, [x, y, total])


def dot_words(b: Builder, total: Value, x: Value, y: Value, *, vnni: bool) -> Value:
    """Return ``total[l] + x[2l] y[2l] + x[2l+1] y[2l+1]`` of int16, modulo 2^32."""
    wide = total.type.count == 16
    if vnni:
        # written down, since LLVM 22 divides most into vpmaddwd and vpaddd, to shorten a path that no sum waits for:
        # register tiles take twice as long
        x, y = b.bitcast(x, total.type), b.bitcast(y, total.type)
        signature = ir.FunctionType(total.type, [total.type] * 3)
        return b.asm(signature, "vpdpwssd $3, $2, $0", "=v,0,v,v", [total, x, y], side_effect=False)
    name = "llvm.x86.avx512.pmaddw.d.512" if wide else "llvm.x86.avx2.pmadd.wd"
    return b.add(total, call(b, name, total.type, [x, y]))


def dot_bytes(b: Builder, total: Value, x: Value, y: Value) -> Value:
    """Return ``total[l] + sum of x[4l+i] y[4l+i]``, i = 0..3, of uint8 and int8, modulo 2^32; needs VNNI."""
    x, y = b.bitcast(x, total.type), b.bitcast(y, total.type)
    return call(b, f"llvm.x86.avx512.vpdpbusd.{32 * total.type.count}", total.type, [total, x, y])


def add(b: Builder, x: Value, y: Value) -> Value:
    """Return the sum of two vectors of floats or integers."""
    return b.fadd(x, y) if x.type.element == F32 else b.add(x, y)


def prefetch(b: Builder, address: Value, *, writes: bool = True) -> None:
    """Ask for the cache line of an address, to be written; no address is wrong."""
    arguments = [pointer(b, address, I8), *(ir.Constant(I32, value) for value in (int(writes), 3, 1))]
    call(b, "llvm.prefetch.p0", ir.VoidType(), arguments)
