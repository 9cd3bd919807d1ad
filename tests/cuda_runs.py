"""Launches of CUDA kernels and runs of the CUDA backend, for tests in the simulator as on a GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fasim_cuda
import numpy as np


@contextmanager
def quick_switches() -> Iterator[None]:
    """Let threads of the simulator, which wait for each other at barriers, take turns sooner: up to 10 times faster."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def launched(kernel: Any, arguments: tuple[Any, ...], blocks: Any = 2, threads: Any = 3) -> tuple[Any, ...]:  # noqa: ANN401
    """Return the arguments after a launch on copies of them, arrays as the device has left them."""
    given = [fasim_cuda.cuda.to_device(np.ascontiguousarray(a)) if isinstance(a, np.ndarray) else a for a in arguments]
    with quick_switches():
        kernel[blocks, threads](*given)
    found = zip(given, arguments, strict=True)
    return tuple(a.copy_to_host() if isinstance(b, np.ndarray) else a for a, b in found)


def check(kernel: Any, arguments: tuple[Any, ...], expected: dict[int, Any], **grid: Any) -> None:  # noqa: ANN401
    """Check what a kernel writes, by position of the argument, and that it writes nothing else."""
    found = launched(kernel, arguments, **grid)
    for position, (argument, before) in enumerate(zip(found, arguments, strict=True)):
        if not isinstance(before, np.ndarray):
            continue
        if position not in expected:
            np.testing.assert_array_equal(argument, before, err_msg=f"argument {position} was written")
        elif argument.dtype.kind == "f":
            np.testing.assert_allclose(argument, expected[position], rtol=2e-5, atol=4e-6)
        else:
            np.testing.assert_array_equal(argument, expected[position])
