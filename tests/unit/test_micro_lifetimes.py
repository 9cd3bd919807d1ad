"""Memory of a product's own lives as long as the addresses that lead to it.

Numba frees an array after its last use, and an address is none. Where every block of memory is a mapping of its own, what
is freed is gone from the process: touching it ends the process.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCTS = """
import numpy as np
from fasim.kernels import micro

random = np.random.default_rng(0)
for samples, units, terms in ((3000, 2000, 5), (70, 130, 40)):
    for kernel, a_type, b_type, out_type, *more in (
        (micro.gemm_nt_int8, "int8", "int8", "int32"),
        (micro.gemm_nt_uint8, "uint8", "int8", "int32"),
        (micro.gemm_nt_int16, "int16", "int16", "int32"),
        (micro.gemm_nt_int16_wide, "int16", "int16", "int64", True),
        (micro.gemm_nt_ascending_float32, "float32", "float32", "float32", np.zeros(0, np.float32)),
    ):
        a = random.integers(0, 100, (samples, terms)).astype(a_type)
        b = random.integers(0, 100, (units, terms)).astype(b_type)
        out = np.empty((samples, units), out_type)
        kernel(a, b, *more, out)
        assert (out == a.astype(np.int64) @ b.astype(np.int64).T).all(), kernel
print(micro.TARGET)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, which can map every block of memory by itself")
@pytest.mark.parametrize("cpu", ["", "haswell"])
def test_own_memory_outlives_its_address(cpu: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if cpu:
        environment |= {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    # a process that compiles has more blocks than may be mapped, and what is freed then stays: the second one only loads
    for mapped in ({}, {"MALLOC_MMAP_THRESHOLD_": "4096"}):
        done = subprocess.run(
            [sys.executable, "-c", PRODUCTS], env=environment | mapped, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
        assert done.stdout.strip() == "avx2" or not cpu
