"""Holds `mac.v` against its statement in Python integers: a register that is brought into range at every addition."""

from __future__ import annotations

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

TERMS, SUMS = 24, 60


def in_range(x: int, bits: int, saturate: int) -> int:
    """Return x within so many bits, by SAT or by WRAP."""
    half = 2 ** (bits - 1)
    return min(max(x, -half), half - 1) if saturate else (x + half) % (2 * half) - half


@cocotb.test()
async def every_sum_is_its_statement(dut) -> None:
    bits, saturate = dut.ACC_BITS.value.to_unsigned(), dut.SATURATE.value.to_unsigned()
    draw = random.Random(7)
    cocotb.start_soon(Clock(dut.clock, 10, unit="ns").start())
    dut.enable.value = 0
    differs = 0
    for number in range(SUMS):
        start = draw.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1))
        # runs of one sign at full scale leave the range; the others hardly do
        large = number % 2
        dut.load.value, dut.start.value = 1, start
        await FallingEdge(dut.clock)
        dut.load.value, dut.enable.value = 0, 1
        register, exact = start, start
        for _ in range(TERMS):
            a, b = (draw.choice((-256, 255)), draw.choice((-128, 127))) if large else (draw.randrange(-9, 9), -3)
            double = draw.randrange(2)
            dut.a.value, dut.b.value, dut.product_shift.value = a, b, double
            await FallingEdge(dut.clock)
            register = in_range(register + (a * b << double), bits, saturate)
            exact += a * b << double
            assert dut.sum.value.to_signed() == register
        dut.enable.value = 0
        differs += register != in_range(exact, bits, saturate)
    # wrapping is the same at the end as at every addition; saturating is not, and only then the bench tells them apart
    assert differs > SUMS // 4 if saturate else differs == 0
