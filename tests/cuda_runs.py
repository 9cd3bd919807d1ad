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


def launched(
    kernel: Any,  # noqa: ANN401
    arguments: tuple[Any, ...],
    blocks: Any = 2,  # noqa: ANN401
    threads: Any = 3,  # noqa: ANN401
    replicas: int = 1,
) -> tuple[Any, ...]:
    """Return the arguments after a launch on copies of them, arrays as the device has left them.

    Of several replicas each has the same arguments, and must come to the same.
    """
    given = [_of_replicas(a, replicas) if isinstance(a, np.ndarray) else a for a in arguments]
    with quick_switches():
        kernel[(*blocks, replicas) if isinstance(blocks, tuple) else (blocks, 1, replicas), threads](*given)
    found = [a.copy_to_host() if isinstance(b, np.ndarray) else [a] for a, b in zip(given, arguments, strict=True)]
    for one in found:
        for other in one[1:]:
            np.testing.assert_array_equal(other, one[0])
    return tuple(one[0] for one in found)


def _of_replicas(array: np.ndarray, replicas: int) -> Any:  # noqa: ANN401
    """Return an array on the device, once for each replica."""
    return fasim_cuda.cuda.to_device(np.ascontiguousarray(np.stack(replicas * [array])))


def check(kernel: Any, arguments: tuple[Any, ...], expected: dict[int, Any], **grid: Any) -> None:  # noqa: ANN401
    """Check what a kernel writes, by position of the argument, and that it writes nothing else.

    Launched for two replicas: one that writes into the other's part, or both into one, shows.
    """
    found = launched(kernel, arguments, **{"replicas": 2, **grid})
    for position, (argument, before) in enumerate(zip(found, arguments, strict=True)):
        if not isinstance(before, np.ndarray):
            continue
        if position not in expected:
            np.testing.assert_array_equal(argument, before, err_msg=f"argument {position} was written")
        elif argument.dtype.kind == "f":
            np.testing.assert_allclose(argument, expected[position], rtol=2e-5, atol=4e-6)
        else:
            np.testing.assert_array_equal(argument, expected[position])
