"""Numba CUDA kernels of fasim, twins of those of ``fasim.kernels`` in name, order of arguments and bits.

Importing this package chooses the GPU or the simulator, see :mod:`fasim_cuda.target`. A kernel is launched on arrays of the
device, ``kernel[blocks, threads](...)``; one of single elements runs on any grid, products on the grid of their tile.
"""

from __future__ import annotations

from fasim_cuda.casts import add_exponent, choose_exponent, divide_fixed, largest_magnitude, requantize
from fasim_cuda.clock import advance, keep_rows
from fasim_cuda.dense import (
    bias_gradient,
    bias_gradient_fixed,
    gather_rows,
    load_labels,
    load_rows,
    load_standard_rows,
    project_target,
    project_target_fixed,
)
from fasim_cuda.elementwise import (
    clip,
    hidden_delta,
    linear,
    linear_delta,
    mean_of_three,
    mean_of_two,
    output_error,
    perturb,
    relu,
    relu_slope,
    residual,
    sigmoid,
    sigmoid_slope,
    sign,
    softmax,
    tanh,
    tanh_slope,
)
from fasim_cuda.integer import (
    clip_fixed,
    copy_fixed,
    divide_by_fixed,
    look_up,
    mask_fixed,
    mean_of_three_fixed,
    mean_of_two_fixed,
    momentum_fixed,
    multiply_fixed,
    output_error_fixed,
    perturb_fixed,
    relu_fixed,
    relu_mask,
    residual_fixed,
    sign_fixed,
)
from fasim_cuda.integer_softmax import softmax_fixed
from fasim_cuda.optimize import sgd
from fasim_cuda.products import TILE, Tile, float_products, integer_products
from fasim_cuda.target import cuda, device_name, is_simulated
from fasim_cuda.update import update_divided, update_fixed

__all__ = [
    "TILE",
    "Tile",
    "add_exponent",
    "advance",
    "bias_gradient",
    "bias_gradient_fixed",
    "choose_exponent",
    "clip",
    "clip_fixed",
    "copy_fixed",
    "cuda",
    "device_name",
    "divide_by_fixed",
    "divide_fixed",
    "float_products",
    "gather_rows",
    "hidden_delta",
    "integer_products",
    "is_simulated",
    "keep_rows",
    "largest_magnitude",
    "linear",
    "linear_delta",
    "load_labels",
    "load_rows",
    "load_standard_rows",
    "look_up",
    "mask_fixed",
    "mean_of_three",
    "mean_of_three_fixed",
    "mean_of_two",
    "mean_of_two_fixed",
    "momentum_fixed",
    "multiply_fixed",
    "output_error",
    "output_error_fixed",
    "perturb",
    "perturb_fixed",
    "project_target",
    "project_target_fixed",
    "relu",
    "relu_fixed",
    "relu_mask",
    "relu_slope",
    "requantize",
    "residual",
    "residual_fixed",
    "sgd",
    "sigmoid",
    "sigmoid_slope",
    "sign",
    "sign_fixed",
    "softmax",
    "softmax_fixed",
    "tanh",
    "tanh_slope",
    "update_divided",
    "update_fixed",
]
