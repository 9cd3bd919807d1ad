"""Faults to plant in the CUDA kernels and in the backend that launches them; their tests run in the simulator."""

from __future__ import annotations

from planted import Mutant

CASTS = "tests/cuda/test_cuda_casts.py"
PROGRAMS = "tests/cuda/test_cuda_programs.py"
KERNELS = "tests/cuda/test_cuda_kernels.py::test_kernel_is_its_statement"
PRODUCTS = "tests/cuda/test_cuda_products.py"
POPULATION = "tests/cuda/test_cuda_population.py"
TRAINED = "tests/cuda/test_cuda_train_population.py"
OF_ITS_OWN = f"{POPULATION}::test_every_replica_is_its_own_run"

MUTANTS = (
    Mutant(
        "a tile reads the neighbour's column",
        "cuda/fasim_cuda/products.py",
        "columns[k, x + c * threads]",
        "columns[k, x + c]",
        f"{PRODUCTS}::test_integer_products_are_exact",
    ),
    Mutant(
        "a block keeps what its last slice of terms left in shared memory",
        "cuda/fasim_cuda/products.py",
        "inside = first + k < terms and first_column + m < right.shape[0]",
        "inside = first_column + m < right.shape[0]",
        f"{PRODUCTS}::test_float_products_are_added_in_ascending_order",
    ),
    Mutant(
        "float sums on the device round products too",
        "cuda/fasim_cuda/scalars.py",
        "return fused(total, x, y)",
        "return total + x * y",
        f"{PRODUCTS}::test_float_products_are_added_in_ascending_order",
    ),
    Mutant(
        "a cast to the left misses the lowest number",
        "cuda/fasim_cuda/scalars.py",
        "value < -(-low >> left)",
        "value < low >> left",
        f"{CASTS}::test_requantize",
    ),
    Mutant(
        "an update on the device lets a difference of more than 64 bits wrap",
        "cuda/fasim_cuda/scalars.py",
        "far = g > most or g < -most or ((w ^ step) & (w ^ value)) < 0",
        "far = g > most or g < -most",
        f"{CASTS}::test_update_fixed_at_the_ends_of_64_bits",
    ),
    Mutant(
        "threads of a cast draw by their own number, not by the element's",
        "cuda/fasim_cuda/casts.py",
        "seed, site, step[0], p)",
        "seed, site, step[0], cuda.grid(1))",
        f"{CASTS}::test_a_cast_in_place_and_on_any_grid",
    ),
    Mutant(
        "a group of products goes into the register before it is full",
        "cuda/fasim_cuda/accumulate.py",
        "if count == group or k + stride >= terms:",
        "if count <= group or k + stride >= terms:",
        "tests/cuda/test_cuda_registers.py::test_registers",
    ),
    Mutant(
        "Adam on the device corrects the second moment as it does the first",
        "cuda/fasim_cuda/scalars.py",
        "math.sqrt(1.0 - beta2**t)",
        "math.sqrt(1.0 - beta1**t)",
        f"{KERNELS}[adam_rates]",
    ),
    Mutant(
        "sparse feedback on the device keeps the last entry of a unit alone",
        "cuda/fasim_cuda/sparse.py",
        "total = int64(total + int64(int64(signal[n, index[e]]) * int64(values[e])))",
        "total = int64(int64(signal[n, index[e]]) * int64(values[e]))",
        f"{KERNELS}[project_csr_fixed]",
    ),
    Mutant(
        "every step of a run on the device takes the first batch",
        "cuda/fasim_cuda/clock.py",
        "place[0] = int64(place[0] + int64(size))",
        "place[0] = int64(place[0])",
        f"{PROGRAMS}::test_every_rule_is_that_of_the_cpu[bp-s8]",
    ),
    Mutant(
        "a deferred update on the device draws with the number of the step it runs in",
        "fasim/backends/cuda_run.py",
        "step = bound.before if deferred(op) else bound.now",
        "step = bound.now",
        f"{PROGRAMS}::test_fused_and_deferred_steps[deferred-s8_stoch]",
    ),
    Mutant(
        "state is brought back to the host before it was changed",
        "fasim/backends/cuda.py",
        "np.copyto(state[name], found)",
        "np.copyto(state[name], state[name])",
        f"{PROGRAMS}::test_every_rule_is_that_of_the_cpu[bp-s8]",
    ),
    Mutant(
        "a kernel takes the arrays of the next replica",
        "cuda/fasim_cuda/replicas.py",
        "[min(replica, {name}.shape[0] - 1)]",
        "[min(replica + 1, {name}.shape[0] - 1)]",
        f"{OF_ITS_OWN}[dfa-float32]",
    ),
    Mutant(
        "replicas draw with the seeds of others",
        "fasim/backends/cuda_run.py",
        'self.seed = self.arrays["seed"].reshape()',
        'self.seed = self.upload(_stacked(states[::-1], "seed")).reshape()',
        f"{OF_ITS_OWN}[bp-s8_stoch]",
    ),
    Mutant(
        "replicas get the counts of others",
        "fasim/backends/cuda.py",
        "for of_replica in counted]",
        "for of_replica in counted[::-1]]",
        f"{POPULATION}::test_fixed_point_and_its_counts_are_those_of_the_cpu[bp]",
    ),
    Mutant(
        "replicas see the samples in the order of the first",
        "fasim/backends/cuda.py",
        "if all(order is orders[0] or",
        "if any(order is orders[0] or",
        f"{OF_ITS_OWN}[drtp-s8]",
    ),
    Mutant(
        "an array that a step needs for itself is one for all replicas",
        "fasim/backends/cuda_run.py",
        "return self.upload(np.zeros((self.replicas, size), dtype))",
        "return self.upload(np.zeros((1, size), dtype))",
        f"{POPULATION}::test_state_of_an_optimizer[adam]",
    ),
    Mutant(
        "of two programs only the larger one's memory is counted",
        "fasim/backends/population.py",
        "sum(program.replica_bytes",
        "max(program.replica_bytes",
        f"{POPULATION}::test_how_many_replicas_fit",
    ),
    Mutant(
        "all replicas learn at the rate of the first",
        "fasim/trainer.py",
        "set_learning_rate(state, one.trainer.schedule, *given)",
        "set_learning_rate(state, one.trainer.schedule, *rates[0])",
        f"{TRAINED}::test_replicas_differ_in_seed_rate_and_feedback_and_equal_their_own_runs",
    ),
    Mutant(
        "all replicas have the feedback of the settings",
        "fasim/population.py",
        "its.start(one.seed, rate)",
        "trainer.start(one.seed, rate)",
        f"{TRAINED}::test_replicas_differ_in_seed_rate_and_feedback_and_equal_their_own_runs",
    ),
    Mutant(
        "replicas whose samples are augmented all see those of the first seed",
        "fasim/population.py",
        "together = 1 if plan.augment else largest(",
        "together = largest(",
        f"{TRAINED}::test_samples_that_depend_on_the_seed_are_trained_one_by_one",
    ),
    Mutant(
        "a recorded step is launched once more than asked for",
        "cuda/fasim_cuda/graphs.py",
        "for _ in range(times - 1):",
        "for _ in range(times):",
        "tests/cuda/test_cuda_graphs.py::test_every_step_is_launched_once_and_in_order",
    ),
    Mutant(
        "the orders of samples of a population take no memory",
        "fasim/population.py",
        "return 8 * max(trainer.samples, evaluated if target is not None else 0) + 4 *",
        "return 4 *",
        f"{TRAINED}::test_what_the_memory_does_not_hold_at_once_follows",
    ),
)
