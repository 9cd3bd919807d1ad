"""Holds every variant of `requant.v` against its statement in Python integers, for every input."""

from __future__ import annotations

import cocotb
from cocotb.triggers import Timer

IN_BITS, OUT_BITS = 9, 5
SHIFTS = (-2, 0, 1, 4)


def rounded(x: int, shift: int, rounding: str) -> int:
    """Return x / 2^shift as a whole number, by quotient and remainder."""
    if shift <= 0:
        return x * 2**-shift
    quotient, rest = divmod(x, 2**shift)
    twice, whole = 2 * rest, 2**shift
    up = {
        "TRN": False,
        "RND": twice >= whole,
        "RND_CONV": twice > whole or (twice == whole and quotient % 2 == 1),
        "RND_ZERO": twice > whole or (twice == whole and x < 0),
    }
    return quotient + up[rounding]


def in_range(x: int, saturate: int) -> int:
    """Return x within OUT_BITS, by SAT or by WRAP."""
    half = 2 ** (OUT_BITS - 1)
    return min(max(x, -half), half - 1) if saturate else (x + half) % (2 * half) - half


@cocotb.test()
async def every_cast_is_its_statement(dut) -> None:
    variants = [
        (shift, rounding, saturate)
        for shift in SHIFTS
        for rounding in ("TRN", "RND", "RND_CONV", "RND_ZERO")
        for saturate in (0, 1)
    ]
    for x in range(-(2 ** (IN_BITS - 1)), 2 ** (IN_BITS - 1)):
        getattr(dut, "in").value = x
        await Timer(1, "ns")
        word = dut.out.value.to_unsigned()
        for place, variant in enumerate(variants):
            shift, rounding, saturate = variant
            found = word >> (place * OUT_BITS) & (2**OUT_BITS - 1)
            expected = in_range(rounded(x, shift, rounding), saturate) & (2**OUT_BITS - 1)
            assert found == expected, f"{x} by {variant}: {found}, not {expected}"
