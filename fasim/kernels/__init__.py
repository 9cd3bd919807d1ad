"""Numba kernels for the CPU: plain functions on arrays that the caller owns, usable alone and inside others' ``@njit``.

>>> import numpy as np
>>> from fasim.kernels import project_error
>>> error = np.float32([[0.5, -1.0]])
>>> feedback = np.float32([[1.0, 2.0, 0.0], [0.0, 1.0, 4.0]])
>>> signal = np.empty((1, 3), np.float32)
>>> project_error(error, feedback, np.float32(1.0), signal)
>>> signal.tolist()
[[0.5, 0.0, -4.0]]
"""

from __future__ import annotations

from fasim.kernels.accumulate import (
    bias_gradient_accumulate,
    dense_accumulate,
    project_accumulate,
    weight_gradient_accumulate,
)
from fasim.kernels.accumulate_conv import (
    conv_forward_accumulate,
    conv_input_gradient_accumulate,
    conv_weight_gradient_accumulate,
)
from fasim.kernels.adjust import clip, mean_of_three, mean_of_two, perturb, rescale, squared_norm
from fasim.kernels.conv import conv_forward, conv_input_gradient, conv_weight_gradient
from fasim.kernels.dense import (
    bias_gradient,
    dense_forward,
    dense_forward_batch,
    dense_forward_updated,
    load_labels,
    load_rows,
    load_standard_rows,
    project_error,
    project_target,
    project_up,
    weight_gradient,
)
from fasim.kernels.dropout import dropout, dropout_fixed
from fasim.kernels.elementwise import (
    hidden_delta,
    linear,
    linear_delta,
    output_error,
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
from fasim.kernels.factors import (
    flip_offsets,
    interleave,
    interleave_halves,
    outer_sums_halves,
    update_weights,
    update_weights_halves,
)
from fasim.kernels.gemm import dense_forward_gemm, project_error_gemm, weight_gradient_gemm
from fasim.kernels.integer import (
    add_bias_fixed,
    bias_gradient_fixed,
    clip_fixed,
    copy_fixed,
    dense_forward_fixed,
    divide_by_fixed,
    gather_rows,
    look_up,
    mask_fixed,
    mean_of_three_fixed,
    mean_of_two_fixed,
    multiply_fixed,
    output_error_fixed,
    perturb_fixed,
    project_error_fixed,
    project_target_fixed,
    project_up_fixed,
    relu_fixed,
    relu_mask,
    residual_fixed,
    sign_fixed,
    weight_gradient_fixed,
)
from fasim.kernels.integer_conv import conv_forward_fixed, conv_input_gradient_fixed, conv_weight_gradient_fixed
from fasim.kernels.integer_maps import (
    max_pool_fixed,
    max_pool_value_fixed,
    max_unpool_fixed,
    window_spread_fixed,
    window_sum_fixed,
)
from fasim.kernels.integer_norm import (
    gain_gradient_fixed,
    norm_backward_fixed,
    norm_normal_fixed,
    norm_recall_fixed,
    norm_running_fixed,
    norm_scale_fixed,
    norm_statistics_fixed,
)
from fasim.kernels.integer_softmax import softmax_fixed
from fasim.kernels.integer_sparse import (
    project_csr_fixed,
    project_ell_fixed,
    project_target_csr_fixed,
    project_target_ell_fixed,
)
from fasim.kernels.meet import meet
from fasim.kernels.micro.split import split_panels
from fasim.kernels.move import update_weights_bytes, update_weights_int16, update_weights_read, update_weights_words
from fasim.kernels.move_forward import dense_forward_moved
from fasim.kernels.move_one import update_weights_of_one
from fasim.kernels.norm import batch_norm, batch_norm_backward, batch_norm_inference, gain_gradient
from fasim.kernels.observe import observe, observe_float
from fasim.kernels.optimize import adam, momentum, nesterov, rmsprop, sgd
from fasim.kernels.pool import average_pool, average_unpool, max_pool, max_pool_value, max_unpool
from fasim.kernels.random_words import lfsr_words, philox_words
from fasim.kernels.requantize import divide_fixed, requantize, requantize_random
from fasim.kernels.scalars import add_exponent, choose_exponent, clear
from fasim.kernels.sparse import project_csr, project_ell, project_target_csr, project_target_ell
from fasim.kernels.update import momentum_fixed, update_by_one, update_divided, update_fixed, update_scaled

__all__ = [
    "adam",
    "add_bias_fixed",
    "add_exponent",
    "average_pool",
    "average_unpool",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "bias_gradient",
    "bias_gradient_accumulate",
    "bias_gradient_fixed",
    "choose_exponent",
    "clear",
    "clip",
    "clip_fixed",
    "conv_forward",
    "conv_forward_accumulate",
    "conv_forward_fixed",
    "conv_input_gradient",
    "conv_input_gradient_accumulate",
    "conv_input_gradient_fixed",
    "conv_weight_gradient",
    "conv_weight_gradient_accumulate",
    "conv_weight_gradient_fixed",
    "copy_fixed",
    "dense_accumulate",
    "dense_forward",
    "dense_forward_batch",
    "dense_forward_moved",
    "dense_forward_updated",
    "dense_forward_fixed",
    "dense_forward_gemm",
    "divide_by_fixed",
    "divide_fixed",
    "flip_offsets",
    "dropout",
    "dropout_fixed",
    "gain_gradient",
    "gain_gradient_fixed",
    "gather_rows",
    "hidden_delta",
    "interleave",
    "interleave_halves",
    "lfsr_words",
    "linear",
    "linear_delta",
    "load_labels",
    "load_rows",
    "load_standard_rows",
    "look_up",
    "mask_fixed",
    "max_pool",
    "max_pool_fixed",
    "max_pool_value",
    "max_pool_value_fixed",
    "max_unpool",
    "max_unpool_fixed",
    "mean_of_three",
    "mean_of_three_fixed",
    "mean_of_two",
    "mean_of_two_fixed",
    "meet",
    "momentum",
    "momentum_fixed",
    "multiply_fixed",
    "nesterov",
    "norm_backward_fixed",
    "norm_normal_fixed",
    "norm_recall_fixed",
    "norm_running_fixed",
    "norm_scale_fixed",
    "norm_statistics_fixed",
    "observe",
    "observe_float",
    "output_error",
    "output_error_fixed",
    "outer_sums_halves",
    "perturb",
    "perturb_fixed",
    "philox_words",
    "project_accumulate",
    "project_csr",
    "project_csr_fixed",
    "project_ell",
    "project_ell_fixed",
    "project_error",
    "project_error_fixed",
    "project_error_gemm",
    "project_target",
    "project_target_csr",
    "project_target_csr_fixed",
    "project_target_ell",
    "project_target_ell_fixed",
    "project_target_fixed",
    "project_up",
    "project_up_fixed",
    "relu",
    "relu_fixed",
    "relu_mask",
    "relu_slope",
    "requantize",
    "requantize_random",
    "rescale",
    "residual",
    "residual_fixed",
    "rmsprop",
    "sgd",
    "sigmoid",
    "sigmoid_slope",
    "sign",
    "sign_fixed",
    "softmax",
    "softmax_fixed",
    "split_panels",
    "squared_norm",
    "tanh",
    "tanh_slope",
    "update_by_one",
    "update_divided",
    "update_fixed",
    "update_scaled",
    "update_weights",
    "update_weights_bytes",
    "update_weights_halves",
    "update_weights_int16",
    "update_weights_of_one",
    "update_weights_read",
    "update_weights_words",
    "weight_gradient",
    "weight_gradient_accumulate",
    "weight_gradient_fixed",
    "weight_gradient_gemm",
    "window_spread_fixed",
    "window_sum_fixed",
]
