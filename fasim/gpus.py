"""Whether there is a GPU, asked of its driver alone."""

from __future__ import annotations

import ctypes
import os


def count() -> int:
    """Return how many NVIDIA GPUs the driver finds, 0 without a driver; imports no CUDA target."""
    try:
        driver = ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
    except OSError:
        return 0
    found = ctypes.c_int()
    return found.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(found)) == 0 else 0
