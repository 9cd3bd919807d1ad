"""Faults to plant in registers of limited width that are proven to stay in range: mistake 5, made by vectors."""

from __future__ import annotations

from planted import TEN, Mutant

ADVANCE, PROVEN = "fasim/kernels/micro/advance.py", "tests/unit/test_kernels_proven.py"
EVERY_MAC = f"{TEN}_mistake_5_saturation_at_the_end_is_not_saturation_at_every_addition"

MUTANTS = (
    Mutant(
        "mistake 5: a vector of registers grows beyond its range",
        ADVANCE,
        "values[c] = _brought(b, one, value, low, high)",
        "values[c] = value",
        EVERY_MAC,
    ),
    Mutant(
        "mistake 5: a register that is in range before and after is taken to have been there",
        ADVANCE,
        "bound = b.mul(v.load(b, b.add(sums, b.mul(sum_step, v.constant(r))), v.I64), most)",
        "bound = v.constant(0)",
        f"{PROVEN}::test_a_peak_inside_of_a_block",
    ),
    Mutant(
        "mistake 5: what a block adds is bounded by its sum",
        "fasim/kernels/proven.py",
        "total = np.int32(total + abs(np.int32(x)))",
        "total = np.int32(total + np.int32(x))",
        f"{PROVEN}::test_a_peak_inside_of_a_block",
    ),
    Mutant(
        "mistake 5: the largest source is the most positive",
        "fasim/kernels/proven.py",
        "max(-np.int64(least), np.int64(greatest))",
        "np.int64(greatest)",
        f"{PROVEN}::test_full_scale_of_every_type",
    ),
)
