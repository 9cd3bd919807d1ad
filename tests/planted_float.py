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
        "convolution forgets the padding's offset on the way back",
        "fasim/kernels/conv.py",
        "result[h, k] = scale * padded[h + padding, padding * channels + k]",
        "result[h, k] = scale * padded[h, k]",
        _statement(MAPS, "conv_input_gradient"),
    ),
    Mutant(
        "a transposed convolution lets the later of two windows win",
        "fasim/kernels/conv.py",
        "padded[top + r, first + k] += patch[u, r * strip + k]",
        "padded[top + r, first + k] = patch[u, r * strip + k]",
        _statement(MAPS, "conv_input_gradient"),
    ),
    Mutant(
        "convolution drops the bias",
        "fasim/kernels/conv.py",
        "total[u, j] = bias[j]",
        "total[u, j] = ZERO",
        _statement(MAPS, "conv_forward"),
    ),
    Mutant(
        "the weight gradient of a convolution counts pixels past the last one",
        "fasim/kernels/conv.py",
        "signal[j, u] = source[pixel + u, j] if u < count else ZERO",
        "signal[j, u] = source[min(pixel + u, pixels - 1), j]",
        f"{MAPS}::test_convolution_of_any_shape",
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
        _statement(SPARSE, "project_ell"),
    ),
    Mutant(
        "decoupled decay goes with the learning rate",
        "fasim/kernels/optimize.py",
        "        return np.float32(0), decay\n",
        "        return np.float32(0), np.float32(rate[0] * decay)\n",
        "tests/unit/test_optimizers.py::test_kolen_and_pollack_two_parameters_with_the_same_gradients_meet",
    ),
)
