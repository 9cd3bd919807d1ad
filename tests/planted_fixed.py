"""Faults to plant in fixed point: the ten mistakes of tests/unit/test_ten_mistakes.py."""

from __future__ import annotations

from planted import LOWERING, TEN, Mutant, trained

CASTS = "fasim/kernels/micro/casts.py"
STATEMENT = "tests/unit/test_requantize.py::test_kernel_equals_the_statement"
ROUNDING, BLOCKS, INTEGER = "fasim/scalar/rounding.py", "fasim/kernels/blocks.py", "fasim/kernels/integer.py"
REGISTERS, QUANTIZE, ARRAYS = "fasim/kernels/registers.py", "fasim/fixedpoint/quantize.py", "fasim/fixedpoint/arrays.py"
FUNCTIONS = "fasim/fixedpoint/functions.py"
DIVISION = f"{TEN}_mistake_2_division_says_where_it_rounds_to"
SHIFTS = f"{TEN}_mistake_2_shift_counts_beyond_the_width"
FULL_SCALE = f"{TEN}_mistake_4_full_scale_sums"
WIDTHS = f"{TEN}_mistake_4_sums_of_training_hold_full_scale"
ORDER = f"{TEN}_mistake_5_the_order_of_additions_is_part_of_the_result"
EVERY_MAC = f"{TEN}_mistake_5_saturation_at_the_end_is_not_saturation_at_every_addition"
FLOATS = f"{TEN}_mistake_7_floats_are_rounded_once"
LOWEST = f"{TEN}_mistake_8_the_lowest_number_has_no_negative"
TABLE = f"{TEN}_mistake_9_every_code_of_a_table"
UNBIASED = f"{TEN}_mistake_10_every_word_once_is_exactly_unbiased"
NEIGHBOURS = f"{TEN}_mistake_10_neighbours_have_words_of_their_own"

