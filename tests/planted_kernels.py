"""Faults to plant in the register tiles that update weights, and in the products of bytes."""

from __future__ import annotations

from planted import Mutant

UPDATE, OPTIMIZE = "fasim/kernels/micro/update.py", "tests/unit/test_micro_outer_optimize.py"

MUTANTS = (
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
)
