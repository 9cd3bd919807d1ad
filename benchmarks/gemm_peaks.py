"""The highest rate of multiply-accumulates that registers alone allow, by the instructions of the register tiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from fasim.kernels.micro import AMX, TARGET, amx
from fasim.kernels.micro import vectors as v

STEPS = 100_000
# sums that are formed side by side, so that none waits for another
SUMS = 12
# those of AMX: tiles of two factors from one side and of two from the other
TILES = [(total, 4 + total // 2, 6 + total % 2) for total in range(4)]
WIDE = TARGET.startswith("avx512")
VNNI = TARGET == "avx512vnni"


class Peak(NamedTuple):
    """A loop on registers: a compiled function of the number of steps and of what all lanes are multiplied with."""

    loop: Callable[[int, int], int]
    operations: int
    """Multiplications and additions of a call."""

    def call(self, calls: int = 1) -> None:
        """Take `STEPS` steps, or the steps of so many calls without a return to Python."""
        self.loop(calls * STEPS, 1)


def _loop(multiply: Callable[[Any, Any, Any], Any], element: ir.Type) -> Callable[[int, int], int]:
    """Return a compiled function of the number of steps and of what all lanes are multiplied with."""
    lanes = 16 if WIDE else 8

    @intrinsic
    def steps_of(_context, count, factor):  # noqa: ANN001, ANN202 - Numba's
        def codegen(_context, b, _signature, arguments):  # noqa: ANN001, ANN202
            limit, factor = arguments
            kind = v.vector(element, lanes)
            number = b.sitofp(factor, element) if element == v.F32 else b.trunc(factor, element)
            x = v.splat(b, number, lanes)
            before, body, end = b.basic_block, b.append_basic_block("peak"), b.append_basic_block("end")
            b.branch(body)
            b.position_at_end(body)
            k, sums = b.phi(v.I64), [b.phi(kind) for _ in range(SUMS)]
            new = [multiply(b, total, x) for total in sums]
            next_k = b.add(k, v.constant(1))
            b.cbranch(b.icmp_signed("<", next_k, limit), body, end)
            k.add_incoming(v.constant(0), before)
            k.add_incoming(next_k, body)
            for total, later in zip(sums, new, strict=True):
                total.add_incoming(v.zero(kind), before)
                total.add_incoming(later, body)
            b.position_at_end(end)
            total = new[0]
            for other in new[1:]:
                total = v.add(b, total, other)
            first = b.extract_element(total, ir.Constant(v.I32, 0))
            return b.fptosi(first, v.I64) if element == v.F32 else b.sext(first, v.I64)

        return types.int64(types.int64, types.int64), codegen

    @njit(nogil=True)
    def loop(count, factor):  # noqa: ANN001, ANN202
        return steps_of(count, factor)

    return loop


@intrinsic
def _tile_products(_context):  # noqa: ANN001, ANN202
    def codegen(context, b, _signature, _arguments):  # noqa: ANN001, ANN202
        for total, x, y in TILES:
            amx.multiply(b, total, x, y)
        return context.get_dummy_value()

    return types.void(), codegen


@njit(nogil=True)
def _amx_loop(count, _factor):  # noqa: ANN001, ANN202
    """Do the same with tiles of zeros, which `configure` leaves."""
    amx.configure()
    for _ in range(count):
        _tile_products()
    amx.release()
    return count


@cache
def peaks() -> dict[str, Peak]:
    """Return the loop for each type of the products; none for a target without register tiles."""
    if TARGET == "portable":
        return {}
    lanes = 16 if WIDE else 8
    words = _loop(lambda b, total, x: v.dot_words(b, total, x, x, vnni=VNNI), v.I32)
    floats = _loop(lambda b, total, x: v.fused(b, total, x, x), v.F32)
    # without VNNI, bytes are multiplied as words
    whole = _loop(lambda b, total, x: v.dot_bytes(b, total, x, x), v.I32) if VNNI else words
    by_type = {"float32": (floats, 1), "int16": (words, 2), "int8": (whole, 4 if VNNI else 2)}
    found = {name: Peak(loop, 2 * STEPS * SUMS * lanes * products) for name, (loop, products) in by_type.items()}
    if AMX:
        found["int8"] = Peak(_amx_loop, 2 * STEPS * len(TILES) * amx.SIDE * amx.SIDE * amx.BYTES)
    return found | {"uint8": found["int8"]}
