"""Small functions that fetch the arguments of a kernel from memory and call it, compiled for the shapes of its arguments.

Numba compiles a kernel to a native function whose arguments are numbers and pointers; an array is seven numbers or more. A
trampoline knows which kinds follow one another, not which kernel it is: one serves all kernels of such arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
from llvmlite import ir

Kinds = tuple[str, ...]
Number = Any  # in LLVM IR

BYTE, WORD, STATUS = ir.IntType(8), ir.IntType(64), ir.IntType(32)
POINTER = BYTE.as_pointer()
BY_REFERENCE = "i64&"
"""Kind of an argument whose block holds where the number is, not the number."""

_addresses: dict[Kinds, int] = {}
_engines: list[Any] = []  # which own the compiled code


def addresses(kinds: Iterable[Kinds]) -> list[int]:
    """Return the addresses of trampolines, compiling those that are not there yet.

    Parameters
    ----------
    kinds : iterable of tuple of str
        LLVM types of all arguments, and `BY_REFERENCE`.

    Returns
    -------
    list of int
        Functions ``int32 (int64 *block)``: word 0 of the block is the kernel's address, word i + 1 its argument i, narrow
        numbers in its low bits. They return the kernel's status.

    Cost: about 2.5 ms for each that is missing (a network of any depth needs about ten).
    """
    wanted = list(kinds)
    missing = [one for one in dict.fromkeys(wanted) if one not in _addresses]
    if missing:
        _compile(missing)
    return [_addresses[one] for one in wanted]


def _compile(missing: list[Kinds]) -> None:
    module = ir.Module("trampolines")
    for number, kinds in enumerate(missing):
        _define(module, f"trampoline_{number}", kinds)
    machine = llvm.Target.from_default_triple().create_target_machine(opt=1, codemodel="jitdefault", jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    _engines.append(engine)
    for number, kinds in enumerate(missing):
        _addresses[kinds] = engine.get_function_address(f"trampoline_{number}")


def _define(module: ir.Module, name: str, kinds: Kinds) -> None:
    """Write the function; Numba's native functions take where to put a result and an error before all else."""
    function = ir.Function(module, ir.FunctionType(STATUS, [WORD.as_pointer()]), name)
    builder = ir.IRBuilder(function.append_basic_block())
    results = [builder.alloca(POINTER), builder.alloca(POINTER)]
    block = function.args[0]
    arguments = [_argument(builder, _word(builder, block, 1 + place), kind) for place, kind in enumerate(kinds)]
    values = [*results, *arguments]
    native = ir.FunctionType(STATUS, [value.type for value in values])
    address = builder.inttoptr(_word(builder, block, 0), native.as_pointer())
    builder.ret(builder.call(address, values))


def _word(builder: ir.IRBuilder, block: Number, place: int) -> Number:
    return builder.load(builder.gep(block, [ir.Constant(WORD, place)]))


def _argument(builder: ir.IRBuilder, word: Number, kind: str) -> Number:
    """Return a word as an argument of this kind."""
    if kind == BY_REFERENCE:
        return builder.load(builder.inttoptr(word, WORD.as_pointer()))
    if kind.endswith("*"):
        return builder.inttoptr(word, POINTER)
    if kind == "double":
        return builder.bitcast(word, ir.DoubleType())
    if kind == "float":
        return builder.bitcast(builder.trunc(word, ir.IntType(32)), ir.FloatType())
    bits = int(kind.removeprefix("i"))
    return builder.trunc(word, ir.IntType(bits)) if bits < 64 else word
