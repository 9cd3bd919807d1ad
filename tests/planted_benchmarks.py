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
    Mutant(
        "one thread of a ceiling after the other",
        "benchmarks/ceilings.py",
        "            thread.start()\n        self.loops[0]",
        "            thread.start()\n            thread.join()\n        self.loops[0]",
        "tests/benchmarks/test_ceilings.py::test_each_thread_takes_all_steps_of_a_turn_at_once[2]",
    ),
    Mutant(
        "shares of two threads are shown of ceilings that were too low",
        "benchmarks/render_performance.py",
        'if "threads" in line["ceiling"] else []',
        'if "share" in line["ceiling"] else []',
        "tests/benchmarks/test_render_performance.py"
        "::test_two_threads_have_a_share_where_the_ceilings_were_measured_on_threads_of_their_own",
    ),
)
