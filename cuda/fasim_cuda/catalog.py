"""Every kernel with the types that a run launches it with: what is compiled where there is no GPU to launch it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from numba import boolean, float32, float64, int8, int16, int32, int64, uint8, uint32, uint64
from numba.core.types import Array

import fasim_cuda as kernels
from fasim_cuda import catalog_maps
from fasim_cuda.byte_products import WAYS as BYTE_WAYS
from fasim_cuda.products import GPU_TILE, INTEGERS
from fasim_cuda.replicas import Kernel

# what the kernel of one network sees: one number, a flat array, rows: int64, int64[::1], int64[:, ::1]
F, F1, F2 = float32, float32[::1], float32[:, ::1]
B1, B2, H1, H2, W1, W2 = int8[::1], int8[:, ::1], int16[::1], int16[:, ::1], int32[::1], int32[:, ::1]
I, I1, I2 = int64, int64[::1], int64[:, ::1]  # noqa: E741
U1, U2, T1 = uint8[::1], uint8[:, ::1], uint32[::1]
D = float64
# a number of which each replica has its own
EACH = Array(int64, 0, "C")
# product shift, rounding, lo, hi, overflow, every MAC, order, lanes
REGISTER = (I,) * 8
# seed, site, step; lo, hi, rounding, overflow; bits and half of a random word
PLACE, MODES, WORD = (EACH, I, I1), (I, I, I, I), (I, boolean)


class Entry(NamedTuple):
    """A kernel and one list of types of its arguments, as they are passed: arrays with the axis of replicas before them."""

    name: str
    kernel: Kernel
    types: tuple[Any, ...]
    instruction: str = ""
    """What must be in the machine code, as PTX names it: dp4a, mma."""

    @property
    def function(self) -> Any:  # noqa: ANN401
        """What is compiled for these types."""
        return self.kernel.of([isinstance(given, Array) for given in self.types]).py_func


ELEMENTS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "load_rows": ((U2, I1, I1, F, F2), (F2, I1, I1, F, F2)),
    "load_standard_rows": ((U2, I1, I1, F1, F1, F2), (F2, I1, I1, F1, F1, F2)),
    "gather_rows": ((U2, I1, I1, U2),),
    "load_labels": ((I1, I1, I1, I1),),
    "project_target": ((I1, F2, F, F2),),
    "project_target_fixed": ((I1, B2, W2), (I1, H2, I2)),
    "add_bias": ((F1, F2),),
    "bias_gradient": ((F2, F1),),
    "bias_gradient_fixed": ((B2, W1), (H2, I1)),
    "tanh": ((F1, F1),),
    "sigmoid": ((F1, F1),),
    "relu": ((F1, F1),),
    "linear": ((F1, F1),),
    "softmax": ((F2, F2),),
    "tanh_slope": ((F1, F1),),
    "sigmoid_slope": ((F1, F1),),
    "relu_slope": ((F1, F1),),
    "output_error": ((F2, I1, F2),),
    "residual": ((F1, F1, F1),),
    "sign": ((F1, F1),),
    "hidden_delta": ((F1, F1, F, F1),),
    "linear_delta": ((F1, F, F1),),
    "mean_of_two": ((F1, F1, F1),),
    "mean_of_three": ((F1, F1, F1, F1),),
    "clip": ((F1, F, F1),),
    "perturb": ((F1, F1, F, F1),),
    "sgd": ((F1, F1, F1, F, I),),
    "momentum": ((F1, F1, F1, F1, F, F, I),),
    "nesterov": ((F1, F1, F1, F1, F, F, I),),
    "rmsprop": ((F1, F1, F1, F1, F, F, F, F, I),),
    "adam_rates": ((F1, I1, D, D, F1),),
    "adam": ((F1, F1, F1, F1, F1, F1, F, F, F, F, F, F, I),),
    "project_ell": ((F2, F2, W2, F, F2),),
    "project_ell_fixed": ((B2, B2, W2, W2), (H2, H2, W2, I2)),
    "project_csr": ((F2, F1, W1, W1, F, F2),),
    "project_csr_fixed": ((B2, B1, W1, W1, W2), (H2, H1, W1, W1, I2)),
    "project_target_ell": ((I1, F2, W2, F, F2),),
    "project_target_ell_fixed": ((I1, B2, W2, W2),),
    "project_target_csr": ((I1, F1, W1, W1, F, F2),),
    "project_target_csr_fixed": ((I1, B1, W1, W1, W2),),
    "dropout": ((F1, I, F, *PLACE, F1, F1),),
    "dropout_fixed": ((B1, *PLACE, I, B1, B1),),
    "dense_accumulate": ((U1, B1, H1, I, *REGISTER, W2, I1),),
    "project_accumulate": ((H1, H1, *REGISTER, I2, I1),),
    "weight_gradient_accumulate": ((B1, U1, *REGISTER, W2, I1),),
    "bias_gradient_accumulate": ((H1, I1, *REGISTER, I1, I1),),
    "look_up": ((H1, B1, I, B1),),
    "output_error_fixed": ((B2, I1, I, W2), (H2, I1, I, I2)),
    "residual_fixed": ((B1, B1, I, I, W1),),
    "sign_fixed": ((B1, B1),),
    "multiply_fixed": ((W1, B1, W1), (I1, H1, I1)),
    "copy_fixed": ((W1, W1), (F1, F1)),
    "relu_fixed": ((W1, W1),),
    "relu_mask": ((B1, I, B1),),
    "mask_fixed": ((W1, B1, W1),),
    "divide_by_fixed": ((W1, B1, W1),),
    "mean_of_two_fixed": ((W1, W1, W1),),
    "mean_of_three_fixed": ((W1, W1, W1, I1),),
    "perturb_fixed": ((B1, B1, I, W1),),
    "clip_fixed": ((W1, I, W1),),
    "momentum_fixed": ((H1, W1, I, I, I, I1),),
    "softmax_fixed": ((H2, I1, T1, I, I, I, B2, I1),),
    "requantize": ((W1, I1, *MODES, *PLACE, *WORD, B1, I1), (I1, I1, *MODES, *PLACE, *WORD, H1, I1)),
    "divide_fixed": ((I1, I, I, *MODES, H1, I1),),
    "add_exponent": ((I1, I, I1, I1),),
    "largest_magnitude": ((W1, uint64[::1]),),
    "choose_exponent": ((uint64[::1], I, boolean, I1),),
    "update_fixed": (
        (H1, W1, I1, I1, I1, *MODES, *PLACE, *WORD, I, I1),
        (W1, I1, I1, I1, I1, *MODES, *PLACE, *WORD, I, I1),
    ),
    "update_by_one": ((H1, W1, I1, I1, I, I, I, *PLACE, I, I1),),
    "update_divided": ((H1, I1, I, I1, *MODES, I, I1),),
    "advance": ((I1, I1, I1, I),),
    "keep_rows": ((F2, I1, F2), (B2, I1, B2)),
}
ELEMENTS |= catalog_maps.ELEMENTS
PRODUCTS: dict[str, tuple[Any, ...]] = {
    "dense_forward": (F2, F2, F1, F2),
    "project_error": (F2, F2, F, F2),
    "project_up": (F2, F2, F, F2),
    "weight_gradient": (F2, F2, F2),
}
# of codes in 8 bits with sums in 32, and of codes in 16 with sums in 64
STORED = {"int32": (B1, B2, W2), "int64": (H1, H2, I2)}
# one thread reckons a few numbers of a step in float64
IN_FLOAT64 = {"adam_rates"} | catalog_maps.IN_FLOAT64


def entries() -> Iterator[Entry]:
    """Yield every kernel with each list of types, and in fixed point with numbers of which each replica has its own."""
    for entry in _of_one_schedule():
        yield entry
        in_float = any(getattr(given, "dtype", given) in (float32, float64) for given in entry.types)
        own = tuple(given if isinstance(given, Array) else Array(given, 1, "C") for given in entry.types)
        if own != entry.types and not in_float:
            yield entry._replace(name=f"each {entry.name}", types=own)


def _of_one_schedule() -> Iterator[Entry]:
    """Yield every kernel with each list of types, where all replicas have one schedule."""
    for name, lists in ELEMENTS.items():
        for seen in lists:
            yield _entry(name, getattr(kernels, name), seen)
    for name, seen in PRODUCTS.items():
        yield _entry(name, getattr(kernels.float_products(), name), seen)
    for dtype in INTEGERS:
        code, codes, sums = STORED[dtype]
        products = vars(kernels.integer_products(dtype))
        for name, kernel in products.items():
            first = U2 if name in ("dense_forward_fixed", "weight_gradient_fixed") else codes
            seen = (codes, first, sums) if name == "weight_gradient_fixed" else (first, codes, sums)
            yield _entry(name, kernel, (first, codes, code, I, I, sums) if name == "dense_forward_fixed" else seen)
    yield from _of_bytes()
    for name, kernel, seen in catalog_maps.made():
        yield _entry(name, kernel, seen)


def _of_bytes() -> Iterator[Entry]:
    """Yield the products of bytes: signed ones, and those of pixels, which are not."""
    types = {"int8": B2, "uint8": U2}
    for way in BYTE_WAYS:
        for left, right, only in (("int8", "int8", ""), ("uint8", "int8", "dense_"), ("int8", "uint8", "weight_")):
            for name, kernel in vars(kernels.byte_products(way, left, right, GPU_TILE)).items():
                if name.startswith(only):
                    others = (B1, I, I) if name.startswith("dense_") else ()
                    entry = _entry(name, kernel, (types[left], types[right], *others, W2))
                    yield entry._replace(name=f"{way} {name}", instruction=way)


def _entry(name: str, kernel: Kernel, seen: tuple[Any, ...]) -> Entry:
    return Entry(name, kernel, tuple(_passed(given) for given in seen))


def _passed(given: Any) -> Any:  # noqa: ANN401
    """Return the type with the axis of replicas."""
    return Array(given.dtype, given.ndim + 1, "C") if isinstance(given, Array) else given
