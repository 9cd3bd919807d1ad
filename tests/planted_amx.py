"""Faults to plant in AMX's tiles; skipped on CPUs without them."""

from __future__ import annotations

from planted import Mutant

PRODUCTS, MOVES = "fasim/kernels/micro/turned_amx.py", "fasim/kernels/micro/amx_move.py"
WIDE = "fasim/kernels/micro/wide_amx.py"
TESTS = "tests/unit/test_micro_amx.py"

MUTANTS = (
    Mutant(
        "AMX takes what lies behind the end of a row for zeros",
        PRODUCTS,
        "            if last:\n                _copy_ends(units + whole * amx.BYTES, b_step, last, copied)",
        "            if last:\n                _copy_ends(units + whole * amx.BYTES, b_step, amx.BYTES, copied)",
        f"{TESTS}::test_every_remainder[int8]",
    ),
    Mutant(
        "AMX takes acts of uint8 for int8",
        "fasim/kernels/micro/amx.py",
        'f"tdpb{signs}d"',
        '"tdpbssd"',
        f"{TESTS}::test_every_remainder[uint8]",
    ),
    Mutant(
        "AMX moves the last units by sums of units before them",
        PRODUCTS,
        "first = min(j, columns - UNITS)",
        "first = j if j + UNITS <= columns else 0",
        f"{TESTS}::test_every_remainder[int8]",
    ),
    Mutant(
        "AMX forms a gradient without the last terms of a batch",
        MOVES,
        "_configure(last if last else amx.SIDE)",
        "_configure(max(last - 1, 1) if last else amx.SIDE)",
        f"{TESTS}::test_masters_move_as_by_other_tiles",
    ),
    Mutant(
        "AMX takes the high halves of units for unsigned",
        WIDE,
        '_B_HIGH, _A_HIGH, "ss")',
        '_B_HIGH, _A_HIGH, "us")',
        f"{TESTS}::test_every_remainder_of_wide_sums",
    ),
    Mutant(
        "AMX takes more terms of int16 than int32 holds",
        WIDE,
        "MOST = 1 << 15",
        "MOST = 1 << 16",
        f"{TESTS}::test_int32_holds_the_sums_of_halves[-32513--32513]",
    ),
)
