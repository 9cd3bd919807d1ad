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

from fasim.kernels.adjust import clip, mean_of_three, mean_of_two, perturb, rescale, squared_norm
from fasim.kernels.conv import conv_forward, conv_input_gradient, conv_weight_gradient
from fasim.kernels.dense import (
    bias_gradient,
    dense_forward,
    load_labels,
    load_rows,
    load_standard_rows,
    project_error,
    project_target,
    project_up,
    weight_gradient,
)
from fasim.kernels.dropout import dropout
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
from fasim.kernels.integer import (
    bias_gradient_fixed,
    copy_fixed,
    dense_forward_fixed,
    gather_rows,
    look_up,
    multiply_fixed,
    output_error_fixed,
    project_error_fixed,
    project_target_fixed,
    sign_fixed,
    weight_gradient_fixed,
)
from fasim.kernels.norm import batch_norm, batch_norm_backward, batch_norm_inference, gain_gradient
from fasim.kernels.optimize import adam, momentum, nesterov, rmsprop, sgd
from fasim.kernels.pool import average_pool, average_unpool, max_pool, max_pool_value, max_unpool
from fasim.kernels.requantize import requantize
from fasim.kernels.sparse import project_csr, project_ell, project_target_csr, project_target_ell
from fasim.kernels.update import update_fixed

__all__ = [
    "adam",
    "average_pool",
    "average_unpool",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "bias_gradient",
    "bias_gradient_fixed",
    "clip",
    "conv_forward",
    "conv_input_gradient",
    "conv_weight_gradient",
    "copy_fixed",
    "dense_forward",
    "dense_forward_fixed",
    "dropout",
    "gain_gradient",
    "gather_rows",
    "hidden_delta",
    "linear",
    "linear_delta",
    "load_labels",
    "load_rows",
    "load_standard_rows",
    "look_up",
    "max_pool",
    "max_pool_value",
    "max_unpool",
    "mean_of_three",
    "mean_of_two",
    "momentum",
    "multiply_fixed",
    "nesterov",
    "output_error",
    "output_error_fixed",
    "perturb",
    "project_csr",
    "project_ell",
    "project_error",
    "project_error_fixed",
    "project_target",
    "project_target_csr",
    "project_target_ell",
    "project_target_fixed",
    "project_up",
    "relu",
    "relu_slope",
    "requantize",
    "rescale",
    "residual",
    "rmsprop",
    "sgd",
    "sigmoid",
    "sigmoid_slope",
    "sign",
    "sign_fixed",
    "softmax",
    "squared_norm",
    "tanh",
    "tanh_slope",
    "update_fixed",
    "weight_gradient",
    "weight_gradient_fixed",
]
