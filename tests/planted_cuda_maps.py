"""Faults to plant in the CUDA kernels of maps, shift registers and norms; their tests run in the simulator."""

from __future__ import annotations

from planted import Mutant

KERNELS = "tests/cuda/test_cuda_map_kernels.py"
RANDOM = "tests/cuda/test_cuda_random.py"
OBSERVE = "tests/cuda/test_cuda_observe.py"
NETS = "tests/cuda/test_cuda_maps.py"

MUTANTS = (
    Mutant(
        "a slice of a convolution's terms keeps the taps of the one before",
        "cuda/fasim_cuda/conv.py",
        "t = first + depth + k",
        "t = first + k",
        f"{KERNELS}::test_integer_convolutions_are_exact",
    ),
    Mutant(
        "a convolution on the device starts from nothing and adds the bias last",
        "cuda/fasim_cuda/conv.py",
        "start = bias[j] if j < units else float32(0)",
        "start = float32(0)",
        f"{KERNELS}::test_float_convolutions_are_added_in_the_stated_order",
    ),
    Mutant(
        "the way back through a convolution meets its taps the wrong way round",
        "cuda/fasim_cuda/conv.py",
        "r = phase_h + stride * (tall - 1 - down[k])",
        "r = phase_h + stride * down[k]",
        f"{KERNELS}::test_integer_convolutions_are_exact",
    ),
    Mutant(
        "the gradient of a convolution reads beyond the edge of a map",
        "cuda/fasim_cuda/conv_gradient.py",
        "inside = inside and h >= 0 and",
        "inside = inside and",
        f"{KERNELS}::test_integer_convolutions_are_exact",
    ),
    Mutant(
        "further samples of a batch start the gradient anew",
        "fasim/backends/cuda_maps.py",
        "int(first > 0)",
        "0",
        f"{NETS}::test_gradients_of_more_samples_than_may_wait",
    ),
    Mutant(
        "the last of two equal codes wins a window on the device",
        "cuda/fasim_cuda/pool.py",
        """if value > best:
                    best = value
                    where""",
        """if value >= best:
                    best = value
                    where""",
        f"{KERNELS}::test_kernel_of_elements[max_pool]",
    ),
    Mutant(
        "a pixel misses the last window that holds it",
        "cuda/fasim_cuda/pool.py",
        "return min(place // int64(stride) + 1, int64(windows))",
        "return min(place // int64(stride), int64(windows))",
        f"{KERNELS}::test_kernel_of_elements[average_unpool]",
    ),
    Mutant(
        "a window in registers takes the pixel beside it",
        "cuda/fasim_cuda/windows.py",
        "h = p * stride + r - padding",
        "h = p * stride + r",
        f"{KERNELS}::test_kernel_of_elements[copy_windows]",
    ),
    Mutant(
        "a stretch of rows takes the first row of the next one too",
        "cuda/fasim_cuda/rows.py",
        "total = number(total + number(source[m, c]))",
        "total = number(total + number(source[min(m + 1, count - 1), c]))",
        f"{KERNELS}::test_sums_over_rows",
    ),
    Mutant(
        "running variances on the device are biased",
        "cuda/fasim_cuda/norm.py",
        "float64(rows - 1)",
        "float64(rows)",
        f"{KERNELS}::test_kernel_of_elements[batch_statistics]",
    ),
    Mutant(
        "a cast of normalised numbers on the device forgets the binary point",
        "cuda/fasim_cuda/integer_norm.py",
        "int64(int64(exponent[c]) - int64(frac))",
        "int64(exponent[c])",
        f"{KERNELS}::test_kernel_of_elements[norm_normal_fixed]",
    ),
    Mutant(
        "means on the device are rounded down",
        "cuda/fasim_cuda/scalars_norm.py",
        "np.int64(2) * np.int64(total) + np.int64(rows)",
        "np.int64(2) * np.int64(total)",
        f"{KERNELS}::test_kernel_of_elements[nearest_means]",
    ),
    Mutant(
        "a pass beside the training moves the running statistics of the device",
        "fasim/backends/cuda_norm.py",
        "if len(op.writes) == 3:",
        "if len(op.writes) == 9:",
        f"{NETS}::test_a_pass_beside_the_training_leaves_running_statistics",
    ),
    Mutant(
        "a thread jumps to its run of a register's words and forgets earlier steps",
        "cuda/fasim_cuda/random_words.py",
        "left = int64(int64(step[0] * int64(elements)) + first)",
        "left = first",
        f"{RANDOM}::test_words_are_those_of_single_shifts",
    ),
    Mutant(
        "the matrices of a register ignore how often it shifts a draw",
        "fasim/backends/cuda_random.py",
        "left = shifts\n",
        "left = 1\n",
        f"{RANDOM}::test_words_are_those_of_single_shifts",
    ),
    Mutant(
        "the length of all gradients is that of the last tensor",
        "cuda/fasim_cuda/adjust.py",
        "total = parts[q] if further else float64(0)",
        "total = float64(0)",
        f"{RANDOM}::test_squares_are_added_over_tensors",
    ),
    Mutant(
        "the backend begins the length of gradients anew at each tensor",
        "fasim/backends/cuda_float.py",
        "int(number > 0)",
        "0",
        f"{RANDOM}::test_clipping_by_the_norm_is_that_of_the_cpu",
    ),
    Mutant(
        "what a block has counted of sizes replaces what was counted before",
        "cuda/fasim_cuda/observe.py",
        "cuda.atomic.add(bins, b, counts[b])",
        "bins[b] = counts[b]",
        f"{OBSERVE}::test_integers_are_counted_by_size",
    ),
    Mutant(
        "infinities are counted among the numbers of a tensor on the device",
        "cuda/fasim_cuda/scalars_observe.py",
        "return math.isfinite(value)",
        "return not math.isnan(value)",
        f"{OBSERVE}::test_floats_are_counted_by_exponent",
    ),
    Mutant(
        "tensors that the update alone writes are not observed on the device",
        "fasim/backends/cuda_observe.py",
        "for value in observed(self.schedule, op)]",
        "for value in observed(self.schedule, op) if op.phase != 'update']",
        f"{OBSERVE}::test_ranges_are_those_of_the_cpu",
    ),
)
