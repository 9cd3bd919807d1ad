"""The simulator keeps what the tests of kernels rely on."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from fasim_cuda.simulator import FILL
from fasim_cuda.target import cuda, is_simulated, jit
from numba import int32

THREADS = 8
pytestmark = pytest.mark.skipif(not is_simulated, reason="on a GPU shared memory is shared")


@jit
def meet(out):
    """Each thread counts the threads whose mark it finds in shared memory."""
    shared = cuda.shared.array(THREADS, int32)
    other = cuda.shared.array(THREADS, int32)
    me = cuda.threadIdx.x
    shared[me] = 1
    cuda.syncthreads()
    for k in range(THREADS):
        out[me] += shared[k]
    if me == 0:
        out[THREADS] = other[0]


def test_threads_that_ask_at_once_share_one_array() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(60):
            out = cuda.to_device(np.zeros((1, THREADS + 1), np.int32))
            meet[1, THREADS](out)
            assert out.copy_to_host()[0].tolist() == [THREADS] * THREADS + [FILL]
    finally:
        sys.setswitchinterval(before)
