"""Faults to plant in what float32 alone runs: layers on maps, normalisation, dropout, sparse feedback, rules that learn."""

from __future__ import annotations

from planted import Mutant

MAPS = "tests/unit/test_kernels_maps.py"
NORM = "tests/unit/test_kernels_norm.py"
SPARSE = "tests/unit/test_kernels_sparse.py"


def _statement(module: str, kernel: str) -> str:
    return f"{module}::test_kernel_is_its_statement[{kernel}]"


MUTANTS = (
    Mutant(
        "a phase of a transposed convolution with fewer taps reads the deltas above",
        "fasim/kernels/conv.py",
        "corner = (top + most - rows) * line",
        "corner = top * line",
        _statement(MAPS, "conv_input_gradient"),
    ),
    Mutant(
        "a transposed convolution forgets to turn its kernel around",
        "fasim/kernels/conv_layout.py",
        "r = phase_h + stride * (down - 1 - u)",
        "r = phase_h + stride * u",
        _statement(MAPS, "conv_input_gradient"),
    ),
    Mutant(
        "convolution drops the bias",
        "fasim/kernels/micro/correlate.py",
        "return load_row(b, row, given[2], row.kind.sums)",
        "return [v.zero(row.kind.sums)] * len(row.masks)",
        _statement(MAPS, "conv_forward"),
    ),
    Mutant(
        "the weight gradient of a convolution forgets all blocks of rows but the last",
        "fasim/kernels/micro/correlate.py",
        "new = np.int64(fresh and p == 0)",
        "new = np.int64(fresh)",
        f"{MAPS}::test_convolution_beyond_a_tile",
    ),
    Mutant(
        "a tile over windows does not go on to the window's next row",
        "fasim/kernels/micro/windows.py",
        "[b.add(segment, a_segment), line, *sums]",
        "[segment, line, *sums]",
        _statement(MAPS, "conv_forward"),
    ),
    Mutant(
        "ties of the maximum go to the last",
        "fasim/kernels/pool.py",
        "larger = source[c] > best[c]",
        "larger = source[c] >= best[c]",
        f"{MAPS}::test_pooling_of_any_window",
    ),
    Mutant(
        "overlapping windows overwrite each other on the way back",
        "fasim/kernels/pool.py",
        "target[c] += source[c] if place[c] == t else ZERO",
        "target[c] = source[c] if place[c] == t else target[c]",
        f"{MAPS}::test_pooling_of_any_window",
    ),
    Mutant(
        "average pooling does not divide on the way back",
        "fasim/kernels/pool.py",
        "target[c] += source[c] / area",
        "target[c] += source[c]",
        _statement(MAPS, "average_unpool"),
    ),
    Mutant(
        "batch normalisation divides by the unbiased variance",
        "fasim/kernels/norm.py",
        "math.sqrt(squares[c] / rows + eps)",
        "math.sqrt(squares[c] / (rows - 1) + eps)",
        _statement(NORM, "batch_norm"),
    ),
    Mutant(
        "the way back through batch normalisation takes the statistics for constants",
        "fasim/kernels/norm.py",
        "(delta[m, c] - mean[c] - normal[m, c] * slope[c])",
        "delta[m, c]",
        _statement(NORM, "batch_norm_backward"),
    ),
    Mutant(
        "dropout draws the same mask at every step",
        "fasim/kernels/dropout.py",
        "random_block(seed, site, step[0], block)",
        "random_block(seed, site, 0, block)",
        _statement(NORM, "dropout"),
    ),
    Mutant(
        "sparse feedback reads its outputs in order",
        "fasim/kernels/sparse.py",
        "cast(row[index[j, entry]])",
        "cast(row[entry])",
        f"{SPARSE}::test_a_few_rows_and_many_have_the_same_bits",
    ),
    Mutant(
        "the product of one row forgets all terms but the last few",
        "fasim/kernels/micro/one_row.py",
        "np.int64(k == 0)",
        "np.int64(1)",
        "tests/unit/test_micro_outer.py::test_one_row_in_the_stated_order",
    ),
    Mutant(
        "a row of weights is multiplied before it is updated",
        "fasim/kernels/micro/rows.py",
        "v.fused(b, new[j * parts + part], act, weight)",
        "v.fused(b, new[j * parts + part], act, b.fadd(weight, b.fmul(self.rate[0], gradient)))",
        "tests/unit/test_micro_rows.py::test_every_remainder_in_the_stated_order",
    ),
    Mutant(
        "the update of a row of weights forgets that a product of 0 has no sign",
        "fasim/kernels/micro/rows.py",
        "gradient = v.fused(b, v.zero(self.kind.sums), delta, factor)",
        "gradient = b.fmul(delta, factor)",
        "tests/unit/test_micro_rows.py::test_every_remainder_in_the_stated_order",
    ),
    Mutant(
        "decoupled decay goes with the learning rate",
        "fasim/kernels/optimize.py",
        "        return np.float32(0), decay\n",
        "        return np.float32(0), np.float32(rate[0] * decay)\n",
        "tests/unit/test_optimizers.py::test_kolen_and_pollack_two_parameters_with_the_same_gradients_meet",
    ),
    Mutant(
        "the entries of a unit are added from the last to the first",
        "fasim/kernels/sparse.py",
        "index[start[j] + e], values[start[j] + e]",
        "index[start[j + 1] - 1 - e], values[start[j + 1] - 1 - e]",
        f"{SPARSE}::test_a_few_rows_and_many_have_the_same_bits",
    ),
    Mutant(
        "a vector of units keeps the last entry alone",
        "fasim/kernels/micro/gathered.py",
        "v.add(b, old, product)",
        "product",
        f"{SPARSE}::test_a_few_rows_and_many_have_the_same_bits",
    ),
)
