"""Faults to plant where replicas of a population have numbers of their own, and in the products of cuBLAS."""

from __future__ import annotations

from planted import Mutant

VARIANTS = "tests/cuda/test_cuda_variants.py"
TRAINED = "tests/cuda/test_cuda_train_population.py"
CUBLAS = "tests/cuda/test_cuda_cublas.py"
WIDTH = f"{VARIANTS}::test_datapaths_of_one_width"

MUTANTS = (
    Mutant(
        "replicas get the numbers of others",
        "fasim/backends/cuda_merge.py",
        "for place, schedule in enumerate(which)])",
        "for place, schedule in enumerate(which[::-1])])",
        f"{WIDTH}[points-bp]",
    ),
    Mutant(
        "all replicas have the shift of the first",
        "fasim/backends/cuda_merge.py",
        "upload(of_replicas([one.host for one in constants], which))",
        "upload(constants[0].host)",
        f"{WIDTH}[points-bp]",
    ),
    Mutant(
        "all replicas look their activations up in the first one's table",
        "fasim/backends/cuda.py",
        "upload(of_replicas([of_schedule[name][None] for of_schedule in tables], which))",
        "upload(tables[0][name][None])",
        f"{WIDTH}[points-bp]",
    ),
    Mutant(
        "outputs of a population have the binary point of the first",
        "fasim/backends/cuda.py",
        'self._scales("output", schedules or [self.schedule] * len(states))',
        'self._scales("output", [self.schedule] * len(states))',
        f"{VARIANTS}::test_outputs_have_the_binary_point_of_their_replica",
    ),
    Mutant(
        "numbers of other storage types are taken for one population",
        "fasim/backends/alike.py",
        "or stored_as(tensor) != stored_as(other)",
        "",
        f"{TRAINED}::test_a_population_is_refused_in_one_line",
    ),
    Mutant(
        "every replica is evaluated on the split of the first",
        "fasim/trainer.py",
        "[one.held for one in members])",
        "[members[0].held for one in members])",
        f"{TRAINED}::test_every_replica_has_a_validation_split_of_its_own",
    ),
    Mutant(
        "what ops need for themselves takes no memory",
        "fasim/backends/cuda.py",
        "return sketch.bytes + sum(",
        "return sum(",
        f"{VARIANTS}::test_memory_of_a_replica_holds_what_ops_need_for_themselves",
    ),
    Mutant(
        "cuBLAS is asked for the product the wrong way round",
        "cuda/fasim_cuda/cublas.py",
        "turned[self._right_turned],\n                turned[self._left_turned],",
        "turned[self._left_turned],\n                turned[self._right_turned],",
        f"{CUBLAS}::test_products_of_all_replicas_are_one_call",
    ),
    Mutant(
        "an operand that replicas share is read on beyond its end",
        "cuda/fasim_cuda/cublas.py",
        "rows * columns if replicas > 1 else 0",
        "rows * columns",
        f"{CUBLAS}::test_products_of_all_replicas_are_one_call",
    ),
    Mutant(
        "the benchmark of a GPU goes on when its time is over",
        "benchmarks/gpu_throughput.py",
        "if clock() - started >= 60 * options.minutes:",
        "if clock() - started >= 3600 * options.minutes:",
        "tests/benchmarks/test_gpu_throughput.py::test_what_matters_most_comes_first_and_nothing_begins_when_the_time_is_over",
    ),
)
