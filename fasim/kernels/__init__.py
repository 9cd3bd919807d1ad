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

from fasim.kernels.dense import (
    bias_gradient,
    dense_forward,
    load_labels,
    load_rows,
    project_error,
    project_target,
    weight_gradient,
)
from fasim.kernels.elementwise import (
    hidden_delta,
    linear,
    linear_delta,
    output_error,
    relu,
    relu_slope,
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
from fasim.kernels.optimize import adam, momentum, sgd
from fasim.kernels.requantize import requantize
from fasim.kernels.update import update_fixed

__all__ = [
    "adam",
    "bias_gradient",
    "bias_gradient_fixed",
    "copy_fixed",
    "dense_forward",
    "dense_forward_fixed",
    "gather_rows",
    "hidden_delta",
    "linear",
    "linear_delta",
    "load_labels",
    "load_rows",
    "look_up",
    "momentum",
    "multiply_fixed",
    "output_error",
    "output_error_fixed",
    "project_error",
    "project_error_fixed",
    "project_target",
    "project_target_fixed",
    "relu",
    "relu_slope",
    "requantize",
    "sgd",
    "sigmoid",
    "sigmoid_slope",
    "sign",
    "sign_fixed",
    "softmax",
    "tanh",
    "tanh_slope",
    "update_fixed",
    "weight_gradient",
    "weight_gradient_fixed",
]
