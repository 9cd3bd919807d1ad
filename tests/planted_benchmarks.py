"""Faults to plant in what measures speed."""

from __future__ import annotations

from planted import Mutant

MUTANTS = (
    Mutant(
        "the first tanh of PyTorch's step is dealt out to threads",
        "benchmarks/steps_torch.py",
        "        settle()\n",
        "",
        "tests/benchmarks/test_steps.py::test_the_first_tanh_of_hand_written_torch_steps_has_one_number",
    ),
)
