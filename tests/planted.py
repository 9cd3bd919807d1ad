"""Faults to plant, each with the test that must notice: the first half of what ``tests/mutants.py`` runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A fault: the text `old`, which stands once in `file`, becomes `new`; `test` must notice."""

    what: str
    file: str
    old: str
    new: str
    test: str


KERNELS = "tests/unit/test_kernels.py"
STATEMENT = f"{KERNELS}::test_kernel_is_its_statement"
SCHEDULE = "tests/unit/test_schedule.py"
NOT_BP = "tests/unit/test_not_silently_bp.py"
BY_HAND = "tests/unit/test_rules_float.py::test_interpreter_is_the_rule_by_hand"
PRESETS = "tests/property/test_fixed_bits.py::test_presets"

MUTANTS = (
    Mutant(
        "fixed-point update adds the step",
        "fasim/kernels/update.py",
        "np.int64(parameter[p]) - shift_round(gradient[p], shift, rounding, 0)",
        "np.int64(parameter[p]) + shift_round(gradient[p], shift, rounding, 0)",
        f"{STATEMENT}[update_fixed]",
    ),
    Mutant(
        "float update adds the step",
        "fasim/kernels/optimize.py",
        "parameter[p] = _moved(w, lr * _decayed(gradient[p], w, couple), shrink)",
        "parameter[p] = _moved(w, -lr * _decayed(gradient[p], w, couple), shrink)",
        f"{STATEMENT}[sgd]",
    ),
    Mutant(
        "RND looks at the bit that is left after the shift, not at the one that it drops",
        "fasim/scalar/rounding.py",
        "half = (value >> min(count - 1, 63)) & 1",
        "half = (value >> min(count, 63)) & 1",
        f"{STATEMENT}[requantize]",
    ),
    Mutant(
        "RND loses its half",
        "fasim/scalar/rounding.py",
        "        return whole + half\n",
        "        return whole\n",
        f"{STATEMENT}[requantize]",
    ),
    Mutant(
        "a cast saturates before it rounds, so that nothing is counted",
        "fasim/kernels/requantize.py",
        "value = shift_round(raw[i], shift, rounding, 0)",
        "value = shift_round(overflow(raw[i], lo << shift, hi << shift, mode), shift, rounding, 0)",
        f"{STATEMENT}[requantize]",
    ),
    Mutant(
        "saturations are counted as wraps",
        "fasim/kernels/requantize.py",
        "counters[0 if overflow_mode == SAT else 1] += outside",
        "counters[1 if overflow_mode == SAT else 0] += outside",
        "tests/unit/test_requantize.py::test_counters_accumulate",
    ),
    Mutant(
        "the mean forgets N",
        "fasim/losses.py",
        "self.factor / (batch_size * (outputs if self.mean_over_outputs else 1))",
        "self.factor / (outputs if self.mean_over_outputs else 1)",
        f"{BY_HAND}[bp-sgd]",
    ),
    Mutant(
        "the mean squared error forgets its factor 2",
        "fasim/losses.py",
        '"mse": Loss("mse", ACTIVATIONS, 2, True, True)',
        '"mse": Loss("mse", ACTIVATIONS, 1, True, True)',
        f"{BY_HAND}[dfa-sgd]",
    ),
    Mutant(
        "drtp fetches the row of the next label",
        "fasim/kernels/integer.py",
        "        row = label[n]\n",
        "        row = (label[n] + 1) % matrix.shape[0]\n",
        f"{STATEMENT}[project_target_fixed]",
    ),
    Mutant(
        "the bias is not aligned to the accumulator",
        "fasim/kernels/integer.py",
        "(np.int64(bias[j]) << bias_shift)",
        "np.int64(bias[j])",
        f"{STATEMENT}[dense_forward_fixed]",
    ),
    Mutant(
        "a fixed-point error of 0 counts as negative",
        "fasim/kernels/integer.py",
        "-1 if error[n, k] < 0 else 1",
        "-1 if error[n, k] <= 0 else 1",
        f"{KERNELS}::test_sign_of_zero",
    ),
    Mutant(
        "STOCH of an update draws from 0 instead of from the slice's place",
        "fasim/kernels/update.py",
        "random_block(seed, site, step, block)",
        "random_block(seed, site, step, block - (first >> 2))",
        f"{KERNELS}::test_slices_of_parameters_make_the_same_update[6-STOCH-SAT]",
    ),
    Mutant(
        "the second thread draws the random words of the first",
        "fasim/backends/cpu_bind.py",
        "part.start * (tensor.elements // tensor.shape[0])",
        "0",
        f"{PRESETS}[dfa-s8_stoch]",
    ),
    Mutant(
        "one round of Philox is missing",
        "fasim/scalar/philox.py",
        "for _ in range(10):",
        "for _ in range(9):",
        "tests/unit/test_philox.py",
    ),
    Mutant(
        "the slope of tanh is 1 - a",
        "fasim/kernels/elementwise.py",
        "ONE - act[n, j] * act[n, j]",
        "ONE - act[n, j]",
        f"{STATEMENT}[tanh_slope]",
    ),
    Mutant(
        "Adam corrects its bias one step late",
        "fasim/kernels/optimize.py",
        "t = step[0] + 1",
        "t = step[0] + 2",
        f"{STATEMENT}[adam]",
    ),
    Mutant(
        "a hidden layer reads the feedback of the layer below",
        "fasim/schedule/builder.py",
        'self.matrix("feedback", layer, "KJ"',
        'self.matrix("feedback", max(1, layer - 1), "KJ"',
        f"{SCHEDULE}::test_transport_reads_the_matrix_of_its_layer[dfa]",
    ),
    Mutant(
        "fa transports the weights: it is bp",
        "fasim/rules/fa.py",
        "step.layered_feedback(layer)",
        "step.weight(layer + 1)",
        f"{NOT_BP}::test_fa_with_its_own_feedback_is_not_bp",
    ),
    Mutant(
        "raw error scale still scales the signs",
        "fasim/schedule/builder.py",
        'return 1.0 if self.settings.error_scale == "raw" else self._scale',
        "return self._scale",
        f"{NOT_BP}::test_raw_error_scale_under_mean_is_n_times_k_larger[sdfa]",
    ),
    Mutant(
        "the eager order is the phased one",
        "fasim/schedule/order.py",
        'if how == "phased":',
        "if how:",
        f"{SCHEDULE}::test_drtp_updates_a_layer_before_the_next_one_runs[float32]",
    ),
    Mutant(
        "a weight may be overwritten before its last reader",
        "fasim/schedule/order.py",
        "before[index].update(readers[old])",
        "before[index].update(())",
        f"{SCHEDULE}::test_a_circle_through_an_overwritten_version_is_refused",
    ),
    Mutant(
        "validation takes any version",
        "fasim/schedule/validate.py",
        "if current.get(value.tensor) != value.version:",
        "if value.tensor not in current:",
        f"{SCHEDULE}::test_validate_names_the_op_at_fault",
    ),
)
