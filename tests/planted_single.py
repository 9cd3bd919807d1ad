"""Faults to plant in the updates of single samples that join the next forward pass, and in casts of what is no vector."""

from __future__ import annotations

from planted import Mutant

FORWARD, TILE = "fasim/kernels/move_forward.py", "fasim/kernels/micro/move_product.py"
KERNEL, VECTORS = "tests/unit/test_kernels_move_forward.py", "tests/unit/test_kernels_micro_casts.py"

MUTANTS = (
    Mutant(
        "a row is only read where its delta is negative",
        FORWARD,
        "np.int64(moves or delta[j] != 0)",
        "np.int64(moves or delta[j] > 0)",
        f"{KERNEL}::test_is_its_statement[65-uint8]",
    ),
    Mutant(
        "weights of 8 bits are taken as unsigned without what that adds to their sums",
        FORWARD,
        "128 * less",
        "127 * less",
        f"{KERNEL}::test_every_product[int8]",
    ),
    Mutant(
        "weights that left their range are counted as masters",
        TILE,
        "for x in casts], masks, self.numbers.casts)",
        "for x in casts], masks, self.numbers.moved)",
        f"{KERNEL}::test_every_master_by_every_cast[0]",
    ),
    Mutant(
        "a master at an end is not seen where its weight is far from one",
        "fasim/kernels/micro/move.py",
        "return min(127, ((1 << 15) - 1 + (1 << (cast_shift - 1))) >> cast_shift)",
        "return 127",
        f"{KERNEL}::test_every_master_by_every_cast[1]",
    ),
    Mutant(
        "weights that backpropagation reads are not stored",
        "fasim/backends/cpu_fused.py",
        "stored=schedule.readers[mine] > 1",
        "stored=False",
        "tests/unit/test_fused_fixed.py::test_deferred_single_samples_leave_the_same_state_and_counts[bp]",
    ),
    Mutant(
        "a cast writes a whole vector where less is left",
        "fasim/kernels/micro/casts.py",
        "b.bitcast(copies[-1], ends[-1].type), rest, arrays[-1].size)",
        "b.bitcast(copies[-1], ends[-1].type), v.constant(TAKEN), arrays[-1].size)",
        f"{VECTORS}::test_what_is_no_whole_vector[5]",
    ),
    Mutant(
        "a step that 64 bits do not hold is shifted as if they did",
        "fasim/kernels/update.py",
        "_FEW_BITS = 30",
        "_FEW_BITS = 40",
        "tests/unit/test_kernels_update.py::test_steps_that_are_shifted_left[int16-SAT]",
    ),
)