MUTANTS = (
    Mutant(
        "mistake 1: RND sends ties away from 0, as C's round",
        ROUNDING,
        "    if rounding == RND:\n        return whole + half\n",
        "    if rounding == RND:\n        return (value + (1 << (count - 1)) - np.int64(value < 0)) >> count\n",
        f"{TEN}_mistake_1_negative_halves[RND]",
    ),
    Mutant(
        "mistake 1: RND sends ties to even, as np.rint",
        BLOCKS,
        "values[i] = shift_round(raw[i], shift, RND, 0)",
        "values[i] = shift_round(raw[i], shift, RND_CONV, 0)",
        f"{TEN}_mistake_1_negative_halves[RND]",
    ),
    Mutant(
        "mistake 1: floats are truncated, as by int(x + 0.5)",
        QUANTIZE,
        "lower = np.floor(near)",
        "lower = np.trunc(near)",
        f"{TEN}_mistake_1_a_negative_number_is_not_truncated",
    ),
    Mutant(
        "mistake 2: TRN truncates toward 0, as C's division",
        CASTS,
        "        if self.rounding == TRN:\n            return whole",
        "        if self.rounding == TRN:\n            return b.sdiv(x, b.shl(one, self.shift))",
        DIVISION,
    ),
    Mutant(
        "mistake 2: TRN truncates toward 0 where no vector serves",
        BLOCKS,
        "values[i] = shift_round(raw[i], shift, TRN, 0)",
        "values[i] = table_round(raw[i], shift, TABLES[5])",
        f"{STATEMENT}[int16-TRN-SAT_ZERO]",
    ),
    Mutant(
        "mistake 2: a cast that divides truncates toward 0",
        ROUNDING,
        "whole = value // number\n    dropped = value % number",
        "whole = (abs(value) // number) * (1 if value >= 0 else -1)\n    dropped = abs(value) % number",
        DIVISION,
    ),
    Mutant(
        "mistake 2: PocketNN's division is Python's //",
        INTEGER,
        "whole = abs(value) // np.int64(divisor[n, j])\n            out[n, j] = -whole if value < 0 else whole",
        "out[n, j] = value // np.int64(divisor[n, j])",
        DIVISION,
    ),
    Mutant(
        "mistake 2: the count of a shift is not clamped",
        ROUNDING,
        "whole = value >> min(count, 63)\n    if rounding == TRN:",
        "whole = value >> count\n    if rounding == TRN:",
        SHIFTS,
    ),
    Mutant(
        "mistake 2: an unsigned operand makes the shift logical",
        ROUNDING,
        "whole = value >> min(count, 63)\n    if rounding == TRN:",
        "whole = np.int64(np.uint64(value) >> np.uint64(min(count, 63)))\n    if rounding == TRN:",
        SHIFTS,
    ),
    Mutant(
        "mistake 3: an update is an arithmetic shift",
        "fasim/kernels/update.py",
        "round_block(sums, shift, rounding, steps)",
        "round_block(sums, shift, TRN, steps)",
        f"{TEN}_mistake_3_an_arithmetic_shift_drifts",
    ),
    Mutant(
        "mistake 3: the datapath's rounding of updates is not passed on",
        f"{LOWERING}/update.py",
        '"rounding": data.update_rounding,',
        '"rounding": "TRN",',
        trained("no_bias"),
    ),
    Mutant(
        "mistake 3: a stochastic update has a dead zone",
        "fasim/kernels/update.py",
        "round_block_at_random(sums, shift, seed, site, step[0], first + start, words, steps)",
        "round_block(sums, shift, RND, steps)",
        f"{TEN}_mistake_3_stochastic_rounding_has_no_dead_zone",
    ),
    Mutant(
        "mistake 4: products stay in the type of their factors",
        INTEGER,
        "factor = cast(signal[n, k])\n            if factor != 0:\n                source = matrix[k]\n"
        "                for j in range(row.shape[0]):\n"
        "                    row[j] = cast(row[j] + cast(factor * cast(source[j])))",
        "factor = cast(signal[n, k])\n            if factor != 0:\n                source = matrix[k]\n"
        "                for j in range(row.shape[0]):\n"
        "                    row[j] = cast(row[j] + matrix.dtype.type(factor * cast(source[j])))",
        f"{TEN}_mistake_4_products_are_wider_than_their_factors",
    ),
    Mutant(
        "mistake 4: sums of 33 bits are kept in 32",
        ARRAYS,
        "narrow = most < 2**31",
        "narrow = most < 2**33",
        FULL_SCALE,
    ),
    Mutant(
        "mistake 4: float32 adds whole numbers that it does not hold",
        ARRAYS,
        '"float32": 2**24',
        '"float32": 2**26',
        FULL_SCALE,
    ),
    Mutant(
        "mistake 4: a register's additions are held in a type of its own width",
        "fasim/fixedpoint/register.py",
        "np.int32 if needed < 32 else np.int64",
        "np.int32 if acc.bits <= 32 else np.int64",
        f"{TEN}_mistake_4_a_register_of_32_bits_wraps_at_32_bits",
    ),
    Mutant(
        "mistake 4: an accumulator lacks its sign bit",
        f"{LOWERING}/base.py",
        "bits = largest.bit_length() + 1",
        "bits = largest.bit_length()",
        WIDTHS,
    ),
    Mutant(
        "mistake 4: the width of a gradient forgets the batch",
        f"{LOWERING}/update.py",
        "terms = math.prod(self.tensors[delta.tensor].shape) // self.tensors[out.tensor].shape[0]\n        narrow = self",
        "terms = 1\n        narrow = self",
        WIDTHS,
    ),
    Mutant(
        "mistake 5: a register saturates at the last addition alone",
        REGISTERS,
        "bring = every_mac and not grouped",
        "bring = every_mac and not grouped and k + 1 == terms",
        ORDER,
    ),
    Mutant(
        "mistake 5: products saturate, their running sum does not",
        REGISTERS,
        "    elif drop == 0 and mode != WRAP:\n        for j in range(row.shape[0]):\n"
        "            value = cast(row[j] + cast(factor * cast(source[j])))\n"
        "            inside = min(max(value, low), high)",
        "    elif drop == 0 and mode != WRAP:\n        for j in range(row.shape[0]):\n"
        "            value = cast(row[j] + min(max(cast(factor * cast(source[j])), low), high))\n"
        "            inside = value",
        ORDER,
    ),
    Mutant(
        "mistake 5: the interpreter's registers saturate at the end",
        "fasim/backends/reference_integers.py",
        "lanes[k % acc.width] = limited(lanes[k % acc.width] + terms[..., k])",
        "lanes[k % acc.width] = lanes[k % acc.width] + terms[..., k]",
        trained("lanes", "reference"),
    ),
    Mutant(
        "mistake 5: lanes take turns of several products",
        REGISTERS,
        "(k % lanes if every_mac and order == LANES else 0)",
        "(k * lanes // terms if every_mac and order == LANES else 0)",
        ORDER,
    ),
    Mutant(
        "mistake 5: lanes are added up in the wrong order",
        REGISTERS,
        "for place in range(1, lanes):",
        "for place in range(lanes - 1, 0, -1):",
        ORDER,
    ),
    Mutant(
        "mistake 5: the sum of a tree's group is brought into range product by product",
        REGISTERS,
        "bring = every_mac and not grouped",
        "bring = every_mac",
        ORDER,
    ),
    Mutant(
        "mistake 6: a sum saturates before its bias is added",
        INTEGER,
        "(np.int64(total) << product_shift)",
        "(min(max(np.int64(total), -128), 127) << product_shift)",
        f"{TEN}_mistake_6_the_bias_comes_before_rounding_and_saturation",
    ),
    Mutant(
        "mistake 6: the bias of matmul is not aligned",
        ARRAYS,
        "start.astype(sums.dtype) << (total.frac - bias_format.frac)",
        "start.astype(sums.dtype)",
        f"{TEN}_mistake_6_the_bias_is_aligned_to_the_sum",
    ),
    Mutant(
        "mistake 6: the product sum of a layer is not aligned to a finer bias",
        f"{LOWERING}/base.py",
        '{"product_shift": frac - fmt.frac, "bias_shift": frac - extra.frac}',
        '{"product_shift": 0, "bias_shift": frac - extra.frac}',
        trained("a_fine_bias"),
    ),
    Mutant(
        "mistake 6: the bias of a layer is not aligned to a finer product sum",
        f"{LOWERING}/base.py",
        '{"product_shift": frac - fmt.frac, "bias_shift": frac - extra.frac}',
        '{"product_shift": frac - fmt.frac, "bias_shift": 0}',
        trained("a_coarse_bias"),
    ),
    Mutant(
        "mistake 7: a cast rounds twice",
        CASTS,
        "return b.ashr(b.add(b.ashr(x, self.less), one), one)",
        "return b.ashr(b.add(b.ashr(b.add(b.ashr(x, b.sub(self.less, one)), one), one), one), one)",
        f"{TEN}_mistake_7_one_rounding_not_two",
    ),
    Mutant(
        "mistake 7: a cast that no vector serves rounds twice",
        BLOCKS,
        "values[i] = shift_round(raw[i], shift, RND, 0)",
        "values[i] = shift_round(shift_round(raw[i], shift >> 1, RND, 0), shift - (shift >> 1), RND, 0)",
        f"{STATEMENT}[int16-RND-SAT_ZERO]",
    ),
    Mutant(
        "mistake 7: floats go through float32",
        QUANTIZE,
        "exact = np.asarray(values, dtype=np.float64)",
        "exact = np.asarray(values, dtype=np.float32).astype(np.float64)",
        FLOATS,
    ),
    Mutant(
        "mistake 7: a half is added in float64, which rounds",
        QUANTIZE,
        "lower = np.floor(near)",
        "lower = near = np.floor(near + 0.5)",
        FLOATS,
    ),
    Mutant(
        "mistake 8: SAT_SYM keeps the lowest number",
        "fasim/fixedpoint/cast.py",
        'return (-fmt.hi if overflow == "SAT_SYM" and fmt.signed else fmt.lo), fmt.hi',
        "return fmt.lo, fmt.hi",
        LOWEST,
    ),
    Mutant(
        "mistake 8: SAT gives the lowest number up",
        ROUNDING,
        "return min(max(value, low), high)",
        "return min(max(value, -high), high)",
        LOWEST,
    ),
    Mutant(
        "mistake 8: accumulators are as wide as the largest numbers need, not the lowest",
        f"{LOWERING}/base.py",
        "return max(abs(fmt.lo), fmt.hi)",
        "return fmt.hi",
        WIDTHS,
    ),
    Mutant(
        "mistake 8: an error of 0 has the sign 0",
        INTEGER,
        "out[n, k] = -1 if error[n, k] < 0 else 1",
        "out[n, k] = np.sign(error[n, k])",
        f"{TEN}_mistake_8_the_sign_of_an_error_of_zero",
    ),
    Mutant(
        "mistake 9: the sign bit is part of the address",
        INTEGER,
        "table[np.int64(codes[n, j]) - lowest]",
        "table[np.int64(codes[n, j])]",
        TABLE,
    ),
    Mutant(
        "mistake 9: entries stand for the centres of bins",
        FUNCTIONS,
        "math.ldexp(factor * code, -frac)",
        "math.ldexp(factor * (code + 0.5), -frac)",
        TABLE,
    ),
    Mutant(
        "a float decides an entry that lies at a tie",
        FUNCTIONS,
        "if DOUBT < near - whole < 1 - DOUBT:",
        "if near >= whole:",
        "tests/unit/test_functions.py::test_an_entry_in_doubt_is_formed_exactly",
    ),
    Mutant(
        "mistake 9: entries are truncated",
        FUNCTIONS,
        "* 2.0**out_frac + 0.5",
        "* 2.0**out_frac",
        TABLE,
    ),
    Mutant(
        "mistake 9: a table is one entry off",
        "fasim/fixedpoint/tables.py",
        "codes = range(preact.lo, preact.hi + 1)",
        "codes = range(preact.lo + 1, preact.hi + 2)",
        TABLE,
    ),
    Mutant(
        "mistake 9: slopes are half of what their function has",
        FUNCTIONS,
        'return t * (4 if function == "tanh" else 1) / (1 + t) ** 2',
        'return t * (2 if function == "tanh" else 1) / (1 + t) ** 2',
        TABLE,
    ),
    Mutant(
        "mistake 9: an address beyond the table wraps",
        CASTS,
        "if self.mode == WRAP:",
        "if self.mode in (WRAP, SAT):",
        f"{TEN}_mistake_9_the_address_is_clamped_and_all_bins_are_equally_wide",
    ),
    Mutant(
        "mistake 9: an address beyond the table wraps where no vector serves",
        BLOCKS,
        "out[i] = overflow(values[i], lo, hi, SAT)",
        "out[i] = overflow(values[i], lo, hi, WRAP)",
        f"{STATEMENT}[int16-TRN_INF-SAT]",
    ),
    Mutant(
        "mistake 9: the bin of 0 is twice as wide",
        CASTS,
        "whole = b.ashr(x, self.shift)",
        "whole = b.sdiv(x, b.shl(one, self.shift))",
        f"{TEN}_mistake_9_the_address_is_clamped_and_all_bins_are_equally_wide",
    ),
    Mutant(
        "mistake 10: <= where < is meant",
        ROUNDING,
        "((part + number) >> width)",
        "((part + number + 1) >> width)",
        UNBIASED,
    ),
    Mutant(
        "mistake 10: negative numbers are rounded by their magnitude",
        ROUNDING,
        "number = np.int64(word) & ((np.int64(1) << drawn) - 1)",
        "number = (np.int64(word) ^ (value >> 63)) & ((np.int64(1) << drawn) - 1)",
        UNBIASED,
    ),
    Mutant(
        "mistake 10: four neighbours share a word",
        BLOCKS,
        "shift_round(raw[i], shift, STOCH, mine[i])",
        "shift_round(raw[i], shift, STOCH, mine[i & ~3])",
        NEIGHBOURS,
    ),
    Mutant(
        "mistake 10: every block of a tensor draws the words of the first",
        "fasim/kernels/requantize.py",
        "first + start, words, values)",
        "first, words, values)",
        NEIGHBOURS,
    ),
    Mutant(
        "mistake 10: words depend on how the work is divided",
        BLOCKS,
        "random_block(seed, site, step, (first >> 2) + b)",
        "random_block(seed, site, step, b)",
        f"{TEN}_mistake_10_the_order_of_work_changes_no_bit",
    ),
    Mutant(
        "mistake 10: every step draws the words of the first",
        "fasim/backends/cpu_cast.py",
        "o.site, ByReference(o.step), o.first",
        "o.site, 0, o.first",
        trained("stochastic_casts"),
    ),
)
