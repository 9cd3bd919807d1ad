"""Faults to plant in the products of bytes on the device, and in what chooses them."""

from __future__ import annotations

from planted import Mutant

PRODUCTS = "tests/cuda/test_cuda_products.py"
WAYS = "tests/cuda/test_cuda_ways.py"
EXACT = f"{PRODUCTS}::test_products_of_bytes_are_exact"

MUTANTS = (
    Mutant(
        "the last word of a row keeps a term of what lies behind it",
        "cuda/fasim_cuda/byte_products.py",
        "b3 = int32(array[term + 3, line]) if inside and term + 3 < terms else int32(0)",
        "b3 = int32(array[min(term + 3, terms - 1), line]) if inside else int32(0)",
        EXACT,
    ),
    Mutant(
        "the tensor core's second half of the terms is the first once more",
        "cuda/fasim_cuda/byte_products.py",
        "columns[k + t + 4, n]",
        "columns[k + t, n]",
        EXACT,
    ),
    Mutant(
        "the lower half of a fragment is written eight rows too high",
        "cuda/fasim_cuda/byte_products.py",
        "lane // 4 + number % 4 // 2 * 8",
        "lane // 4",
        EXACT,
    ),
    Mutant(
        "dp4a's twin reads every byte as signed",
        "cuda/fasim_cuda/words.py",
        'np.int64(128 if dtype == "int8" else 0)',
        "np.int64(128)",
        f"{PRODUCTS}::test_the_twin_of_dp4a_is_what_the_manual_says_of_it",
    ),
    Mutant(
        "a thread leaves the shared words before all have read them",
        "cuda/fasim_cuda/byte_products.py",
        "            add_slice(rows, columns, sums)\n            cuda.syncthreads()\n",
        "            add_slice(rows, columns, sums)\n",
        EXACT,
    ),
    Mutant(
        "numbers of 16 bits are multiplied as bytes",
        "fasim/backends/cuda_products.py",
        "str(left.dtype) in BYTES and str(right.dtype) in BYTES",
        "str(left.dtype) in BYTES",
        f"{WAYS}::test_the_way_is_chosen_by_types_sizes_and_device",
    ),
    Mutant(
        "narrow matrices go to the tensor cores",
        "fasim/backends/cuda_products.py",
        "min(rows, columns, left.size // max(rows, 1)) >= LEAST_FOR_MMA",
        "rows >= LEAST_FOR_MMA",
        f"{WAYS}::test_the_way_is_chosen_by_types_sizes_and_device",
    ),
)
