"""Faults to plant where sums of int16 are proven to fit into int32, and in vectors of casts and of updates."""

from __future__ import annotations

from planted import Mutant

WIDE, BOUNDS = "fasim/kernels/micro/turned_wide.py", "fasim/kernels/micro/bounds.py"
PRODUCT, TESTS = "fasim/kernels/micro/wide.py", "tests/unit/test_micro_bounds.py"
CASTS, VECTORS = "fasim/kernels/micro/casts.py", "tests/unit/test_kernels_micro_casts.py"
MOVES = "tests/unit/test_kernels_move.py"

MUTANTS = (
    Mutant(
        "a product with few columns turns its rows first",
        "fasim/kernels/micro/gemm.py",
        "columns >= _UNITS and rows >= _LANES",
        "rows >= _LANES",
        "tests/unit/test_micro_turned.py::test_which_shapes_turn",
    ),
    Mutant(
        "a sum of two products of -2^15 counts as one that int32 holds",
        BOUNDS,
        "WINDOW = 1 << 31",
        "WINDOW = (1 << 31) + 1",
        f"{TESTS}::test_full_scale[2]",
    ),
    Mutant(
        "the largest number is not looked for at the end of all rows",
        BOUNDS,
        "for start in starts:\n",
        "for start in starts[:1]:\n",
        f"{TESTS}::test_the_largest_is_found_wherever_it_lies",
    ),
    Mutant(
        "a last term is added to as many pieces as int32 holds without it",
        WIDE,
        "// of_piece - min(rest, 1)",
        "// of_piece",
        f"{TESTS}::test_a_last_term_behind_whole_pieces",
    ),
    Mutant(
        "magnitudes of which some are negative bound a sum",
        BOUNDS,
        "x, b.or_(b.ashr(x, last), one), vnni",
        "x, one, vnni",
        f"{TESTS}::test_sums_of_lanes_and_of_pieces",
    ),
    Mutant(
        "one number alone of those behind the last vector may be in a lane",
        BOUNDS,
        "found + 2 * largest_of",
        "found + largest_of",
        f"{TESTS}::test_sums_of_lanes_and_of_pieces",
    ),
    Mutant(
        "of a long row the last block alone bounds what lanes add",
        PRODUCT,
        "most = max(most, lanes_of(b + start * _SIZE, b_step, rows, min(length, terms - start)))",
        "most = lanes_of(b + start * _SIZE, b_step, rows, min(length, terms - start))",
        f"{TESTS}::test_one_large_block_of_long_rows",
    ),
    Mutant(
        "units are not split because those before them need not be",
        PRODUCT,
        "largest_of(right, b_step, here, terms) < WINDOW",
        "largest_of(b, b_step, here, terms) < WINDOW",
        f"{TESTS}::test_one_large_block_of_long_rows",
    ),
    Mutant(
        "an update takes a sum that int32 just does not hold",
        "fasim/kernels/move.py",
        "if largest < WINDOW:",
        "if largest <= WINDOW:",
        f"{MOVES}::test_sums_that_int32_may_not_hold[2]",
    ),
    Mutant(
        "sums of a batch begin anew with each block of terms",
        "fasim/kernels/micro/turned.py",
        "np.int64(fresh and block == 0)",
        "np.int64(block == 0)",
        f"{TESTS}::test_full_scale[1024]",
    ),
    Mutant(
        "a gradient is summed whole where int32 just does not hold it",
        "fasim/kernels/factors.py",
        "* largest >= WINDOW",
        "* largest > WINDOW",
        f"{TESTS}::test_full_scale[2]",
    ),
    Mutant(
        "units summed whole draw the random words of the first",
        "fasim/kernels/factors.py",
        "step, first + top * inputs, counters,\n            )  # fmt: skip\n        else:",
        "step, first, counters,\n            )  # fmt: skip\n        else:",
        "tests/unit/test_kernels_factors.py::test_update_weights_draws_what_the_whole_draws[True]",
    ),
    Mutant(
        "units summed whole are updated by the sums of those before them",
        "fasim/kernels/factors.py",
        "mine, parts[0, :count].reshape(-1), base_shift",
        "mine, sums[:count].reshape(-1), base_shift",
        "tests/unit/test_kernels_factors.py::test_update_weights[modes0-4-True-True]",
    ),
    Mutant(
        "a vector of casts rounds down",
        CASTS,
        "b.ashr(b.add(b.ashr(x, self.less), one), one)",
        "b.ashr(b.ashr(x, self.less), one)",
        f"{VECTORS}::test_casts",
    ),
    Mutant(
        "a vector counts what was inside of the range",
        CASTS,
        'b.icmp_signed("!=", before, after)',
        'b.icmp_signed("==", before, after)',
        f"{VECTORS}::test_updates",
    ),
    Mutant(
        "a half that leaves its lane is served by vectors",
        CASTS,
        "least = 2 if rounding == RND",
        "least = 1 if rounding == RND",
        f"{VECTORS}::test_what_no_vector_serves",
    ),
    Mutant(
        "a weight at its lowest number counts as saturated",
        "fasim/kernels/micro/move.py",
        "for number in (128, -256)",
        "for number in (127, -256)",
        f"{MOVES}::test_every_cast",
    ),
    Mutant(
        "a step of 17 bits is taken in lanes of 16",
        "fasim/kernels/move.py",
        "(largest + half) >> shift <= _HI",
        "(largest + half) >> shift <= WINDOW",
        f"{MOVES}::test_update_is_its_statement",
    ),
)
