"""Faults to plant in the register tiles that update weights, and in the products of bytes."""

from __future__ import annotations

from planted import Mutant

WIDE, WIDE_TESTS = "fasim/kernels/integer_conv_wide.py", "tests/unit/test_kernels_conv_wide.py"
UPDATE, OPTIMIZE = "fasim/kernels/micro/update.py", "tests/unit/test_micro_outer_optimize.py"

MUTANTS = (
    Mutant(
        "loops of tiles are unrolled as LLVM likes",
        "fasim/kernels/micro/vectors.py",
        '["llvm.loop.unroll.disable"]',
        '["llvm.loop.unroll.enable"]',
        "tests/unit/test_micro_outer.py::test_assembly_of_the_copy_in_a_caller[sgd_tn_float32]",
    ),
    Mutant(
        "momentum in registers moves weights and keeps its old velocity",
        UPDATE,
        "return b.fmul(rate, velocity), [velocity]",
        "return b.fmul(rate, velocity), [states[0]]",
        f"{OPTIMIZE}::test_the_formula[momentum-0.0-0]",
    ),
    Mutant(
        "Nesterov's momentum in registers does not look ahead",
        UPDATE,
        "b.fmul(rate, b.fadd(g, b.fmul(mu, velocity)))",
        "b.fmul(rate, velocity)",
        f"{OPTIMIZE}::test_the_formula[nesterov-0.0-0]",
    ),
    Mutant(
        "RMSprop in registers averages gradients instead of their squares",
        UPDATE,
        "_mix(b, a, states[0], b.fmul(c, g), g)",
        "_mix(b, a, states[0], c, g)",
        f"{OPTIMIZE}::test_the_formula[rmsprop-0.0-0]",
    ),
    Mutant(
        "Adam in registers does not correct its second moment",
        UPDATE,
        "b.fadd(b.fmul(_root(b, moment2), root), eps)",
        "b.fadd(_root(b, moment2), eps)",
        f"{OPTIMIZE}::test_the_formula[adam-0.0-0]",
    ),
    Mutant(
        "a fused update decays the gradient by what it should subtract beside the step",
        UPDATE,
        "b.fadd(g, b.fmul(couple, w))",
        "b.fadd(g, b.fmul(shrink, w))",
        f"{OPTIMIZE}::test_the_formula[adam-0.01-0]",
    ),
    Mutant(
        "states with rows as far apart as they like are moved as if they lay like the weights",
        "fasim/kernels/micro/outer_optimize.py",
        " or weight.strides[0] != state.strides[0]",
        "",
        f"{OPTIMIZE}::test_refusals[momentum]",
    ),
    Mutant(
        "a sum of 2^31 is taken for one that int32 holds",
        WIDE,
        "    while largest * most >= WINDOW:",
        "    while largest * most > WINDOW:",
        f"{WIDE_TESTS}::test_halves_of_weights",
    ),
    Mutant(
        "both halves of a weight count as much",
        WIDE,
        "shift + HALF * (halves - 1 - half)",
        "shift",
        f"{WIDE_TESTS}::test_halves_of_weights",
    ),
    Mutant(
        "magnitudes of negative weights do not count in the proof that int32 holds a sum",
        WIDE,
        "totals[j, g] += abs(np.int32(panel[t, j, g]))",
        "totals[j, g] += np.int32(panel[t, j, g])",
        f"{WIDE_TESTS}::test_sums_about_the_end_of_int32",
    ),
    Mutant(
        "one sample stands for all in the proof that int32 holds a sum",
        WIDE,
        "taken - 1, ZERO, line, image)\n            largest = _largest(image)",
        "taken - 1, ZERO, line, image)\n            largest = _largest(image) if n == 0 else largest",
        f"{WIDE_TESTS}::test_a_sample_of_large_numbers_leaves_the_others_as_they_are[2]",
    ),
    Mutant(
        "a row of a convolution's window is never divided into more than two parts",
        WIDE,
        "    while largest * most >= WINDOW:",
        "    while largest * most >= WINDOW and length == terms:",
        f"{WIDE_TESTS}::test_parts_of_a_window",
    ),
    Mutant(
        "of a convolution's sums by parts only the last part counts",
        WIDE,
        "to if i else begun",
        "begun",
        f"{WIDE_TESTS}::test_parts_of_a_window",
    ),
    Mutant(
        "int32 takes one row of pixels more than it surely holds",
        WIDE,
        "held + bounds[end] < WINDOW",
        "held < WINDOW",
        f"{WIDE_TESTS}::test_a_gradient_takes_the_rows_that_int32_holds",
    ),
    Mutant(
        "the gradient of a convolution forgets all samples but the last ones",
        WIDE,
        "total[i] += sums[i]",
        "total[i] = sums[i]",
        f"{WIDE_TESTS}::test_a_gradient_adds_up_over_samples_and_pixels",
    ),
)
