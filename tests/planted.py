"""Faults to plant, each with the test that must notice: some of what ``tests/mutants.py`` runs."""

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
# vectors serve neither
CAST_BY_BLOCKS = "tests/unit/test_requantize.py::test_kernel_equals_the_statement[int16-RND-SAT_ZERO]"
UPDATE_BY_BLOCKS = "tests/unit/test_kernels_update.py::test_update_fixed[RND-SAT_ZERO]"
SCHEDULE = "tests/unit/test_schedule.py"
NOT_BP = "tests/unit/test_not_silently_bp.py"
BY_HAND = "tests/unit/test_rules_float.py::test_interpreter_is_the_rule_by_hand"
PRESETS = "tests/property/test_fixed_bits.py::test_presets"
TEN = "tests/unit/test_ten_mistakes.py::test"
LOWERING = "fasim/schedule/lowering"


def trained(name: str, backend: str = "cpu") -> str:
    """Return the test that holds a backend against a case trained by hand."""
    return f"{TEN}_training_is_the_step_by_hand[{backend}-{name}]"


MUTANTS = (
    Mutant(
        "one vector of columns is divided among threads",
        "fasim/backends/cpu.py",
        "return 3 * workers * -(-vectors // workers) <= 4 * vectors",
        "return True",
        "tests/unit/test_float_parts.py::test_few_columns_leave_no_thread_without_work[12000-10-3-2]",
    ),
    Mutant(
        "columns follow columns without a barrier",
        "fasim/backends/cpu.py",
        'division.by in ("columns", "whole")',
        'division.by == "whole"',
        "tests/unit/test_float_parts.py::test_columns_lie_between_barriers[strategy3-7]",
    ),
    Mutant(
        "a thread multiplies the first columns of a matrix instead of its own",
        "fasim/backends/cpu_bind.py",
        "return self.of(matrix) if self.columns else matrix",
        "return matrix[:, : self.stop - self.start] if self.columns else matrix",
        "tests/unit/test_float_parts.py::test_any_division_gives_the_same_bits[columns-bp-70-37-21-3]",
    ),
    Mutant(
        "in fixed point a thread adds the biases of other units",
        "fasim/backends/cpu_sums.py",
        "return o.part.units_of(bias)",
        "return bias[: len(o.part.units_of(bias))]",
        f"{PRESETS}[bp-s16]",
    ),
    Mutant(
        "fixed-point update adds the step",
        "fasim/kernels/micro/casts.py",
        "value = b.sub(cast.load(addresses[1], parameter.dtype), step)",
        "value = b.add(cast.load(addresses[1], parameter.dtype), step)",
        f"{STATEMENT}[update_fixed]",
    ),
    Mutant(
        "fixed-point update adds the step where no vector serves",
        "fasim/kernels/update.py",
        "steps[p] = np.int64(mine[p]) - steps[p]",
        "steps[p] = np.int64(mine[p]) + steps[p]",
        UPDATE_BY_BLOCKS,
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
        "return whole\n    half = (value >> min(count - 1, 63)) & 1",
        "return whole\n    half = (value >> min(count, 63)) & 1",
        CAST_BY_BLOCKS,
    ),
    Mutant(
        "RND loses its half",
        "fasim/scalar/rounding.py",
        "        return whole + half\n",
        "        return whole\n",
        CAST_BY_BLOCKS,
    ),
    Mutant(
        "a cast saturates before it rounds, so that nothing is counted",
        "fasim/kernels/requantize.py",
        "round_block(part, shift, rounding, values)",
        "round_block(np.minimum(np.maximum(part, lo << shift), hi << shift), shift, rounding, values)",
        CAST_BY_BLOCKS,
    ),
    Mutant(
        "saturations are counted as wraps",
        "fasim/kernels/blocks.py",
        "return 1 if overflow_mode in (WRAP, NUMERIC_STD) else 0",
        "return 0 if overflow_mode in (WRAP, NUMERIC_STD) else 1",
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
        "step[0], first + start, words, steps)",
        "step[0], start, words, steps)",
        "tests/unit/test_kernels_update.py::test_slices_make_the_same_update",
    ),
    Mutant(
        "the second thread draws the random words of the first",
        "fasim/backends/cpu_cast.py",
        "self.first = part.start * (tensor.elements // (tensor.shape or (1,))[0])",
        "self.first = 0",
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
    Mutant(
        "an exponent moves the binary point the wrong way",
        f"{LOWERING}/base.py",
        "(*self.points(source), (exponent.tensor, -1))",
        "(*self.points(source), (exponent.tensor, 1))",
        trained("exponents_from_the_data"),
    ),
    Mutant(
        "the cpu applies exponents with the wrong sign",
        "fasim/backends/cpu_cast.py",
        "add_exponent, (before, sign, ",
        "add_exponent, (before, -sign, ",
        trained("exponents_from_the_data"),
    ),
    Mutant(
        "the interpreter applies exponents with the wrong sign",
        "fasim/backends/reference_fixed.py",
        "return sum(sign * value for sign, value in zip(",
        "return sum(-sign * value for sign, value in zip(",
        trained("exponents_from_the_data", "reference"),
    ),
    Mutant(
        "feedback that learns is not copied from its master",
        f"{LOWERING}/update.py",
        "if master is not None:\n            cast = replace(data.weight, format=own)",
        'if master is not None and group == "weight":\n            cast = replace(data.weight, format=own)',
        trained("feedback_with_a_master"),
    ),
    Mutant(
        "a datapath without biases adds some",
        "fasim/backends/cpu_sums.py",
        "np.zeros(o.schedule[op.reads[1]].shape[0], np.int8)",
        "np.full(o.schedule[op.reads[1]].shape[0], 127, np.int8)",
        trained("no_bias"),
    ),
    Mutant(
        "a shift register is one draw ahead",
        "fasim/kernels/random_words.py",
        "step[0] * elements + first, np.uint64(start))",
        "step[0] * elements + first + 1, np.uint64(start))",
        "tests/unit/test_lfsr.py::test_words_are_the_register_bit_by_bit",
    ),
    Mutant(
        "softmax does not subtract the maximum",
        "fasim/kernels/integer_softmax.py",
        "largest *= LOG2_E",
        "largest = np.int64(0)",
        "tests/unit/test_kernels_integer_softmax.py::test_near_the_exact_function",
    ),
    Mutant(
        "the exponent of a deviation is one too large for odd lengths",
        "fasim/kernels/integer_norm.py",
        "exponent[c] = _bit_length(var[c]) >> 1",
        "exponent[c] = (_bit_length(var[c]) + 1) >> 1",
        "tests/unit/test_kernels_integer_norm.py::test_kernel_is_its_statement[norm_statistics_fixed]",
    ),
    Mutant(
        "the interpreter's exponent of a deviation is one too large",
        "fasim/backends/reference_fixed.py",
        "exponent = each(lambda v: v.bit_length() // 2, variance)",
        "exponent = each(lambda v: v.bit_length() // 2 + 1, variance)",
        trained("normalisation", "reference"),
    ),
    Mutant(
        "a weight moves by one where the chance is larger than the word, not as large",
        "fasim/kernels/update.py",
        "sign if chance >= drawn else 0",
        "sign if chance > drawn else 0",
        "tests/unit/test_kernels_update.py::test_update_by_one[SAT]",
    ),
    Mutant(
        "a convolution forgets to align its sum with the bias",
        "fasim/kernels/micro/correlate.py",
        "b.add(b.shl(total, count), more)",
        "b.add(total, more)",
        "tests/unit/test_kernels_integer_maps.py::test_kernel_is_its_statement[conv_forward_fixed-int8-int32]",
    ),
    Mutant(
        "the integer gradient of a convolution takes pixels beyond the last of a row for pixels",
        "fasim/kernels/micro/interleave.py",
        'b.icmp_signed("<", v.constant(g), rows)',
        'b.icmp_signed("<=", v.constant(g), rows)',
        "tests/unit/test_kernels_integer_maps.py::test_kernel_is_its_statement[conv_weight_gradient_fixed-int8-int32]",
    ),
    Mutant(
        "a product of a batch forgets that the last units share a tile with units before them",
        "fasim/kernels/micro/turned.py",
        "(first + min(j, here - each)) * step",
        "(first + j) * step",
        "tests/unit/test_micro_turned.py::test_every_remainder[gemm_nt_int8]",
    ),
    Mutant(
        "a lane adds so many products of int16 that int32 does not hold them",
        "fasim/kernels/micro/turned_wide.py",
        "(255 * largest)",
        "(127 * largest)",
        "tests/unit/test_micro_bounds.py::test_full_scale[1024]",
    ),
    Mutant(
        "weights at the end of their range are not looked for in a batch of one",
        "fasim/kernels/move_one.py",
        "np.int64(near_end(cast_shift))",
        "np.int64(near_end(cast_shift) + 1)",
        "tests/unit/test_kernels_move.py::test_every_product_of_one_sample[uint8]",
    ),
)
