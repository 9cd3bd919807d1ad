"""Microkernels: products whose sums stay in registers, written for the vector unit that this CPU has.

>>> import numpy as np
>>> from fasim.kernels.micro import gemm_nt_int8
>>> out = np.empty((1, 2), np.int32)
>>> gemm_nt_int8(np.int8([[1, -128]]), np.int8([[3, 4], [-128, -128]]), out)
>>> out.tolist()
[[-509, 16256]]
"""

from __future__ import annotations

from fasim.kernels.micro.amx import SERVES as AMX
from fasim.kernels.micro.ascending import gemm_nt_ascending_float32
from fasim.kernels.micro.gemm import gemm_nt_float32, gemm_nt_int8, gemm_nt_int16, gemm_nt_uint8
from fasim.kernels.micro.outer import gemm_nn_float32, gemm_tn_float32, sgd_tn_float32
from fasim.kernels.micro.outer_integer import outer_sums
from fasim.kernels.micro.outer_optimize import adam_tn_float32, momentum_tn_float32, nesterov_tn_float32, rmsprop_tn_float32
from fasim.kernels.micro.rows import sgd_nt_float32
from fasim.kernels.micro.wide import gemm_nt_int16_wide
from fasim.scalar.target import FUSED, TARGET

__all__ = [
    "AMX",
    "FUSED",
    "TARGET",
    "adam_tn_float32",
    "gemm_nn_float32",
    "gemm_nt_ascending_float32",
    "gemm_nt_float32",
    "gemm_nt_int8",
    "gemm_nt_int16",
    "gemm_nt_int16_wide",
    "gemm_nt_uint8",
    "gemm_tn_float32",
    "momentum_tn_float32",
    "nesterov_tn_float32",
    "outer_sums",
    "rmsprop_tn_float32",
    "sgd_nt_float32",
    "sgd_tn_float32",
]
