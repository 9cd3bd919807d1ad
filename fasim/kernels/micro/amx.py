"""AMX: products of bytes in registers of 16 x 64 bytes, ``C[r, c] += sum_k a[r, k] * b[k, c]`` in one instruction.

A tile of A has 16 rows of 64 bytes, rows anywhere in memory. One of B has 16 rows of 16 words: four terms of a column side
by side. One of sums has 16 x 16 int32. An instruction takes 16 cycles for 16384 products, of which vpdpbusd forms an eighth
in that time. Which factor has a sign is up to the instruction: nothing is added that must be taken off again.

The registers belong to a thread: `configure` comes first, `release` last, in one compiled function. Addresses and steps are
int64, in bytes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from fasim.kernels.compile import CACHE_FOLDER
from fasim.kernels.micro import vectors as v
from fasim.scalar.target import AMX

SIDE = 16
"""Rows of a tile, words in each."""
BYTES = 64
"""Bytes of a row."""
REGISTERS = 8
# what ldtilecfg reads: a palette, for each register bytes of a row and rows
_CONFIGURATION, _PALETTE, _BYTES_AT, _ROWS_AT = 64, 1, 16, 48

# A cache that Numba puts where it likes might be read by a process that may not use them, see `CACHE_FOLDER`
SERVES = AMX and bool(CACHE_FOLDER)
"""Whether this process has such registers; elsewhere nothing that uses them is called."""


def _number(value: int) -> ir.Constant:
    return ir.Constant(v.I8, value)


def _call(b: v.Builder, name: str, arguments: list[v.Value]) -> None:
    v.call(b, f"llvm.x86.{name}", ir.VoidType(), arguments)


def load(b: v.Builder, register: int, at: v.Value, step: v.Value) -> None:
    """Load a tile whose rows are so far apart."""
    _call(b, "tileloadd64", [_number(register), v.pointer(b, at, v.I8), step])


def store(b: v.Builder, register: int, at: v.Value, step: v.Value) -> None:
    """Store a tile likewise."""
    _call(b, "tilestored64", [_number(register), v.pointer(b, at, v.I8), step])


def clear(b: v.Builder, register: int) -> None:
    """Make a tile 0."""
    _call(b, "tilezero", [_number(register)])


def multiply(b: v.Builder, sums: int, x: int, y: int, signs: str = "ss") -> None:
    """Add to sums the products of two tiles, each of int8 (s) or of uint8 (u)."""
    _call(b, f"tdpb{signs}d", [_number(sums), _number(x), _number(y)])


def _write_configuration(b: v.Builder, short: dict[int, tuple[v.Value | None, v.Value | None]]) -> None:
    """Make registers whole tiles, but for some of other numbers of rows and of bytes in each."""
    content = [0] * _CONFIGURATION
    content[0] = _PALETTE
    for register in range(REGISTERS):
        content[_BYTES_AT + 2 * register], content[_ROWS_AT + register] = BYTES, SIDE
    kind = ir.ArrayType(v.I8, _CONFIGURATION)
    place = cgutils.alloca_once(b, kind)
    b.store(ir.Constant(kind, content), place)
    start = b.ptrtoint(place, v.I64)
    for register, (rows, row_bytes) in short.items():
        for number, at in ((rows, _ROWS_AT + register), (row_bytes, _BYTES_AT + 2 * register)):
            if number is not None:
                v.store(b, b.trunc(number, v.I8), b.add(start, v.constant(at)))
    _call(b, "ldtilecfg", [b.bitcast(place, v.I8.as_pointer())])


@intrinsic
def configure(_context) -> Any:  # noqa: ANN001, ANN401 - Numba has no public types
    """Make all registers tiles of 16 x 64 bytes."""

    def codegen(context: Any, b: v.Builder, _signature: Any, _arguments: Any) -> Any:  # noqa: ANN401
        _write_configuration(b, {})
        return context.get_dummy_value()

    return types.void(), codegen


def configure_ends(of_a: int, of_b: int) -> Any:  # noqa: ANN401
    """Return ``configure(words)``, for which two registers hold tiles of only so many words along K, 1 to 16."""

    @intrinsic
    def configure(_context, words):
        def codegen(context, b, _signature, arguments):
            (words,) = arguments
            _write_configuration(b, {of_a: (None, b.mul(words, v.constant(4))), of_b: (words, None)})
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    return configure


@intrinsic
def release(_context) -> Any:  # noqa: ANN001, ANN401
    """Give the registers back: the system then has less to keep."""

    def codegen(context: Any, b: v.Builder, _signature: Any, _arguments: Any) -> Any:  # noqa: ANN401
        _call(b, "tilerelease", [])
        return context.get_dummy_value()

    return types.void(), codegen
